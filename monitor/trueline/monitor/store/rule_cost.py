"""What a rule costs and reads, asked of the engine itself: EXPLAIN of its own queries, read-only."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from trueline.monitor.engine.rule import ROW_COLUMNS, Rule
from trueline.monitor.errors import QueryError, StoreUnavailableError
from trueline.monitor.store.client import Limits, Store

_READ: Final = re.compile(r"Read:\s+([\d.]+)\s*(thousand|million|billion|trillion)? rows?")
_TIME: Final = re.compile(r"Time:\s+([\d.]+)\s*(ns|us|μs|ms|s|min)\b")
_MEMORY: Final = re.compile(r"Peak memory:\s+([\d.]+)\s*(B|KiB|MiB|GiB|TiB)")
_MANY: Final = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_UNITS: Final = {"ns": 1e-6, "us": 1e-3, "μs": 1e-3, "ms": 1.0, "s": 1e3, "min": 6e4}
_BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
#: The table behind each view, and the column of arrival of tables where it is not received_at.
_SOURCE: Final = {
    "statements_resolved": "statements",
    "identity_uses": "identity_statements",
    "identity_arrivals": "statements",
    "databases": "database_sightings",
    "access": "access_counts",
    "traffic": "table_uses",
    # That nothing is violated or fails is health, as long as statements and spans arrive.
    "violations": "statements",
    "failed_statements": "statements",
    # Neither that nothing is left open, nor that nobody ends or fails, is a lack of telemetry.
    "open_writes": "statements",
    "settlements": "statements",
    "process_ends": "statements",
    "exceptions": "otel_traces",
    "operation_counts": "entries",
}
_ARRIVAL: Final = dict.fromkeys(("database_sightings", "access_counts", "table_uses"), "last_received_at")
#: Kinds of types that the columns of a row have to have.
_TYPES: Final = {
    "first_seen": "DateTime",
    "last_seen": "DateTime",
    "count": "Int",
    "value": "Float",
    "trace_ids": "Array(",
    "span_ids": "Array(",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run took: three digits, as the engine tells; None where it does not."""

    rows: int | None = None
    milliseconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a table: how much of it the indexes leave, in granules of some 8,192 rows."""

    table: str
    keys: tuple[str, ...]
    parts: int
    granules: int
    of_granules: int


def measure(store: Store, sql: str, bound: Mapping[str, Any], limits: Limits) -> Cost:
    """Run a query for what it costs; raises QueryError as the query itself would."""
    try:
        lines = store.query_read_only(f"EXPLAIN ANALYZE {sql}", bound, limits)
    except QueryError as error:
        # Servers before 26.8 cannot analyze: what is to be read is known at least.
        if error.limit is not None or "ANALYZE" not in str(error):
            raise
        rows = store.query_read_only(f"EXPLAIN ESTIMATE {sql}", bound, limits).dicts()
        return Cost(rows=sum(int(row["rows"]) for row in rows))
    text = "\n".join(str(line) for (line,) in lines)
    read, time, memory = _READ.search(text), _TIME.search(text), _MEMORY.search(text)
    return Cost(
        rows=round(float(read[1]) * _MANY.get(read[2] or "", 1)) if read else 0,
        milliseconds=float(time[1]) * _UNITS[time[2]] if time else None,
        memory_bytes=round(float(memory[1]) * _BYTES[memory[2]]) if memory else None,
    )


def readings(store: Store, sql: str, bound: Mapping[str, Any], limits: Limits) -> list[Reading]:
    """Which tables the query reads, by which keys, in the order of the plan."""
    rows = store.query_read_only(f"EXPLAIN indexes = 1, json = 1 {sql}", bound, limits)
    plan = json.loads("\n".join(str(line) for (line,) in rows))
    return list(_readings(plan))


def _readings(node: Any) -> Iterator[Reading]:
    if isinstance(node, list):
        for one in node:
            yield from _readings(one)
    elif isinstance(node, dict):
        if str(node.get("Node Type", "")).startswith("ReadFromMergeTree"):
            indexes = node.get("Indexes", [])
            last = indexes[-1] if indexes else {}
            yield Reading(
                table=str(node.get("Description", "")).rpartition(".")[2],
                keys=tuple(dict.fromkeys(str(key) for index in indexes for key in index.get("Keys", []))),
                parts=int(last.get("Selected Parts", 0)),
                granules=int(last.get("Selected Granules", 0)),
                of_granules=int(indexes[0].get("Initial Granules", 0)) if indexes else 0,
            )
        for value in node.values():
            yield from _readings(value)


def query_problems(store: Store, rule: Rule, bound: Mapping[str, Any]) -> list[str]:
    """What the engine says of a rule's queries without running them: unknown columns, wrong types."""
    problems = []
    queries = {"query": rule.query, "trigger": rule.trigger, "resolve.healthy": rule.healthy}
    for field, query in queries.items():
        if query is None:
            continue
        try:
            columns = store.query_read_only(f"DESCRIBE ({query.sql})", bound)
        except StoreUnavailableError:
            raise
        except QueryError as error:
            problems.append(f"{field}: {error}")
            continue
        if field == "query":
            problems += _type_problems({str(row["name"]): str(row["type"]) for row in columns.dicts()})
    return problems


def _type_problems(types: Mapping[str, str]) -> Iterator[str]:
    for name in ROW_COLUMNS:
        if name not in types:
            yield f"query: there is no result column {name}"
        elif _TYPES[name] not in types[name] or types[name].startswith("Nullable"):
            wanted = {"Int": "a whole number (count(), toUInt64(x))", "Float": "a Float64 (toFloat64(x))"}
            want = wanted.get(
                _TYPES[name], f"{_TYPES[name].rstrip('(')}64" if name.endswith("seen") else "a list"
            )
            yield f"query: column {name} is {types[name]}, but has to be {want}"


def absent(store: Store, rule: Rule, hours: int = 24) -> dict[str, list[str]]:
    """Tables and attributes that the rule reads and of which nothing arrived in the last hours.

    Attributes are looked for in the latest 100,000 spans and as many logs: one that is on none of them may
    come yet, but a rule that needs it has been blind for as long.
    """
    empty = sorted(empty_tables(store, rule.query.tables | set(rule.definition.needs.tables), hours))
    wanted = rule.definition.needs.attributes
    if not wanted:
        return {"tables": empty, "attributes": []}
    seen = seen_attributes(store, hours)
    return {"tables": empty, "attributes": [name for name in wanted if name not in seen]}


def arrivals(table: str) -> tuple[str, str]:
    """Where to see what arrived for what a rule reads: the table behind it, and its column of arrival."""
    source = _SOURCE.get(table, table)
    return source, _ARRIVAL.get(source, "received_at")


def empty_tables(store: Store, tables: Collection[str], hours: int = 24) -> set[str]:
    """Those of the tables in which nothing arrived in the last hours; what people declare is none of them."""
    sources = {one: arrivals(one) for one in tables if not one.startswith("declarations")}
    if not sources:
        return set()
    # One query over the tables behind the views: to plan a view takes longer than to read these.
    selects = " UNION ALL ".join(
        f"(SELECT '{source}' FROM {source} WHERE {column} >= now64(3) - toIntervalHour({hours:d}) LIMIT 1)"  # noqa: S608
        for source, column in sorted(set(sources.values()))
    )
    filled = {str(name) for (name,) in store.query(selects)}
    return {table for table, (source, _) in sources.items() if source not in filled}


def seen_attributes(store: Store, hours: int) -> set[str]:
    """Names of attributes on the latest spans and logs."""
    found: set[str] = set()
    for table, column in (("otel_traces", "SpanAttributes"), ("otel_logs", "LogAttributes")):
        rows = store.query(
            f"SELECT groupUniqArrayArray(mapKeys({column})), "  # noqa: S608
            f"groupUniqArrayArray(mapKeys(ResourceAttributes)) "
            f"FROM (SELECT {column}, ResourceAttributes FROM {table} "
            f"WHERE received_at >= now64(3) - toIntervalHour({hours:d}) LIMIT 100000)"
        )
        for one in rows:
            found |= {str(name) for names in one for name in names}
    return found
