"""Makes full rows of the typed tables from the compact ones of tests; :mod:`.rule_tests` tells their form."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

Row = dict[str, Any]
#: Inserts rows, given as columns of equal length, into a table.
Insert = Callable[[str, Mapping[str, Sequence[Any]]], None]

#: Tables that ``rows`` may have, and the store's table behind each.
ROW_TABLES: Final = {
    "statements": "statements",
    "transactions": "transactions",
    "entries": "entries",
    "ai_calls": "ai_calls",
    "databases": "database_sightings",
    "logs": "otel_logs",
    "exceptions": "exceptions",
    "declarations": "declarations",
}
_COUNTED: Final = (
    *("table_uses", "violation_statements", "failed_statements"),
    *("open_writes", "process_ends", "operation_counts"),
)
#: Tables to be emptied between tests: those above and what insert views fill from them.
TOUCHED_TABLES: Final = (
    *ROW_TABLES.values(),
    "settlements",
    "identity_statements",
    "access_counts",
    *_COUNTED,
)


#: A test is read by people: what needs more rows is no test of a rule.
_MOST_TIMES: Final = 1000
_OFFSET: Final = re.compile(r"-?(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class RuleTestError(ValueError):
    """A test's rows cannot be understood; the message names what."""


def parse_offset(text: object) -> timedelta:
    """``-90s`` as a timedelta; "0s" is now. Raises RuleTestError for anything else."""
    match = _OFFSET.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise RuleTestError(f"{text!r} is not a time: write -90s, -5m, -2h or -3d")
    seconds = float(match[1]) * _UNITS[match[2]]
    return timedelta(seconds=-seconds if str(text).strip().startswith("-") else seconds)


def span_rows(table: str, rows: Sequence[Mapping[str, Any]], *, now: datetime, seed: str = "") -> list[Row]:
    """Full rows of a typed table from compact ones. Times are aware datetimes, ids are made from ``seed``."""
    if table not in ROW_TABLES:
        raise RuleTestError(f"no table {table!r} for a test's rows; there are {', '.join(ROW_TABLES)}")
    expand = _EXPANDED.get(table, _span_row)
    every = [one for row in rows for one in _repeated(row)]
    return [expand(table, dict(row), now, f"{seed}/{table}/{index}") for index, row in enumerate(every)]


def _repeated(row: Mapping[str, Any]) -> Iterator[Row]:
    """A row with ``times``: so many of it, each ``every`` later, with its number for ``{n}`` in its texts."""
    plain = dict(row)
    if "times" not in plain:
        yield plain
        return
    times, every = plain.pop("times"), parse_offset(plain.pop("every", "0s"))
    if not isinstance(times, int) or not 0 < times <= _MOST_TIMES:
        raise RuleTestError(f"{times!r} is not how often a row is there: write a number up to {_MOST_TIMES}")
    moments = {name: parse_offset(plain[name]) for name in ("at", "received") if name in plain}
    moments.setdefault("at", parse_offset("-10s"))
    for number in range(times):
        later = {name: f"{(at + every * number).total_seconds():.6f}s" for name, at in moments.items()}
        yield {name: _numbered(value, number) for name, value in plain.items()} | later


def _numbered(value: Any, number: int) -> Any:
    if isinstance(value, list):
        return [_numbered(one, number) for one in value]
    return value.replace("{n}", str(number)) if isinstance(value, str) else value


def insert_rows(insert: Insert, table: str, rows: Sequence[Row]) -> None:
    """Insert full rows, which may have different columns, into the store's table."""
    by_columns: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        by_columns.setdefault(tuple(sorted(row)), []).append(row)
    for columns, alike in by_columns.items():
        insert(
            ROW_TABLES[table], {column: [_stored(column, row[column]) for row in alike] for column in columns}
        )


_NANOSECONDS: Final = ("started_at", "ended_at", "first_seen", "last_seen", "Timestamp", "at")


def _hex(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def _stored(column: str, value: Any) -> Any:
    """DateTime64(9) takes nanoseconds."""
    if isinstance(value, datetime) and column in _NANOSECONDS:
        return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    return value


def _span_row(table: str, row: Row, now: datetime, seed: str) -> Row:
    started = now + parse_offset(row.pop("at", "-10s"))
    ended = started + timedelta(milliseconds=float(row.pop("ms", 5)))
    received = row.pop("received", None)
    full: Row = {
        "started_at": started,
        "ended_at": ended,
        "received_at": ended if received is None else now + parse_offset(received),
        "span_id": _hex(seed, 16),
        "trace_id": row.pop("trace", None) or _hex(f"trace {seed}", 32),
        "environment": "prod",
        "service": "web",
        "status": "unset",
    }
    if (message := row.pop("error", None)) is not None:
        full |= {"status": "error", "status_message": message}
    if (bound := row.pop("bound", None)) is not None:
        full["identity_bound"] = [bound] if isinstance(bound, str) else bound
    if table in ("statements", "transactions"):
        full |= {"transaction_id": row.pop("transaction", None) or _hex(f"transaction {seed}", 16)}
        full |= {
            "outcome": "committed",
            "hash_key_id": "unkeyed",
            "database": "main",
            "database_schema": "public",
        }
        full |= {"database_role": "primary"} if table == "statements" else {}
    if table == "statements":
        full |= _statement_columns(row)
        database = row.get("database", full["database"])
        full["database_rungs"] = [f"system_identifier:{database}"] if database else []
    if table == "ai_calls":
        full |= {"operation": "chat", "failed": full["status"] == "error"}
    if table == "entries":
        full |= {"failed": full["status"] == "error"}
    return full | row


def _statement_columns(row: Row) -> Row:
    columns: Row = {"rows": -1, "span_kind": "client"}
    for kind in ("write", "read"):
        if (tables := row.pop(kind, None)) is not None:
            tables = [tables] if isinstance(tables, str) else tables
            operation = "INSERT" if kind == "write" else "SELECT"
            columns |= {"kind": kind, "tables": tables, "operation": operation}
            columns["span_name"] = f"{operation} {tables[0]}"
    parts = [_identity(text) for text in row.pop("ids", [])]
    names = ("columns", "clauses", "encodings", "domains", "values")
    return columns | {f"identity_{name}": [part[at] for part in parts] for at, name in enumerate(names)}


def _identity(text: str) -> tuple[str, str, str, str, str]:
    words = text.split()
    if len(words) != 4 or ":" not in words[3]:
        raise RuleTestError(f"{text!r} is not an identity: write 'table.column clause encoding domain:value'")
    domain, _, value = words[3].partition(":")
    return words[0], words[1], words[2], domain, value


def _database_row(table: str, row: Row, now: datetime, seed: str) -> Row:
    seen = now + parse_offset(row.pop("at", "-10s"))
    received = row.pop("received", None)
    arrived = seen if received is None else now + parse_offset(received)
    database = row.get("database", "main")
    return {
        "environment": "prod",
        "service": "web",
        "database": database,
        "database_schema": "public",
        "database_rungs": [f"system_identifier:{database}"],
        "first_seen": seen,
        "last_seen": seen,
        "last_received_at": arrived,
    } | row


def _log_row(table: str, row: Row, now: datetime, seed: str) -> Row:
    """``attributes`` is what the record says, as JSON values; the rest is the resource that says it."""
    at = now + parse_offset(row.pop("at", "-10s"))
    received = row.pop("received", None)
    return {
        "Timestamp": at,
        "received_at": at if received is None else now + parse_offset(received),
        "TraceId": row.pop("trace", ""),
        "SeverityText": row.pop("level", "ERROR"),
        "Body": row.pop("body", seed),
        "ServiceName": row.pop("service", "web"),
        "ResourceAttributes": {
            "service.namespace": row.pop("application", ""),
            "service.version": row.pop("version", ""),
            "service.instance.id": row.pop("instance", ""),
            "deployment.environment.name": row.pop("environment", "prod"),
            "trueline.process.kind": row.pop("process_kind", ""),
        },
        "LogAttributes": {name: _text(value) for name, value in row.pop("attributes", {}).items()},
    } | row


def _exception_row(table: str, row: Row, now: datetime, seed: str) -> Row:
    at = now + parse_offset(row.pop("at", "-10s"))
    received = row.pop("received", None)
    return {
        "at": at,
        "received_at": at if received is None else now + parse_offset(received),
        "source": "span",
        "environment": "prod",
        "service": "web",
        "trace_id": row.pop("trace", ""),
        "span_id": _hex(seed, 16),
    } | row


def _declaration_row(table: str, row: Row, now: datetime, seed: str) -> Row:
    """An entry of ``trueline.yaml``, in force since ``at``: the same for all of an application."""
    return {"valid_from": now + parse_offset(row.pop("at", "-40d")), "content_hash": "declared"} | row


_EXPANDED: Final[Mapping[str, Callable[[str, Row, datetime, str], Row]]] = {
    "databases": _database_row,
    "logs": _log_row,
    "exceptions": _exception_row,
    "declarations": _declaration_row,
}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
