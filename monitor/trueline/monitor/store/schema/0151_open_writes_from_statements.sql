-- Fills open_writes as statements arrive. A statement that failed, or changed nothing, leaves nothing to be lost.
CREATE MATERIALIZED VIEW IF NOT EXISTS open_writes_from_statements TO open_writes AS
SELECT
    received_at,
    request_hash,
    started_at,
    ended_at,
    trace_id,
    span_id,
    environment,
    application,
    service,
    version,
    instance,
    process_kind,
    tables[1] AS table,
    rows,
    entry_name,
    entry_span_id,
    transaction_id,
    database,
    db_namespace
FROM statements
WHERE outcome = 'open' AND kind = 'write' AND status != 'error' AND rows != 0 AND transaction_id != ''
