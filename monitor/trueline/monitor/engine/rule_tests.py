"""Runs the tests that a rule file carries: rows in, findings out, on a real store.

A test names the rows that have arrived, relative to one moment, and the findings that must follow::

    tests:
      - name: the worker reads another database than the web process writes
        rows:
          statements:
            - {at: -60s, write: expenses, ids: [expenses.user_id set integer user:u1]}
            - {at: -30s, read: expenses, ids: [expenses.user_id where integer user:u1], database: old}
        expect:
          - {write_database: main, read_database: old, summary: "old"}

``rows`` has a list for each of ``statements``, ``transactions``, ``entries``, ``ai_calls`` and ``databases``.
A row holds columns of that table; what is left out has a sensible value. Beside columns there are

- ``at``: when it began, as -90s, -5m, -2h or -3d; ``ms``: how long it took (5); ``received``: when it
  arrived, in the form of ``at``, by default its end;
- ``write: table``, ``read: table`` (or a list of tables): kind and tables of a statement;
- ``ids``: a statement's identities, each as ``table.column clause encoding domain:value``;
- ``trace``, ``transaction``, ``bound``: short for trace_id, transaction_id and identity_bound;
- ``error: text``: status error with this message.

The test is played as it would happen: rows arrive in order, and the rule is evaluated whenever it is due,
over the arrivals since the last time, ``delay`` later. So a finding that is raised too early, before the row
that would have excused it, is seen. ``expect`` lists the findings by the end, in any order: for each the
columns that matter; ``summary``, ``explanation`` and ``remediation`` must occur in the rendered text. An empty
list means silence.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from trueline.monitor.engine.rule import Rule, RuleTest

Row = dict[str, Any]
#: Runs a query with bound parameters and returns its rows by column name.
Query = Callable[[str, Mapping[str, Any]], Sequence[Mapping[str, Any]]]
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
TOUCHED_TABLES: Final = (*ROW_TABLES.values(), "settlements")

_TEXTS: Final = ("summary", "explanation", "remediation")
_OFFSET: Final = re.compile(r"-?(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class RuleTestResult:
    """What came of one test; it passed if there are no problems."""

    name: str
    problems: tuple[str, ...]
    found: tuple[Row, ...] = field(default=(), repr=False)

    @property
    def passed(self) -> bool:
        """Whether exactly the expected findings were found."""
        return not self.problems


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


def run_rule_tests(
    rule: Rule,
    *,
    query: Query,
    insert: Insert,
    clear: Callable[[], None],
    now: datetime,
) -> list[RuleTestResult]:
    """Run a rule's tests one after the other; ``clear`` empties TOUCHED_TABLES.

    ``now`` is the moment that the rows' times are relative to; it must be near the store's own clock, since a
    statement's outcome is final ten minutes after its arrival.
    """
    results = []
    for test in rule.definition.tests:
        name = test.name
        clear()
        try:
            arriving = [
                (table, row)
                for table, compact in _rows_of(test).items()
                for row in span_rows(table, compact, now=now, seed=name)
            ]
            found = _play(rule, arriving, query=query, insert=insert)
            results.append(RuleTestResult(name, tuple(_compare(rule, found, test.expect)), tuple(found)))
        except RuleTestError as error:
            results.append(RuleTestResult(name, (str(error),)))
    clear()
    return results


def _rows_of(test: RuleTest) -> dict[str, list[Row]]:
    extra = dict(test.model_extra or {})
    rows = extra.pop("rows", None)
    if extra:
        raise RuleTestError(f"unknown field {next(iter(extra))!r}; a test has name, rows and expect")
    if not isinstance(rows, dict) or not all(isinstance(listed, list) for listed in rows.values()):
        raise RuleTestError("rows is missing or not a mapping from tables to lists")
    return rows


def _play(rule: Rule, arriving: Sequence[tuple[str, Row]], *, query: Query, insert: Insert) -> list[Row]:
    """Insert rows as they arrive and evaluate at every tick that has arrivals; the last row of each group."""
    waiting = sorted(arriving, key=lambda item: _arrival(item[1]))
    if not waiting:
        raise RuleTestError("the test has no rows")
    first, interval = _arrival(waiting[0][1]), max(rule.definition.interval, timedelta(milliseconds=100))
    ticks = sorted({first + interval * ((_arrival(row) - first) // interval + 1) for _, row in waiting})
    findings: dict[tuple[Any, ...], Row] = {}
    start = first
    for end in ticks:
        arrived = [item for item in waiting if _arrival(item[1]) < end + rule.definition.delay]
        waiting = waiting[len(arrived) :]
        for table in ROW_TABLES:
            insert_rows(insert, table, [row for of, row in arrived if of == table])
        parameters = {**rule.parameters, "start": start, "end": end, "since": end - rule.definition.lookback}
        for row in query(rule.query.sql, parameters):
            findings[tuple(str(row[column]) for column in rule.definition.group_by)] = dict(row)
        start = end
    return list(findings.values())


def _compare(rule: Rule, found: Sequence[Row], expected: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs between the findings and those expected."""
    problems, left = [], list(found)
    for wanted in expected:
        reasons = []
        for row in left:
            difference = _difference(rule, row, wanted)
            if not difference:
                left.remove(row)
                break
            reasons.append(difference)
        else:
            problems.append(f"expected {dict(wanted)}: " + ("; ".join(reasons) or "nothing was found"))
    problems += [
        f"not expected: { ({column: row[column] for column in rule.definition.group_by}) }" for row in left
    ]
    return problems


def _difference(rule: Rule, row: Row, wanted: Mapping[str, Any]) -> str:
    values = {**row, "params": rule.parameters}
    texts = {name: template.render(values) for name, template in rule.templates.items()}
    texts["remediation"] = "\n".join(texts[part] for part in ("now", "then", "check"))
    for name, value in wanted.items():
        if name in _TEXTS:
            if str(value) not in texts[name]:
                return f"{name} has no {value!r}: {texts[name]!r}"
        elif name not in row:
            return f"there is no column {name}"
        elif isinstance(value, list) and isinstance(row[name], list | tuple):
            if sorted(map(str, value)) != sorted(map(str, row[name])):
                return f"{name} is {list(row[name])!r}"
        elif row[name] != value:
            return f"{name} is {row[name]!r}"
    return ""


def _arrival(row: Row) -> datetime:
    moment: datetime = row["last_received_at"] if "last_received_at" in row else row["received_at"]
    return moment


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
