"""What is stored of one identity: which statements touched it, where, under which key, with which outcome.

Everything is read from identity_statements, which is ordered by identity and time, and completed for the few
statements that matter; how much is read is bounded whatever the identity has behind it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from trueline.monitor.store.client import Limits, Store

#: The newest statements of each kind (same table, key, place, service and outcome) that are read.
NEWEST_OF_A_KIND: Final = 5
#: Statements of an identity that are read in all.
MAX_USES: Final = 400
#: Statements whose details are read.
MAX_DETAILS: Final = 200
_LIMITS: Final = Limits(seconds=10, rows=20_000)
#: How long a statement exported as open is waited for, as in statements_resolved.
_ABANDONED_AFTER: Final = timedelta(minutes=10)

_WHO: Final = (
    "identity IN {identities:Array(String)} AND domain IN {domains:Array(String)} "
    "AND started_at >= {since:DateTime64(3)} AND started_at < {until:DateTime64(3)} "
    # The partitions are days of arrival: nothing arrives before it happened, but for clocks that differ.
    "AND received_at >= {since:DateTime64(3)} - INTERVAL 1 HOUR "
    "AND ({environment:String} = '' OR environment = {environment:String})"
)

#: An aggregate without GROUP BY answers with one row whatever it finds; the same as in the rule key_mismatch.
_ADDS_UP: Final = (
    "access = 'read' AND rows = 1 "
    "AND match(query_text, "
    "'(?i)\\\\b(count|sum|avg|min|max|total|exists|\\\\w+_agg|group_concat)\\\\s*\\\\(') "
    "AND NOT match(query_text, '(?i)\\\\bgroup\\\\s+by\\\\b')"
)

_USES: Final = f"""
SELECT
    {_ADDS_UP} AS adds_up,
    started_at, ended_at, trace_id, span_id, status, environment, application, service, version, process_kind,
    access, table, column, clause, encoding, domain, rows, database, database_rungs, database_role,
    database_schema, database_url, database_url_variable, db_system, db_namespace, entry_name, transaction_id,
    hash_key_id, exported_outcome, received_at
FROM identity_statements
WHERE {_WHO}
ORDER BY started_at DESC, span_id, table, column
LIMIT {NEWEST_OF_A_KIND} BY
    access, table, column, clause, encoding, database, database_schema, environment, service, version,
    exported_outcome, rows = 0
LIMIT {MAX_USES}
"""  # noqa: S608 - names of our own

_SETTLED: Final = """
SELECT transaction_id, outcome, reason, undone
FROM settlements
WHERE transaction_id IN {ids:Array(String)} AND received_at >= {since:DateTime64(3)} - INTERVAL 1 HOUR
"""

#: Transactions whose process has said good-bye: what it left open, nobody will end.
_PROCESS_ENDED: Final = """
SELECT DISTINCT transaction_id
FROM open_writes
WHERE transaction_id IN {ids:Array(String)} AND received_at >= {since:DateTime64(3)} - INTERVAL 1 HOUR
    AND instance != '' AND (environment, application, service, instance) IN (
        SELECT environment, application, service, instance FROM process_ends
        WHERE received_at >= {since:DateTime64(3)} - INTERVAL 1 HOUR
    )
"""

_DETAILS: Final = """
SELECT
    span_id, outcome, reason, operation, filters, status, status_message, error_type, constraint_name,
    constraint_kind, constraint_columns, identity_bound, identity_values, identity_domains, entry_span_id,
    sample_ratio
FROM statements_resolved
WHERE span_id IN {spans:Array(String)} AND trace_id IN {traces:Array(String)}
    AND started_at >= {earliest:DateTime64(6)} AND started_at <= {latest:DateTime64(6)}
"""

_TRANSACTIONS: Final = """
SELECT
    transaction_id, started_at, ended_at, outcome, reason, transaction_error_type, error_from_ai, ai_errors,
    trace_id, isolation_level, db_system
FROM transactions
WHERE transaction_id IN {ids:Array(String)} AND trace_id IN {traces:Array(String)}
    AND started_at >= {earliest:DateTime64(6)} - INTERVAL 1 HOUR AND started_at <= {latest:DateTime64(6)}
"""

_AI_ERRORS: Final = """
SELECT trace_id, started_at, if(error_type != '', error_type, exception_type) AS error
FROM ai_calls
WHERE trace_id IN {traces:Array(String)} AND failed
    AND started_at >= {earliest:DateTime64(6)} - INTERVAL 1 HOUR AND started_at <= {latest:DateTime64(6)}
ORDER BY started_at
LIMIT 1 BY trace_id
"""

_ACCEPTED: Final = """
SELECT trace_id, argMin(ended_at, started_at) AS answered
FROM entries
WHERE trace_id IN {traces:Array(String)}
    AND started_at >= {earliest:DateTime64(6)} - INTERVAL 1 HOUR AND started_at <= {latest:DateTime64(6)}
GROUP BY trace_id
"""


@dataclass(frozen=True, slots=True)
class Span:
    """Whom and when is asked for. ``identities`` are exported values, ``domains`` theirs."""

    identities: Sequence[str]
    domains: Sequence[str]
    since: datetime
    until: datetime
    environment: str = ""

    def parameters(self) -> dict[str, Any]:
        """As the queries want them."""
        return {
            "identities": list(self.identities),
            "domains": list(self.domains),
            "since": _milliseconds(self.since),
            "until": _milliseconds(self.until),
            "environment": self.environment,
        }


@dataclass(frozen=True, slots=True)
class Uses:
    """Rows of identity_statements, newest first, with what else is known, by span, transaction and trace."""

    rows: Sequence[Mapping[str, Any]]
    details: Mapping[str, Mapping[str, Any]]
    transactions: Mapping[str, Mapping[str, Any]]
    ai_errors: Mapping[str, str]
    answered: Mapping[str, datetime]
    truncated: bool


def read_uses(store: Store, span: Span, now: datetime) -> Uses:
    """The newest statements of each kind that touched the identity, completed; at most MAX_USES."""
    rows = store.query_read_only(_USES, span.parameters(), _LIMITS).dicts()
    rows = _settled(store, rows, span.since, now)
    spans = list(dict.fromkeys(row["span_id"] for row in rows))[:MAX_DETAILS]
    if not spans:
        return Uses([], {}, {}, {}, {}, False)
    wanted = set(spans)
    chosen = [row for row in rows if row["span_id"] in wanted]
    bounds: dict[str, Any] = {
        "traces": list({row["trace_id"] for row in chosen}),
        "earliest": _microseconds(min(row["started_at"] for row in chosen)),
        "latest": _microseconds(max(row["started_at"] for row in chosen) + timedelta(microseconds=1)),
    }
    details = store.query_read_only(_DETAILS, {"spans": spans, **bounds}, _LIMITS).dicts()
    ids = list({row["transaction_id"] for row in chosen if row["transaction_id"]})
    transactions = (
        store.query_read_only(_TRANSACTIONS, {"ids": ids, **bounds}, _LIMITS).dicts() if ids else []
    )
    ai_errors = store.query_read_only(_AI_ERRORS, bounds, _LIMITS).dicts()
    answered = store.query_read_only(_ACCEPTED, bounds, _LIMITS).dicts()
    return Uses(
        rows=chosen,
        details={row["span_id"]: row for row in details},
        transactions={row["transaction_id"]: row for row in transactions},
        ai_errors={row["trace_id"]: row["error"] for row in ai_errors},
        answered={row["trace_id"]: row["answered"] for row in answered},
        truncated=len(rows) >= MAX_USES,
    )


def _settled(
    store: Store, rows: list[dict[str, Any]], since: datetime, now: datetime
) -> list[dict[str, Any]]:
    """Rows with the outcome that statements exported as open came to, found as in the view identity_uses.

    The view would build a table of all settlements of all time for it.
    """
    ids = list({row["transaction_id"] for row in rows if row["exported_outcome"] == "open"})
    ends = {}
    left_behind: set[str] = set()
    if ids:
        bound = {"ids": ids, "since": _milliseconds(since)}
        ends = {row["transaction_id"]: row for row in store.query_read_only(_SETTLED, bound).dicts()}
        bound["ids"] = [one for one in ids if one not in ends]
        left_behind = (
            {row[0] for row in store.query_read_only(_PROCESS_ENDED, bound)} if bound["ids"] else set()
        )
    for row in rows:
        outcome, reason = row["exported_outcome"], ""
        if outcome == "open":
            end = ends.get(row["transaction_id"])
            if end is not None and row["span_id"] in end["undone"]:
                outcome, reason = "rolled_back", "savepoint"
            elif end is not None:
                outcome, reason = end["outcome"], end["reason"]
            elif row["received_at"] < now - _ABANDONED_AFTER or row["transaction_id"] in left_behind:
                outcome, reason = "rolled_back", "abandoned"
        row["outcome"], row["reason"] = outcome, reason
    return rows


_SUMMARY: Final = f"""
SELECT
    environment, application, service, access, table, column, clause, encoding, domain, database,
    any(database_schema) AS database_schema, any(db_namespace) AS database_name,
    any(database_url) AS database_url, any(database_url_variable) AS database_url_variable,
    use_row.exported_outcome AS exported_outcome, groupUniqArray(10)(version) AS versions,
    groupUniqArray(5)(entry_name) AS entries, toUInt64(count()) AS count,
    toUInt64(countIf(rows = 0)) AS without_rows, min(started_at) AS first, max(started_at) AS last,
    argMax(trace_id, started_at) AS trace_id
FROM identity_statements AS use_row
WHERE {_WHO}
GROUP BY
    environment, application, service, access, table, column, clause, encoding, domain, database,
    exported_outcome
ORDER BY last DESC, table, access, column
LIMIT 500
"""  # noqa: S608 - names of our own


def read_summary(store: Store, span: Span) -> list[dict[str, Any]]:
    """How often the identity was touched in which way: one row for each, the last used first, at most 500."""
    return store.query_read_only(_SUMMARY, span.parameters(), _LIMITS).dicts()


_LAST_OF_SERVICE: Final = """
SELECT maxOrNull(least(last_seen, {until:DateTime64(3)}))
FROM access
WHERE service = {service:String}
    AND at >= toStartOfFiveMinutes({since:DateTime64(3)}) AND at < {until:DateTime64(3)}
    AND ({environment:String} = '' OR environment = {environment:String})
    AND column != '' AND domain != 'message'
"""

_LATEST_OF_SERVICE: Final = """
SELECT identity, domain, max(started_at) AS last
FROM identity_arrivals
WHERE service = {service:String}
    AND started_at >= {since:DateTime64(3)} AND started_at < {until:DateTime64(3)}
    AND received_at >= {since:DateTime64(3)} - INTERVAL 1 HOUR
    AND ({environment:String} = '' OR environment = {environment:String})
    AND column != '' AND domain != 'message'
GROUP BY identity, domain
ORDER BY last DESC, identity
LIMIT {limit:UInt32}
"""
#: How far before a service's last statement its identities are looked for, until there are enough of them:
#: a busy service may have millions of statements in the whole time that is asked for.
_SHORT_OF_LAST: Final = (timedelta(minutes=5), timedelta(hours=1))


def latest_of_service(
    store: Store, service: str, since: datetime, until: datetime, environment: str, limit: int
) -> list[tuple[str, str]]:
    """Identity and domain of those that a service touched last."""
    bound = {
        "service": service,
        "since": _milliseconds(since),
        "until": _milliseconds(until),
        "environment": environment,
        "limit": limit,
    }
    last = store.query_read_only(_LAST_OF_SERVICE, bound, _LIMITS).scalar()
    if last is None:
        return []
    rows: list[dict[str, Any]] = []
    for begin in (*(max(since, last - before) for before in _SHORT_OF_LAST), since):
        bound["since"] = _milliseconds(begin)
        rows = store.query_read_only(_LATEST_OF_SERVICE, bound, _LIMITS).dicts()
        if len(rows) >= limit or begin <= since:
            break
    return [(row["identity"], row["domain"]) for row in rows]


_REPEATED: Final = """
SELECT DISTINCT table, identity
FROM identity_statements
WHERE domain = 'message' AND identity IN {messages:Array(String)} AND access = 'write'
    AND exported_outcome = 'committed' AND status != 'error' AND rows != 0
    AND started_at >= {since:DateTime64(3)} AND received_at >= {since:DateTime64(3)} - INTERVAL 1 HOUR
"""


def committed_messages(store: Store, messages: Collection[str], since: datetime) -> set[tuple[str, str]]:
    """(table, message) of the messages that were committed to tables: a violation by one is a repetition."""
    if not messages:
        return set()
    parameters = {"messages": list(messages), "since": _milliseconds(since)}
    return {tuple(row) for row in store.query_read_only(_REPEATED, parameters, _LIMITS)}


def _milliseconds(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _microseconds(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")
