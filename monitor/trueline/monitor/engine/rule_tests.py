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

``rows`` has a list for each of ``statements``, ``transactions``, ``entries``, ``ai_calls``,
``databases``, ``logs``, ``exceptions`` and ``declarations``.
A row holds columns of that table; what is left out has a sensible value. Beside columns there are

- ``at``: when it began, as -90s, -5m, -2h or -3d; ``ms``: how long it took (5); ``received``: when it
  arrived, in the form of ``at``, by default its end;
- ``write: table``, ``read: table`` (or a list of tables): kind and tables of a statement;
- ``ids``: a statement's identities, each as ``table.column clause encoding domain:value``;
- ``trace``, ``transaction``, ``bound``: short for trace_id, transaction_id and identity_bound;
- ``error: text``: status error with this message;
- ``times: 20``, ``every: 1s``: so many rows, each so much later than the one before; ``{n}`` in texts is the
  number of each (``trace: "t{n}"``).

A log record has ``at``, ``received``, ``trace``, ``level``, ``body``, ``attributes`` (a mapping) and of its
resource ``service``, ``version``, ``instance``, ``environment``, ``application`` and ``process_kind``. A
declaration has ``kind``, ``name``, ``words``, ``tables`` and so on, as the table has them, and ``at``, since
when it is in force (-40d). An exception has ``at``, ``received``, ``trace`` and the columns of its table.

The test is played as it would happen: rows arrive in order, and the rule is evaluated whenever it is due,
over the arrivals since the last time, ``delay`` later, and where a rule looks at them again (``revisit``),
until now. So a finding that is raised too early, before the row that would have excused it, is seen. The
tests of a rule that groups by application are played side by side, each in an application of its own.

``expect`` lists the findings by the end, in any order: for each the columns that matter; ``summary``,
``explanation`` and ``remediation`` must occur in the rendered text. An empty list means silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any, Final

from trueline.monitor.engine.evaluate import select
from trueline.monitor.engine.ports import Query
from trueline.monitor.engine.rule import Rule, RuleTest
from trueline.monitor.engine.rule_rows import ROW_TABLES, Insert, Row, RuleTestError, insert_rows, span_rows

#: The column that says when a row arrived, by table.
_ARRIVALS: Final = ("last_received_at", "received_at", "valid_from")
_TEXTS: Final = ("summary", "explanation", "remediation")
#: A row that arrives, and its table as tests name it.
Arriving = tuple[str, Row]


@dataclass(frozen=True, slots=True)
class RuleTestResult:
    """What came of one test; it passed if there are no problems."""

    name: str
    problems: tuple[str, ...]
    found: tuple[Row, ...] = field(default=(), repr=False)
    #: How long it took; of tests that were played side by side, each one's share.
    milliseconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether exactly the expected findings were found."""
        return not self.problems


def run_rule_tests(
    rule: Rule,
    *,
    query: Query,
    insert: Insert,
    clear: Callable[[], None],
    now: datetime,
) -> list[RuleTestResult]:
    """Run a rule's tests; ``clear`` empties :data:`.rule_rows.TOUCHED_TABLES`.

    ``now`` is the moment that the rows' times are relative to; it must be near the store's own clock, since a
    statement's outcome is final ten minutes after its arrival. What ``query`` raises passes through.
    """
    arriving, problems = arriving_rows(rule, now)
    found: dict[int, list[Row]] = {number: [] for number in arriving}
    took: dict[int, float] = {}
    for numbers in played_together(rule, arriving):
        began = perf_counter()
        clear()
        rows = [row for number in numbers for row in arriving[number]]
        findings: dict[tuple[str, ...], Row] = {}
        shared = shared_parameters(rule, len(numbers))
        for parameters in windows(rule, rows, now, insert):
            for row in select(rule, parameters | shared, query):
                findings[group_of(rule, row)] = dict(row)
        found |= by_test(rule, findings.values(), numbers)
        took |= dict.fromkeys(numbers, (perf_counter() - began) * 1000 / max(len(numbers), 1))
    clear()
    return [
        RuleTestResult(test.name, (problems[number],))
        if number in problems
        else RuleTestResult(
            test.name,
            tuple(differences(rule, found[number], test.expect)),
            tuple(found[number]),
            took[number],
        )
        for number, test in enumerate(rule.definition.tests)
    ]


def arriving_rows(rule: Rule, now: datetime) -> tuple[dict[int, list[Arriving]], dict[int, str]]:
    """By the number of each test, the rows that arrive in it; and what is wrong with tests that have none."""
    problems: dict[int, str] = {}
    arriving: dict[int, list[Arriving]] = {}
    for number, test in enumerate(rule.definition.tests):
        try:
            arriving[number] = [
                (table, _apart(number, row))
                for table, compact in _rows_of(test).items()
                for row in span_rows(table, compact, now=now, seed=test.name)
            ]
        except RuleTestError as error:
            problems[number] = str(error)
    return arriving, problems


def played_together(rule: Rule, numbers: Iterable[int]) -> list[list[int]]:
    """Numbers of tests that can be played side by side; each list wants an empty store."""
    return [list(numbers)] if _side_by_side(rule) else [[number] for number in numbers]


def shared_parameters(rule: Rule, tests: int) -> dict[str, Any]:
    """Parameters of tests that are played side by side: each has a bound (``most...``) of its own."""
    return {
        name: value * tests
        for name, value in rule.parameters.items()
        if name.startswith("most") and isinstance(value, int)
    }


def by_test(rule: Rule, findings: Iterable[Row], numbers: Sequence[int]) -> dict[int, list[Row]]:
    """What was found, by test."""
    found: dict[int, list[Row]] = {number: [] for number in numbers}
    for row in findings:
        number, together = _joined(row)
        number = number if _side_by_side(rule) else numbers[0]
        found.setdefault(number, []).append(together)
    return found


def group_of(rule: Rule, row: Row) -> tuple[str, ...]:
    """What makes rows one finding."""
    return tuple(str(row[column]) for column in rule.definition.group_by)


def _side_by_side(rule: Rule) -> bool:
    return "application" in rule.definition.group_by


#: Between a test's number and a value of its own.
_MARK: Final = "~"
_APART: Final = ("application", "trace_id", "transaction_id")


def _apart(number: int, row: Row) -> Row:
    """The row in an application of the test's own, so that tests can be played side by side."""
    if "ResourceAttributes" in row:
        resource = row["ResourceAttributes"]
        trace = f"{number}{_MARK}{row['TraceId']}" if row["TraceId"] else ""
        named = f"{number}{_MARK}{resource['service.namespace']}"
        return row | {"TraceId": trace, "ResourceAttributes": resource | {"service.namespace": named}}
    return row | {
        name: f"{number}{_MARK}{row.get(name, '')}"
        for name in _APART
        if row.get(name) or name == "application"
    }


def _joined(row: Row) -> tuple[int, Row]:
    """The test's number and the row as if the test had been alone."""

    def bare(value: Any) -> Any:
        return value.partition(_MARK)[2] if isinstance(value, str) and _MARK in value else value

    number = str(row.get("application", "")).partition(_MARK)[0]
    plain = {
        name: [bare(item) for item in value]
        if isinstance(value, list | tuple) and name == "trace_ids"
        else value
        for name, value in row.items()
    }
    plain |= {name: bare(row[name]) for name in _APART if name in row}
    return int(number) if number.isdigit() else -1, plain


def _rows_of(test: RuleTest) -> dict[str, list[Row]]:
    extra = dict(test.model_extra or {})
    rows = extra.pop("rows", None)
    if extra:
        raise RuleTestError(f"unknown field {next(iter(extra))!r}; a test has name, rows and expect")
    if (
        not isinstance(rows, dict)
        or not any(listed for table, listed in rows.items() if table != "declarations")
        or not all(isinstance(listed, list) for listed in rows.values())
    ):
        raise RuleTestError("rows is missing, empty or not a mapping from tables to lists")
    return rows


def windows(
    rule: Rule, arriving: Sequence[Arriving], now: datetime, insert: Insert
) -> Iterator[dict[str, Any]]:
    """The parameters of each evaluation that has arrivals; what has arrived by then is inserted before it."""
    insert_rows(insert, "declarations", [row for of, row in arriving if of == "declarations"])
    waiting = sorted(
        (item for item in arriving if item[0] != "declarations"), key=lambda item: _arrival(item[1])
    )
    first, interval = _arrival(waiting[0][1]), max(rule.definition.interval, timedelta(milliseconds=100))
    moments = [_arrival(row) for _, row in waiting]
    again = {moment + wait for moment in moments for wait in rule.definition.revisit if moment + wait <= now}
    ticks = sorted({first + interval * ((at - first) // interval + 1) for at in {*moments, *again}})
    start = first
    for end in ticks:
        arrived = [item for item in waiting if _arrival(item[1]) < end + rule.definition.delay]
        waiting = waiting[len(arrived) :]
        for table in ROW_TABLES:
            insert_rows(insert, table, [row for of, row in arrived if of == table])
        yield {**rule.parameters, "start": start, "end": end, "since": end - rule.definition.lookback}
        start = end


def differences(rule: Rule, found: Sequence[Row], expected: Sequence[Mapping[str, Any]]) -> list[str]:
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
    moment: datetime = next(row[name] for name in _ARRIVALS if name in row)
    return moment
