-- One row for each identity that a statement touches in a table: whose rows were read or written where, in which
-- column and encoding. For rules; the outcome is the final one.
-- Where no column names an identity of a domain (UPDATE ... WHERE id = ?), the identity that the request was bound
-- to stands in, with clause 'bound' and no column. `access` says what happened to this table: an
-- INSERT INTO a SELECT ... FROM b WHERE b.user_id = ? writes a and reads b.
CREATE OR REPLACE VIEW identity_uses AS
SELECT
    received_at,
    started_at,
    ended_at,
    trace_id,
    span_id,
    parent_span_id,
    status,
    status_message,
    environment,
    application,
    service,
    version,
    instance,
    process_kind,
    kind,
    tables,
    rows,
    filters,
    database,
    database_rungs,
    database_role,
    database_schema,
    database_url,
    database_url_variable,
    db_system,
    db_namespace,
    hash_key_id,
    entry_name,
    entry_span_id,
    transaction_id,
    outcome,
    reason,
    use.1 AS table,
    use.2 AS column,
    use.3 AS clause,
    use.4 AS encoding,
    use.5 AS identity,
    use.6 AS domain,
    if(kind = 'write' AND table = tables[1], 'write', 'read') AS access
FROM statements_resolved
ARRAY JOIN arrayConcat(
    arrayMap(
        position -> (
            if(
                identity_columns[position] LIKE '%.%',
                replaceRegexpOne(toString(identity_columns[position]), '\\.[^.]*$', ''),
                toString(tables[1])
            ),
            toString(identity_columns[position]),
            toString(identity_clauses[position]),
            toString(identity_encodings[position]),
            identity_values[position],
            toString(identity_domains[position])
        ),
        arrayEnumerate(identity_columns)
    ),
    arrayFlatten(
        arrayMap(
            touched -> arrayMap(
                bound -> (
                    toString(touched), '', 'bound', '',
                    substring(bound, position(bound, ':') + 1), substring(bound, 1, position(bound, ':') - 1)
                ),
                arrayFilter(
                    bound -> NOT has(identity_domains, substring(bound, 1, position(bound, ':') - 1)), identity_bound
                )
            ),
            if(kind = 'write', arraySlice(tables, 1, 1), tables)
        )
    )
) AS use
WHERE kind IN ('read', 'write') AND use.5 != ''
