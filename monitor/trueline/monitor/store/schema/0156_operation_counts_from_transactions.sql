-- Counts entries that committed a write, by table, as their transactions arrive: those of one entry nearly always
-- arrive together, and count once.
CREATE MATERIALIZED VIEW IF NOT EXISTS operation_counts_from_transactions TO operation_counts AS
SELECT
    toDate(received_at) AS received_on,
    toStartOfFiveMinutes(toDateTime(started_at, 'UTC')) AS at,
    environment,
    application,
    service,
    entry_name AS operation,
    written AS table,
    toUInt64(0) AS entries,
    toUInt64(0) AS failed,
    uniqExact(entry_span_id) AS writers
FROM transactions
ARRAY JOIN tables AS written
WHERE outcome = 'committed' AND writes > 0 AND entry_span_id != '' AND process_kind != 'test'
GROUP BY received_on, at, environment, application, service, operation, table
