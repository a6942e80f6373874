"""Tables that the OpenTelemetry Collector's ClickHouse exporter made itself, and how they come to serve.

An installation that has sent its spans to ClickHouse for years keeps its ``otel_traces``: its key, its
partitions, its retention. Only what our insert views need is added, by changes of metadata that take no time
at any size; the rows that are there stay as they are, and from then on each arriving row fills our tables.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from trueline.monitor.errors import MigrationError

if TYPE_CHECKING:
    from trueline.monitor.store.client import Store

_MAP: Final = "Map(LowCardinality(String), String)"
#: What the exporter inserts into ``otel_traces``: columns and types (0.151 and newer, ``json: false``).
TRACES: Final[dict[str, str]] = {
    "Timestamp": "DateTime64(9)",
    "TraceId": "String",
    "SpanId": "String",
    "ParentSpanId": "String",
    "TraceState": "String",
    "SpanName": "LowCardinality(String)",
    "SpanKind": "LowCardinality(String)",
    "ServiceName": "LowCardinality(String)",
    "ResourceAttributes": _MAP,
    "ScopeName": "String",
    "ScopeVersion": "String",
    "SpanAttributes": _MAP,
    "Duration": "UInt64",
    "StatusCode": "LowCardinality(String)",
    "StatusMessage": "String",
    "Events.Timestamp": "Array(DateTime64(9))",
    "Events.Name": "Array(LowCardinality(String))",
    "Events.Attributes": f"Array({_MAP})",
    "Links.TraceId": "Array(String)",
    "Links.SpanId": "Array(String)",
    "Links.TraceState": "Array(String)",
    "Links.Attributes": f"Array({_MAP})",
}
#: The same of ``otel_logs``.
LOGS: Final[dict[str, str]] = {
    "Timestamp": "DateTime64(9)",
    "TraceId": "String",
    "SpanId": "String",
    "TraceFlags": "UInt8",
    "SeverityText": "LowCardinality(String)",
    "SeverityNumber": "UInt8",
    "ServiceName": "LowCardinality(String)",
    "Body": "String",
    "ResourceSchemaUrl": "LowCardinality(String)",
    "ResourceAttributes": _MAP,
    "ScopeSchemaUrl": "LowCardinality(String)",
    "ScopeName": "String",
    "ScopeVersion": "LowCardinality(String)",
    "ScopeAttributes": _MAP,
    "LogAttributes": _MAP,
    "EventName": "String",
}
TABLES: Final = {"otel_traces": TRACES, "otel_logs": LOGS}
#: What older releases of the exporter did not have: it is added, empty.
_LATER: Final = frozenset({"EventName"})
_OURS: Final = "LowCardinality(FixedString(16))"


def adopt(store: Store) -> list[str]:
    """Make raw tables that somebody else made fit; returns what was done, one sentence a table.

    Raise MigrationError, with nothing changed, where a table of that name is not one of the exporter's.
    """
    wanted = {table: _additions(store, table) for table in TABLES}
    done = []
    for table, additions in wanted.items():
        if additions:
            store.command(f"ALTER TABLE {table} {', '.join(additions.values())}")
            done.append(f"{table}, which the OpenTelemetry Collector made, got {', '.join(additions)}.")
    return done


def _additions(store: Store, table: str) -> dict[str, str]:
    """The columns that an existing table lacks, each with the change that adds it."""
    found = dict(
        store.query(
            "SELECT name, type FROM system.columns"
            " WHERE database = currentDatabase() AND table = {table:String}",
            {"table": table},
        ).rows
    )
    if not found:
        return {}
    _require_fit(store, table, found)
    additions = {
        name: f"ADD COLUMN IF NOT EXISTS `{name}` {kind}"
        for name, kind in TABLES[table].items()
        if name not in found
    }
    if "received_at" not in found:
        # Rows that are there have no time of arrival, and a plain now64(3) would give each the moment in
        # which it is read: rules would see the whole history arrive for ever. Their own time has to do.
        now = store.query("SELECT toString(now64(3))").scalar()
        additions["received_at"] = (
            "ADD COLUMN IF NOT EXISTS received_at DateTime64(3)"
            f" DEFAULT if(Timestamp < toDateTime64('{now}', 3), toDateTime64(Timestamp, 3), now64(3))"
        )
    if "request_hash" not in found:
        additions["request_hash"] = f"ADD COLUMN IF NOT EXISTS request_hash {_OURS}"
    return additions


def _require_fit(store: Store, table: str, found: dict[str, str]) -> None:
    for name, kind in TABLES[table].items():
        if name not in found and name in _LATER:
            continue
        there = found.get(name)
        if there is not None and _family(there) == _family(kind):
            continue
        what = "is missing" if there is None else f"has the type {there}, not {kind}"
        json = "; the exporter's json: true is not supported" if there and there.startswith("JSON") else ""
        raise MigrationError(
            f"The table {table} in {store.description} is not one of the OpenTelemetry Collector's "
            f"ClickHouse exporter: its column {name} {what}{json}. Rename it, or give another database with "
            "--database."
        )


def _family(kind: str) -> str:
    """A type without what does not matter to a reader: dictionaries, time zones, digits of a second."""
    kind = re.sub(r"LowCardinality\(((?:[^()]|\([^()]*\))*)\)", r"\1", kind)
    return re.sub(r"DateTime64\([^()]*\)", "DateTime64", kind)
