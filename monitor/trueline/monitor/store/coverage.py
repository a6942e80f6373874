"""What is known of each service, from the store: bounded queries over arrivals since a moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from trueline.instrumentation import semconv
from trueline.instrumentation.inventory_report import SeenColumn, Sources
from trueline.monitor.engine.coverage import Sends, ServiceFacts
from trueline.monitor.store.client import Store
from trueline.monitor.store.coverage_events import ENVIRONMENT, Key, Told, read_inventories, read_losses

#: Services, and tables and columns of each, that are listed.
MAX_SERVICES: Final = 500
MAX_LISTED: Final = 200
#: Inventories are sent again once an hour: they may be older than what is asked for.
_INVENTORY_LEAD: Final = timedelta(hours=2)

_SINCE: Final = (
    "received_at >= {since:DateTime64(3)} "
    "AND ({environment:String} = '' OR environment = {environment:String}) "
    "AND ({service:String} = '' OR service = {service:String})"
)
_BY_COLUMN: Final = "notEmpty(identity_columns)"
_BY_ROW: Final = "empty(identity_columns) AND notEmpty(identity_row)"
_BY_BOUND: Final = "empty(identity_columns) AND empty(identity_row) AND notEmpty(identity_bound)"
_BY_NONE: Final = "empty(identity_columns) AND empty(identity_row) AND empty(identity_bound)"


def _sources(kind: str) -> str:
    """Counts of statements of a kind by source, in the order of Sources."""
    sources = (_BY_COLUMN, _BY_BOUND, _BY_NONE, _BY_ROW)
    return ", ".join(f"countIf(kind = '{kind}' AND {by})" for by in sources)


_TOTALS: Final = f"""
SELECT
    environment, application, service, count() AS statements,
    [{_sources("read")}] AS reads, [{_sources("write")}] AS writes,
    countIf(entry_name != '') AS with_entry,
    countIf(
        arrayExists(value -> value != '', identity_values)
        OR notEmpty(identity_row) OR notEmpty(identity_bound)
    ) AS identified,
    minIf(sample_ratio, sample_ratio > 0) AS sample,
    groupUniqArrayIf(10)(toString(hash_key_id), hash_key_id != '') AS key_ids,
    groupUniqArray(10)(toString(process_kind)) AS process_kinds,
    groupUniqArrayIf(10)(toString(version), version != '') AS versions,
    max(received_at) AS last_seen
FROM statements WHERE {_SINCE}
GROUP BY environment, application, service ORDER BY statements DESC LIMIT {MAX_SERVICES}
"""  # noqa: S608 - names of our own, here and below
_TABLES: Final = f"""
SELECT
    environment, application, service, touched,
    countIf(kind = 'read') AS reads, [{_sources("write")}] AS writes
FROM statements ARRAY JOIN if(kind = 'write', arraySlice(tables, 1, 1), tables) AS touched
WHERE {_SINCE} AND kind IN ('read', 'write')
GROUP BY environment, application, service, touched
ORDER BY count() DESC LIMIT {MAX_LISTED} BY environment, application, service LIMIT 10000
"""  # noqa: S608
#: Few combinations are made of many statements: they are counted before they are taken apart.
_COLUMNS: Final = f"""
SELECT
    environment, application, service, use.1 AS name, use.2 AS domain, use.3 AS clause, use.4 AS encoding,
    sum(executions) AS statements
FROM
(
    SELECT
        environment, application, service, identity_columns, identity_domains, identity_clauses,
        identity_encodings, count() AS executions
    FROM statements WHERE {_SINCE} AND notEmpty(identity_columns)
    GROUP BY
        environment, application, service, identity_columns, identity_domains, identity_clauses,
        identity_encodings
)
ARRAY JOIN arrayDistinct(
    arrayMap(
        place -> (
            toString(identity_columns[place]), toString(identity_domains[place]),
            toString(identity_clauses[place]), toString(identity_encodings[place])
        ),
        arrayEnumerate(identity_columns)
    )
) AS use
GROUP BY environment, application, service, name, domain, clause, encoding
ORDER BY statements DESC LIMIT {MAX_LISTED} BY environment, application, service LIMIT 10000
"""  # noqa: S608
_DATABASES: Final = """
SELECT
    environment, application, service, database, database_rungs, database_schema, database_role,
    database_url, database_url_variable, db_system, db_namespace, reads, writes
FROM databases
WHERE last_received_at >= {since:DateTime64(3)}
    AND ({environment:String} = '' OR environment = {environment:String})
    AND ({service:String} = '' OR service = {service:String})
ORDER BY environment, application, service, database, database_schema LIMIT 5000
"""
_EVER: Final = """
SELECT environment, application, service FROM database_sightings
WHERE {service:String} = '' OR service = {service:String}
GROUP BY environment, application, service HAVING sum(reads + writes) > 0 LIMIT 5000
"""
_AI_CALLS: Final = f"""
SELECT environment, application, service, count() AS number FROM ai_calls WHERE {_SINCE}
GROUP BY environment, application, service LIMIT {MAX_SERVICES}
"""  # noqa: S608
#: Raw tables are asked only for services of which there is no statement: their maps are slow to read.
_OTHER_SPANS: Final = f"""
SELECT
    {ENVIRONMENT} AS environment, ResourceAttributes['service.namespace'] AS application,
    ServiceName AS service,
    countIf(SpanAttributes['db.system'] != '' OR SpanAttributes['db.system.name'] != '') AS database_spans,
    countIf(ScopeName = '{semconv.SCOPE_NAME}') AS ours,
    groupUniqArray(10)(ResourceAttributes['trueline.process.kind']) AS process_kinds,
    groupUniqArrayIf(10)(
        ResourceAttributes['service.version'], ResourceAttributes['service.version'] != ''
    ) AS versions,
    max(received_at) AS last_seen
FROM otel_traces
WHERE received_at >= {{since:DateTime64(3)}} AND NOT has({{known:Array(String)}}, ServiceName)
    AND ({{service:String}} = '' OR ServiceName = {{service:String}})
GROUP BY environment, application, service ORDER BY last_seen DESC LIMIT {MAX_SERVICES}
"""  # noqa: S608
_OTHER_LOGS: Final = f"""
SELECT
    {ENVIRONMENT} AS environment, ResourceAttributes['service.namespace'] AS application,
    ServiceName AS service, countIf(ScopeName = '{semconv.SCOPE_NAME}') AS ours,
    groupUniqArray(10)(ResourceAttributes['trueline.process.kind']) AS process_kinds,
    groupUniqArrayIf(10)(
        ResourceAttributes['service.version'], ResourceAttributes['service.version'] != ''
    ) AS versions,
    max(received_at) AS last_seen
FROM otel_logs
WHERE received_at >= {{since:DateTime64(3)}} AND NOT has({{known:Array(String)}}, ServiceName)
    AND ({{service:String}} = '' OR ServiceName = {{service:String}})
GROUP BY environment, application, service ORDER BY last_seen DESC LIMIT {MAX_SERVICES}
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class TableCounts:
    """Statements on one table. A write counts where it writes, a read for each table that it names."""

    table: str
    reads: int
    writes: Sources


@dataclass(frozen=True, slots=True)
class ServiceDetails:
    """One service: the facts that rules are judged by, and what people want to see of it.

    ``counted_by`` says where counts come from: ``spans`` that arrived, or, where the service samples, the
    ``inventory`` of its processes, which count before sampling and since they began.
    """

    facts: ServiceFacts
    versions: tuple[str, ...] = ()
    last_seen: datetime | None = None
    counted_by: str = "spans"
    databases: tuple[dict[str, Any], ...] = ()
    tables: tuple[TableCounts, ...] = ()
    columns: tuple[SeenColumn, ...] = ()
    more: int = 0
    hashes: tuple[str, ...] = ()
    spans: tuple[str, ...] = ()
    inventories: int = 0
    inventory_at: datetime | None = None


@dataclass(slots=True)
class _Lists:
    tables: list[TableCounts] = field(default_factory=list)
    columns: list[SeenColumn] = field(default_factory=list)
    databases: list[dict[str, Any]] = field(default_factory=list)


def read_coverage(
    store: Store, since: datetime, *, environment: str = "", service: str = ""
) -> list[ServiceDetails]:
    """Every service that sent anything since then; "" stands for all environments and services.

    Raises StoreError, of which QueryError names a limit that was reached.
    """
    asked = {"since": since, "environment": environment, "service": service}

    # All services of the environment: keys are compared with those of the others.
    totals = store.query_read_only(_TOTALS, {**asked, "service": ""}).dicts()
    everybody = {_key(row): row for row in totals}
    chosen = {key: row for key, row in everybody.items() if service in ("", key[2])}
    lists = _lists(store, asked)
    ai_calls = {_key(row): row["number"] for row in store.query_read_only(_AI_CALLS, asked).dicts()}
    told = read_inventories(store, since - _INVENTORY_LEAD, service)
    lost = read_losses(store, since, service)
    keys = _keys_by_group(everybody.values())
    ever = {_key(row) for row in store.query_read_only(_EVER, {"service": service}).dicts()}
    found = [
        _details(key, row, lists[key], told.get(key), lost.get(key, {}), ai_calls.get(key, 0), keys)
        for key, row in chosen.items()
    ]
    for key, row in _others(store, asked, set(everybody)).items():
        if environment in ("", key[0]):
            details = _without_statements(key, row, lists[key], told.get(key), since)
            facts = replace(
                details.facts,
                lost=lost.get(key, {}),
                ai_calls=ai_calls.get(key, 0),
                ever_arrived=key in ever,
            )
            found.append(replace(details, facts=facts))
    return sorted(found, key=lambda one: (one.facts.environment, one.facts.application, one.facts.service))


def _key(row: dict[str, Any]) -> Key:
    return row["environment"], row["application"], row["service"]


def _lists(store: Store, asked: dict[str, Any]) -> defaultdict[Key, _Lists]:
    lists: defaultdict[Key, _Lists] = defaultdict(_Lists)
    for row in store.query_read_only(_TABLES, asked).dicts():
        counts = TableCounts(row["touched"], row["reads"], Sources(*row["writes"]))
        lists[_key(row)].tables.append(counts)
    for row in store.query_read_only(_COLUMNS, asked).dicts():
        column = SeenColumn(row["name"], row["domain"], row["clause"], row["encoding"], row["statements"])
        lists[_key(row)].columns.append(column)
    for row in store.query_read_only(_DATABASES, asked).dicts():
        lists[_key(row)].databases.append(
            {
                name: value
                for name, value in row.items()
                if name not in ("environment", "application", "service")
            }
        )
    return lists


def _keys_by_group(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, str], dict[str, list[str]]]:
    """Services by key id, for each environment and application."""
    groups: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in rows:
        keys = groups.setdefault((row["environment"], row["application"]), {})
        for key_id in row["key_ids"]:
            keys.setdefault(key_id, []).append(row["service"])
    return groups


def _details(
    key: Key,
    row: dict[str, Any],
    lists: _Lists,
    told: Told | None,
    lost: dict[str, int],
    ai_calls: int,
    keys: dict[tuple[str, str], dict[str, list[str]]],
) -> ServiceDetails:
    environment, application, service = key
    told = told or Told()
    reads, writes = Sources(*row["reads"]), Sources(*row["writes"])
    sample = min(row["sample"] or 1.0, told.sample)
    by_inventory = sample < 1 and told.statements > 0
    tables, columns = tuple(lists.tables), tuple(lists.columns)
    if by_inventory:
        tables = tuple(TableCounts(name, *counts) for name, counts in told.tables.items())
        columns = tuple(SeenColumn(*names, count) for names, count in told.columns.most_common(MAX_LISTED))
    facts = ServiceFacts(
        environment=environment,
        application=application,
        service=service,
        process_kinds=frozenset(row["process_kinds"]) - {""},
        reads=told.reads if by_inventory else reads,
        writes=told.writes if by_inventory else writes,
        statements=told.statements if by_inventory else row["statements"],
        ran=told.statements,
        ever_arrived=True,
        with_entry=told.with_entry if by_inventory else row["with_entry"],
        ai_calls=ai_calls,
        key_ids=tuple(sorted(row["key_ids"])),
        keys_of_others={
            key_id: others
            for key_id, names in keys.get((environment, application), {}).items()
            if (others := tuple(sorted(name for name in names if name != service)))
        },
        rungs=_rungs(lists.databases),
        sample=sample,
        follows_trace_sampler=told.follows_trace_sampler,
        # A service that said nothing of itself is known by what it sent.
        hashes_left_out=(
            "left_out" in told.hashes
            if told.hashes
            else reads.column + writes.column > 0 and not row["identified"]
        ),
        parsed_by_keywords=told.parsed_by_keywords / told.statements if told.statements else 0.0,
        unseen_transactions=told.unseen_transactions,
        unseen_checkouts=told.unseen_checkouts,
        lost=lost,
        internal_errors=told.internal_errors,
        nameless_tables=tuple(
            one.table for one in tables if one.writes.total and one.writes.none == one.writes.total
        ),
    )
    return _told(
        ServiceDetails(
            facts,
            versions=tuple(sorted(row["versions"])),
            last_seen=row["last_seen"],
            counted_by="inventory" if by_inventory else "spans",
            databases=tuple(lists.databases),
            tables=tables,
            columns=columns,
        ),
        told,
    )


def _rungs(databases: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The best rung of each database. The list of rungs is a set there: its order says nothing."""
    best: dict[str, str] = {}
    for row in databases:
        names = {rung.partition(":")[0] for rung in row["database_rungs"]}
        best[row["database"]] = next((str(rung) for rung in semconv.Rung if str(rung) in names), "")
    return best


def _told(details: ServiceDetails, told: Told) -> ServiceDetails:
    return replace(
        details,
        more=told.more,
        hashes=tuple(sorted(told.hashes)),
        spans=tuple(sorted(told.spans)),
        inventories=told.processes,
        inventory_at=told.at,
    )


def _others(store: Store, asked: dict[str, Any], known: set[Key]) -> dict[Key, dict[str, Any]]:
    """Services that sent no statement of ours, with what they did send."""
    parameters = {
        "since": asked["since"],
        "service": asked["service"],
        "known": sorted({key[2] for key in known}),
    }
    found: dict[Key, dict[str, Any]] = {}
    for row in store.query_read_only(_OTHER_SPANS, parameters).dicts():
        sends = Sends.FOREIGN if row["database_spans"] else Sends.TRUELINE if row["ours"] else Sends.SPANS
        found[_key(row)] = {**row, "sends": sends}
    for row in store.query_read_only(_OTHER_LOGS, parameters).dicts():
        sends = Sends.TRUELINE if row["ours"] else Sends.LOGS
        before = found.get(_key(row))
        if before is None:
            found[_key(row)] = {**row, "sends": sends}
        elif before["sends"] is Sends.SPANS and sends is Sends.TRUELINE:
            before["sends"] = sends
    return found


def _without_statements(
    key: Key, row: dict[str, Any], lists: _Lists, told: Told | None, since: datetime
) -> ServiceDetails:
    environment, application, service = key
    told = told or Told()
    facts = ServiceFacts(
        environment=environment,
        application=application,
        service=service,
        sends=row["sends"],
        process_kinds=frozenset(row["process_kinds"]) - {""},
        ran=told.statements if told.at and told.at >= since else 0,
        rungs=_rungs(lists.databases),
        unseen_transactions=told.unseen_transactions,
        unseen_checkouts=told.unseen_checkouts,
        internal_errors=told.internal_errors,
    )
    return _told(
        ServiceDetails(
            facts,
            versions=tuple(sorted(row["versions"])),
            last_seen=row["last_seen"],
            databases=tuple(lists.databases),
        ),
        told,
    )
