-- Counts identity_statements as they arrive.
CREATE MATERIALIZED VIEW IF NOT EXISTS access_counts_from_identity_statements TO access_counts AS
SELECT
    toDate(used_row.received_at) AS received_on,
    toStartOfFiveMinutes(toDateTime(used_row.started_at, 'UTC')) AS at,
    environment,
    application,
    table,
    domain,
    access,
    database,
    database_schema,
    database_role,
    column,
    clause,
    encoding,
    hash_key_id,
    exported_outcome AS outcome,
    used_row.status = 'error' AS failed,
    service,
    version,
    process_kind,
    entry_name,
    if(used_row.exported_outcome = 'open', used_row.transaction_id, '') AS open_transaction,
    if(used_row.exported_outcome = 'open', used_row.span_id, '') AS open_span,
    count() AS uses,
    countIf(used_row.rows = 0) AS zero_rows,
    min(used_row.started_at) AS first_seen,
    max(
        fromUnixTimestamp64Nano(toUnixTimestamp64Nano(used_row.started_at) + toInt64(used_row.duration), 'UTC')
    ) AS last_seen,
    max(used_row.received_at) AS last_received_at,
    groupUniqArrayArray(used_row.database_rungs) AS database_rungs,
    uniqCombinedState(12)(used_row.identity) AS identities,
    groupUniqArray(3)(used_row.identity) AS sample_identities,
    groupUniqArray(2)((used_row.trace_id, used_row.span_id)) AS sample_spans
FROM identity_statements AS used_row
GROUP BY
    received_on, at, environment, application, table, domain, access, database, database_schema, database_role, column,
    clause, encoding, hash_key_id, outcome, failed, service, version, process_kind, entry_name, open_transaction,
    open_span
