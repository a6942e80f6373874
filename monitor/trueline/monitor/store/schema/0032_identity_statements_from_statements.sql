-- Fills identity_statements as statements arrive.
-- Where no column names an identity of a domain (UPDATE ... WHERE id = ?), the owner of the row stands in, as
-- the service's ORM session knew it (clause 'row'), and else the identity that the request was bound to
-- (clause 'bound'); both without a column. A message stands in only for what its handling wrote: what was
-- read meanwhile is nobody's message, and would be every second row. `access` says what happened to this
-- table: an INSERT INTO a SELECT ... FROM b WHERE b.user_id = ? writes a and reads b.
-- Made by trueline.monitor.store.generate: change identity_rows.py beside it, not this file.
CREATE MATERIALIZED VIEW IF NOT EXISTS identity_statements_from_statements TO identity_statements AS
SELECT
    received_at,
    request_hash,
    started_at,
    toUInt64(greatest(0, toUnixTimestamp64Nano(ended_at) - toUnixTimestamp64Nano(started_at))) AS duration,
    trace_id,
    span_id,
    status,
    environment,
    application,
    service,
    version,
    process_kind,
    if(kind = 'write' AND table = tables[1], 'write', 'read') AS access,
    use.1 AS table,
    use.2 AS column,
    use.3 AS clause,
    use.4 AS encoding,
    use.5 AS domain,
    use.6 AS identity,
    hash_key_id,
    arrayMap(
        place -> concat(identity_columns[place], ' ', identity_encodings[place]),
        arrayFilter(place -> identity_clauses[place] = 'set', arrayEnumerate(identity_columns))
    ) AS set_keys,
    rows,
    database,
    database_rungs,
    database_role,
    database_schema,
    database_url,
    database_url_variable,
    db_system,
    db_namespace,
    entry_name,
    query_text,
    transaction_id,
    outcome AS exported_outcome
FROM statements
ARRAY JOIN arrayConcat(
    arrayMap(
        place -> (
            if(
                identity_columns[place] LIKE '%.%',
                replaceRegexpOne(toString(identity_columns[place]), '\\.[^.]*$', ''),
                toString(tables[1])
            ),
            toString(identity_columns[place]),
            toString(identity_clauses[place]),
            toString(identity_encodings[place]),
            toString(identity_domains[place]),
            identity_values[place]
        ),
        arrayEnumerate(identity_columns)
    ),
    arrayFlatten(
        arrayMap(
            touched -> arrayConcat(
                arrayMap(
                    owner -> (
                        toString(touched), '', 'row', '',
                        substring(owner, 1, position(owner, ':') - 1),
                        substring(owner, position(owner, ':') + 1)
                    ),
                    if(touched = tables[1], identity_row, [])
                ),
                arrayMap(
                    bound -> (
                        toString(touched), '', 'bound', '',
                        substring(bound, 1, position(bound, ':') - 1),
                        substring(bound, position(bound, ':') + 1)
                    ),
                    arrayFilter(
                        bound -> (kind = 'write' OR NOT startsWith(bound, 'message:'))
                            AND NOT has(identity_domains, substring(bound, 1, position(bound, ':') - 1))
                            AND NOT arrayExists(
                                owner -> startsWith(owner, substring(bound, 1, position(bound, ':'))),
                                identity_row
                            ),
                        identity_bound
                    )
                )
            ),
            if(kind = 'write', arraySlice(tables, 1, 1), tables)
        )
    )
) AS use
WHERE kind IN ('read', 'write') AND use.6 != ''
