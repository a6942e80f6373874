-- Fills failed_statements as statements arrive.
CREATE MATERIALIZED VIEW IF NOT EXISTS failed_statements_from_statements TO failed_statements AS
SELECT
    received_at,
    request_hash,
    started_at,
    trace_id,
    span_id,
    environment,
    application,
    service,
    version,
    instance,
    process_kind,
    entry_name,
    kind,
    operation,
    tables,
    query_text,
    database,
    db_system,
    db_namespace,
    status_code,
    error_type,
    status_message AS message,
    constraint_kind,
    constraint_table,
    constraint_columns,
    orm_session_id,
    transaction_id
FROM statements
WHERE status = 'error'
