"""Makes full rows of the typed tables from the compact ones of tests; :mod:`.rule_tests` tells their form."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
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
}
#: Tables to be emptied between tests: those above and what insert views fill from them.
TOUCHED_TABLES: Final = (*ROW_TABLES.values(), "settlements", "identity_statements")


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
    expand = _database_row if table == "databases" else _span_row
    return [expand(table, dict(row), now, f"{seed}/{table}/{index}") for index, row in enumerate(rows)]


def insert_rows(insert: Insert, table: str, rows: Sequence[Row]) -> None:
    """Insert full rows, which may have different columns, into the store's table."""
    by_columns: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        by_columns.setdefault(tuple(sorted(row)), []).append(row)
    for columns, alike in by_columns.items():
        insert(
            ROW_TABLES[table], {column: [_stored(column, row[column]) for row in alike] for column in columns}
        )


def _hex(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def _stored(column: str, value: Any) -> Any:
    """DateTime64(9) takes nanoseconds."""
    if isinstance(value, datetime) and column in ("started_at", "ended_at", "first_seen", "last_seen"):
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
