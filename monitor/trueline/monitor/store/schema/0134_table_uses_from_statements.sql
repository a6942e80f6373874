-- Counts statements by table as they arrive: what failed, and writes that changed nothing, do not count.
CREATE MATERIALIZED VIEW IF NOT EXISTS table_uses_from_statements TO table_uses AS
SELECT
    toDate(statement_row.received_at) AS received_on,
    toStartOfFiveMinutes(toDateTime(statement_row.started_at, 'UTC')) AS at,
    environment,
    application,
    touched AS table,
    multiIf(kind = 'ddl', 'rename', kind = 'write' AND touched = tables[1], 'write', 'read') AS access,
    service,
    process_kind,
    instance,
    database,
    database_schema,
    statement_row.outcome AS outcome,
    if(statement_row.outcome = 'open', statement_row.transaction_id, '') AS open_transaction,
    if(statement_row.outcome = 'open', statement_row.span_id, '') AS open_span,
    count() AS uses,
    min(statement_row.started_at) AS first_seen,
    max(statement_row.ended_at) AS last_seen,
    max(statement_row.received_at) AS last_received_at,
    groupUniqArrayArray(statement_row.database_rungs) AS database_rungs
FROM statements AS statement_row
ARRAY JOIN tables AS touched
WHERE status != 'error'
    AND (
        kind = 'read'
        OR (kind = 'write' AND (rows != 0 OR touched != tables[1]))
        OR (
            kind = 'ddl' AND operation = 'ALTER'
            AND (query_text = '' OR match(query_text, '(?i)\\b(rename|change)\\b'))
        )
    )
GROUP BY
    received_on, at, environment, application, table, access, service, process_kind, instance, database,
    database_schema, outcome, open_transaction, open_span
