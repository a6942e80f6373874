-- Counts entries as they arrive. A request whose client went away, that was not answered, or that was answered with an error
-- from 400 on tells of a failure; so does a job that its queue does not take for done.
CREATE MATERIALIZED VIEW IF NOT EXISTS operation_counts_from_entries TO operation_counts AS
WITH entry_row.client_gone OR multiIf(
    entry_row.http_status > 0, entry_row.http_status >= 400,
    entry_row.http_method != '', true,
    entry_row.job_outcome != '', entry_row.job_outcome != 'done',
    entry_row.failed
) AS told
SELECT
    toDate(entry_row.received_at) AS received_on,
    toStartOfFiveMinutes(toDateTime(entry_row.started_at, 'UTC')) AS at,
    environment,
    application,
    service,
    entry_row.span_name AS operation,
    '' AS table,
    countIf(NOT told) AS entries,
    countIf(told) AS failed,
    toUInt64(0) AS writers
FROM entries AS entry_row
WHERE entry_row.process_kind != 'test'
GROUP BY received_on, at, environment, application, service, operation
