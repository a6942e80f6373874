"""Fills a store with the statements of a busy company, made by the engine itself: INSERT SELECT from
numbers().

Five applications with a database each, eight tables an application, two services each that read and write
them, two million people of whom some are far busier than others, seven reads to three writes, one statement
in ten without an identity. The first application has a second database for tables of its own, the second a
replica. Seeded incidents:

- application 0: a worker reads one table in another database than it is written to;
- application 1: one code path looks one table up under a hash, where the id is written;
- all: one statement in 5,000 is refused by a constraint;
- application 2: some transactions are rolled back by an AI error.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from trueline.monitor.store.client import Store

#: Filled in steps of this length, newest first, so that what was filled can be used at any time.
STEP: Final = timedelta(minutes=30)

_STATEMENTS: Final = """
INSERT INTO statements (
    received_at, started_at, ended_at, trace_id, span_id, span_name, span_kind, status, service, application,
    version, instance, environment, process_kind, kind, tables, rows, database, database_rungs, database_role,
    database_schema, database_url, identity_columns, identity_clauses, identity_encodings, identity_values,
    identity_domains, hash_key_id, entry_name, transaction_id, outcome, reason, constraint_name,
    constraint_kind, constraint_table, error_type, status_code, db_system, db_namespace, operation, query_text
)
WITH
    cityHash64(number, {seed:UInt64}) AS h,
    h % 5 AS app,
    intDiv(h, 5) % 8 AS tab,
    intDiv(h, 64) % 10 < 3 AS writes,
    intDiv(h, 1024) % 5000 = 0 AS refused,
    intDiv(h, 8192) % 10 = 0 AS nobody,
    intDiv(h, 131072) % 10 AS tenth,
    pow(intDiv(h, 1048576) % 1000003 / 1000003, 3) * 2000000 AS person,
    tab = 0 AND app = 0 AND NOT writes AND tenth < 5 AS split,
    tab = 0 AND app = 1 AND NOT writes AND tenth = 0 AS mismatched,
    app = 0 AND tab = 7 AS apart,
    {start:DateTime64(3)} + toIntervalMillisecond(toInt64(number * {step_ms:Float64})) AS moment,
    concat('table_', toString(app), '_', toString(tab)) AS named,
    concat('db', toString(app), if(split, '_old', if(apart, '_own', ''))) AS place
SELECT
    moment + toIntervalMillisecond(5 + h % 900) AS received_at,
    toDateTime64(moment, 9, 'UTC') AS started_at,
    toDateTime64(moment, 9, 'UTC') + toIntervalMillisecond(1 + h % 5) AS ended_at,
    hex(sipHash128(intDiv(number, 4), {seed:UInt64})) AS trace_id,
    lower(hex(sipHash64(number, {seed:UInt64}))) AS span_id,
    concat(if(writes, 'INSERT ', 'SELECT '), named), 'client',
    if(writes AND refused, 'error', 'unset'),
    concat('service', toString(app), if(split OR tenth < 5, '_worker', '_web')),
    concat('app', toString(app)),
    concat('1.', toString(app)),
    concat('instance', toString(h % 4)),
    'prod',
    if(split OR tenth < 5, 'worker', 'web'),
    if(writes, 'write', 'read'),
    [named],
    if(writes, 1, if(mismatched, 0, 1 + h % 20)),
    place,
    [concat('system_identifier:', place)],
    if(app = 1 AND NOT writes AND tenth > 6, 'replica', 'primary'),
    'public',
    concat('postgresql://db/', place),
    if(nobody, [], [concat(named, if(mismatched, '.user_id_hash', '.user_id'))]),
    if(nobody, [], [if(writes, 'set', 'where')]),
    if(nobody, [], [if(mismatched, 'sha256', 'integer')]),
    if(nobody, [], [lower(hex(sipHash128(toUInt64(person))))]),
    if(nobody, [], ['user']),
    'k1',
    concat(if(writes, 'POST /', 'GET /'), named, if(mismatched, '/mine', '')),
    lower(hex(sipHash64(intDiv(number, 4), {seed:UInt64}))),
    if(writes AND refused, 'rolled_back', 'committed'),
    if(writes AND refused, 'exception', ''),
    if(writes AND refused, concat(named, '_key'), ''),
    if(writes AND refused, 'unique', ''),
    if(writes AND refused, named, ''),
    if(writes AND refused, '23505', ''),
    if(writes AND refused, '23505', ''),
    'postgresql', place,
    if(writes, 'INSERT', 'SELECT'),
    if(writes, concat('INSERT INTO ', named, ' (user_id, amount) VALUES (?, ?)'),
        concat('SELECT * FROM ', named, ' WHERE user_id = ?'))
FROM numbers({rows:UInt64})
"""
_TRANSACTIONS: Final = """
INSERT INTO transactions (
    received_at, started_at, ended_at, trace_id, span_id, span_name, service, application, environment,
    process_kind, tables, database, entry_name, transaction_id, outcome, reason, writes, reads, error_chain,
    error_from_ai, transaction_error_type
)
SELECT
    max(received_at), min(started_at), max(ended_at), any(trace_id), concat('t', substring(transaction_id,
    2)), 'TRANSACTION', any(service), any(application), any(environment), any(process_kind),
    groupUniqArray(tables[1]), any(database), any(entry_name), transaction_id,
    if(lost, 'rolled_back', 'committed'), if(lost, 'exception', ''), countIf(kind = 'write'), countIf(kind =
    'read'), if(lost, ['openai.APITimeoutError'], []), lost, if(lost, 'openai.APITimeoutError', '')
FROM (
    SELECT *, cityHash64(transaction_id) % 20000 = 0 AS lost FROM statements
    WHERE started_at >= {start:DateTime64(3)} AND started_at < {end:DateTime64(3)}
)
GROUP BY transaction_id, lost
HAVING countIf(kind = 'write') > 0
"""
_AI_CALLS: Final = """
INSERT INTO ai_calls (
    received_at, started_at, ended_at, trace_id, span_id, service, application, environment, process_kind,
    operation, provider, model, failed, status, exception_type
)
SELECT
    received_at, started_at, ended_at, trace_id, concat('a', substring(span_id, 2)), service, application,
    environment, process_kind, 'chat', 'openai', 'm', error_from_ai, if(error_from_ai, 'error', 'unset'),
    if(error_from_ai, 'openai.APITimeoutError', '')
FROM transactions
WHERE started_at >= {start:DateTime64(3)} AND started_at < {end:DateTime64(3)}
    AND (error_from_ai OR cityHash64(trace_id) % 50 = 0)
"""

#: Tables that rules read further back than statements and transactions, with their columns of time.
_COPIED: Final = {
    "identity_statements": ("received_at", "started_at"),
    "violation_statements": ("received_at", "started_at", "ended_at"),
    "access_counts": ("received_on", "at", "first_seen", "last_seen", "last_received_at"),
    "table_uses": ("received_on", "at", "first_seen", "last_seen", "last_received_at"),
}
#: Where identity_statements is copied from: it cannot be asked for a time.
_BY_TIME: Final = "identity_statements_by_time"
#: It would count anew what is copied beside.
_COUNTING: Final = "access_counts_from_identity_statements"


def copy(store: Store, start: datetime, end: datetime, earlier: timedelta) -> None:
    """Put the rows of that time once more so much ``earlier``: the same people at the same density.

    Many times as fast as :func:`fill`, for the time of which rules read only these tables. To be called
    after :func:`begin_copying`.
    """
    bound = {"start": _text(start), "end": _text(end), "earlier": earlier // timedelta(milliseconds=1)}
    store.command(f"DETACH TABLE IF EXISTS {_COUNTING}")
    try:
        for table, times in _COPIED.items():
            shifted = ", ".join(f"{_shifted(name)} AS {name}" for name in times)
            moment = next(name for name in ("started_at", "at") if name in times)
            source = _BY_TIME if table == "identity_statements" else table
            store.command(
                f"INSERT INTO {table} SELECT * REPLACE ({shifted}) FROM {source} AS row "
                f"WHERE row.{moment} >= {{start:DateTime64(3)}} AND row.{moment} < {{end:DateTime64(3)}}",
                bound,
            )
    finally:
        store.command(f"ATTACH TABLE {_COUNTING}")


def begin_copying(store: Store, since: datetime) -> None:
    """Put aside what was made since then, in an order in which it can be copied by time."""
    store.command(
        f"CREATE TABLE IF NOT EXISTS {_BY_TIME} ENGINE = MergeTree ORDER BY started_at "
        "AS SELECT * FROM identity_statements WHERE started_at >= {since:DateTime64(3)}",
        {"since": _text(since)},
    )


def end_copying(store: Store) -> None:
    """Drop what only copying needed."""
    store.command(f"DROP TABLE IF EXISTS {_BY_TIME}")


def _shifted(column: str) -> str:
    if column == "received_on":
        return "toDate(row.last_received_at - toIntervalMillisecond({earlier:Int64}))"
    if column == "at":
        return "row.at - toIntervalSecond(intDiv({earlier:Int64}, 1000))"
    return f"row.{column} - toIntervalMillisecond({{earlier:Int64}})"


def fill(store: Store, start: datetime, end: datetime, per_day: float, *, transactions: bool) -> int:
    """Fill from ``start`` until before ``end`` at so many statements a day; returns how many."""
    rows = round(per_day * (end - start) / timedelta(days=1))
    bound = {
        "seed": int(start.timestamp()),
        "start": _text(start),
        "end": _text(end),
        "step_ms": (end - start) / timedelta(milliseconds=1) / rows,
        "rows": rows,
    }
    store.command(_STATEMENTS, bound)
    if transactions:
        store.command(_TRANSACTIONS, bound)
        store.command(_AI_CALLS, bound)
    return rows


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
