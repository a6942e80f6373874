"""Renders the SQL that makes rows of ``identity_statements`` from statements.

It stands in two files of the schema: in the insert view, which fills the table as statements arrive, and in
the view ``identity_arrivals``, which makes the same rows again of a few statements. The table is ordered by
identity, so that it cannot tell who was touched lately; ``statements`` can, being ordered by time.
"""

from __future__ import annotations

from typing import Final

_PROVENANCE: Final = (
    "-- Made by trueline.monitor.store.generate: change identity_rows.py beside it, not this file.\n"
)
_INSERT_VIEW: Final = f"""\
-- Fills identity_statements as statements arrive.
-- Where no column names an identity of a domain (UPDATE ... WHERE id = ?), the owner of the row stands in, as
-- the service's ORM session knew it (clause 'row'), and else the identity that the request was bound to
-- (clause 'bound'); both without a column. A message stands in only for what its handling wrote: what was
-- read meanwhile is nobody's message, and would be every second row. `access` says what happened to this
-- table: an INSERT INTO a SELECT ... FROM b WHERE b.user_id = ? writes a and reads b.
{_PROVENANCE}\
CREATE MATERIALIZED VIEW IF NOT EXISTS identity_statements_from_statements TO identity_statements AS
SELECT
"""  # noqa: S608 - names of our own
_ARRIVALS: Final = f"""\
-- The rows of identity_statements once more, made of statements when they are asked for: for what arrived
-- lately (received_at), and for what one trace or transaction did (with started_at). Say also which tables,
-- with hasAny(tables, ...): it spares making the rows of all others. The outcome is as it was exported.
{_PROVENANCE}\
CREATE OR REPLACE VIEW identity_arrivals AS
SELECT
    tables,
"""
_DURATION: Final = """\
    toUInt64(greatest(0, toUnixTimestamp64Nano(ended_at) - toUnixTimestamp64Nano(started_at))) AS duration,
"""
#: Columns of a statement and, as ``use``, of one identity that it touches.
_COLUMNS: Final = """    received_at,
    request_hash,
    started_at,
@    trace_id,
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
"""
_SOURCE: Final = """FROM statements
ARRAY JOIN arrayConcat(
    arrayMap(
        place -> (
            if(
                identity_columns[place] LIKE '%.%',
                replaceRegexpOne(toString(identity_columns[place]), '\\\\.[^.]*$', ''),
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
"""


def render_insert_view() -> str:
    """CREATE MATERIALIZED VIEW that fills identity_statements."""
    return _INSERT_VIEW + _COLUMNS.replace("@", _DURATION) + _SOURCE


def render_arrivals() -> str:
    """CREATE VIEW of the same rows, to be asked for by time of arrival or by trace."""
    return _ARRIVALS + _COLUMNS.replace("@", "    ended_at,\n") + _SOURCE
