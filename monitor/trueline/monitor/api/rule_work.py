"""For rule writers: is a rule right, what would it have found, what does it cost? Nothing is stored."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field, model_validator

from trueline.monitor.api.context import Context, Route, moment_of
from trueline.monitor.engine.backtest import Backtest, as_dict, backtest, latest_window
from trueline.monitor.engine.evaluate import candidates
from trueline.monitor.engine.evaluate import parameters as bindings
from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.rule_document import RuleFileError
from trueline.monitor.engine.rule_file import OverrideFile, overridden, parse
from trueline.monitor.errors import QueryError
from trueline.monitor.store.client import Limits
from trueline.monitor.store.ledger import StoredArrivals
from trueline.monitor.store.rule_cost import Cost, absent, arrivals, measure, query_problems, readings

#: What one evaluation here may use: as much as one on schedule.
LIMITS: Final = Limits(seconds=10, memory_bytes=1 << 30, rows=1000)
#: Longest back and longest work of one backtest.
MAX_SINCE: Final = timedelta(days=90)
MAX_SECONDS: Final = 120.0
#: Findings listed.
MAX_FINDINGS: Final = 100


class Subject(BaseModel):
    """A rule: an installed one by its id, or a file's text (a rule, or an override of an installed one)."""

    model_config = ConfigDict(extra="forbid")

    rule: str | None = Field(default=None, max_length=64, examples=["env_split"])
    text: str | None = Field(default=None, max_length=1 << 20, description="A rule file's text.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.rule is None) == (self.text is None):
            raise ValueError("give either rule (the id of an installed one) or text (a file's)")
        return self


class BacktestRequest(Subject):
    """What to try, over which time."""

    since: str = Field(default="24h", max_length=40, description="A time, or a duration back from now.")
    seconds: float = Field(default=30.0, gt=0, le=MAX_SECONDS, description="Longest time to work.")


class CostItem(BaseModel):
    """What one run of a query took, to three digits; null where the engine does not tell."""

    rows: int | None
    milliseconds: float | None
    memory_bytes: int | None


class Absent(BaseModel):
    """What the rule reads and of which nothing arrived in the last 24 hours."""

    tables: list[str]
    attributes: list[str]


class CheckAnswer(BaseModel):
    """``problems`` is empty where the rule can run."""

    rule: str | None
    problems: list[str]
    absent: Absent | None


class WouldFind(BaseModel):
    """A finding that would have been there."""

    id: str
    group: dict[str, Any]
    summary: str
    first_seen: datetime
    last_seen: datetime
    count: int
    value: float
    trace_ids: list[str]


class BacktestAnswer(BaseModel):
    """What the rule would have found, and what it took."""

    rule: str
    since: datetime
    until: datetime
    judged_until: datetime
    complete: bool = Field(description="False where the time to work ended or a window failed.")
    windows: int = Field(description="Windows in which something arrived.")
    milliseconds: float = Field(description="All evaluations together.")
    median_milliseconds: float | None
    slowest_milliseconds: float | None
    slowest: CostItem | None = Field(description="The slowest window's query once more, measured.")
    findings: list[WouldFind]
    total: int
    excepted: list[dict[str, Any]] = Field(description="Rows that exceptions took, with the reason of each.")
    errors: list[str]
    absent: Absent


class TableReading(BaseModel):
    """One reading of a table; a granule has some 8,192 rows."""

    table: str
    keys: list[str]
    parts: int
    granules: int
    of_granules: int


class ExplainAnswer(BaseModel):
    """What one evaluation reads and costs, and a day of them while telemetry comes in all the time."""

    rule: str
    window: dict[str, datetime]
    tables: list[str]
    readings: list[TableReading]
    trigger: CostItem | None
    trigger_fires: bool | None = Field(description="Whether the query would have run in this window.")
    query: CostItem
    evaluations_a_day: int
    rows_a_day: int | None
    seconds_a_day: float | None
    sql: str = Field(description="What runs: the query as it was understood.")
    absent: Absent


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)
    busy = threading.Lock()

    def query(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        return context.store.query_read_only(sql, parameters, LIMITS).dicts()

    @contextmanager
    def alone() -> Iterator[None]:
        """One at a time: rules on schedule and people's questions need the store too."""
        if not busy.acquire(blocking=False):
            raise HTTPException(
                429, "Another rule is being tried: wait until that is done.", {"Retry-After": "5"}
            )
        try:
            yield
        finally:
            busy.release()

    @router.post("/rules/check")
    def check(subject: Subject) -> CheckAnswer:
        """Say what is wrong with a rule, statically and to the engine, and what it reads that never comes."""
        try:
            rule = _subject(context, subject)
        except RuleFileError as error:
            return CheckAnswer(rule=None, problems=[_told(one) for one in error.problems], absent=None)
        window = latest_window(rule.definition, datetime.now(UTC))
        bound = bindings(rule, window) | candidates(rule, [])
        problems = query_problems(context.store, rule, bound)
        return CheckAnswer(rule=rule.id, problems=problems, absent=Absent(**absent(context.store, rule)))

    @router.post("/rules/backtest")
    def try_out(request: BacktestRequest) -> BacktestAnswer:
        """What a rule would have found since then. Nothing is stored, nobody is told."""
        rule = _usable(context, request)
        now = _now(context)
        start = moment_of(request.since, now)
        if not now - MAX_SINCE <= start < now:
            raise HTTPException(400, f"since lies in the future or more than {MAX_SINCE.days} days back.")
        with alone():
            done = backtest(
                rule,
                start,
                now,
                query=query,
                arrivals=StoredArrivals(context.store),
                seconds=request.seconds,
                monotonic=time.monotonic,
            )
            return _answer(context, rule, done)

    @router.post("/rules/explain")
    def explain(subject: Subject) -> ExplainAnswer:
        """What one evaluation of a rule reads, by which indexes, and what that costs."""
        rule = _usable(context, subject)
        window = latest_window(rule.definition, _latest(context, rule))
        bound = bindings(rule, window)
        with alone():
            trigger = measure(context.store, rule.trigger.sql, bound, LIMITS) if rule.trigger else None
            found = query(rule.trigger.sql, bound) if rule.trigger else []
            fires = bool(found) if rule.trigger else None
            bound |= candidates(rule, found)
            cost = measure(context.store, rule.query.sql, bound, LIMITS)
            read = readings(context.store, rule.query.sql, bound, LIMITS)
        evaluations = round(timedelta(days=1) / rule.definition.interval)
        each = [cost] if trigger is None or fires else []
        each += [trigger] if trigger is not None else []
        return ExplainAnswer(
            rule=rule.id,
            window={"start": window.start, "end": window.end, "since": window.since},
            tables=sorted(rule.query.tables),
            readings=[TableReading(**_fields(one)) for one in read],
            trigger=_item(trigger) if trigger else None,
            trigger_fires=fires,
            query=_item(cost),
            evaluations_a_day=evaluations,
            rows_a_day=evaluations * sum(one.rows or 0 for one in each),
            seconds_a_day=round(evaluations * sum(one.milliseconds or 0 for one in each) / 1000, 1),
            sql=rule.query.sql,
            absent=Absent(**absent(context.store, rule)),
        )

    return router


def _subject(context: Context, subject: Subject) -> Rule:
    """The rule; RuleFileError for a text that is none, HTTPException 404 for an id that nobody has."""
    if subject.text is None:
        return _installed(context, subject.rule or "")
    loaded = parse(Path("rule.yaml"), subject.text)
    if isinstance(loaded, OverrideFile):
        return overridden(_installed(context, loaded.override.override), loaded)
    return loaded


def _installed(context: Context, rule_id: str) -> Rule:
    rule = context.rules.loaded.get(rule_id)
    if rule is None:
        there = ", ".join(one.id for one in context.rules.loaded.rules)
        raise HTTPException(404, f"There is no rule {rule_id[:64]!r}; there are {there}.")
    return rule


def _usable(context: Context, subject: Subject) -> Rule:
    try:
        return _subject(context, subject)
    except RuleFileError as error:
        raise HTTPException(422, "; ".join(_told(one) for one in error.problems[:5])) from None


def _told(problem: Any) -> str:
    return f"{problem.line}:{problem.column}: {problem.message}"


def _now(context: Context) -> datetime:
    now: datetime = context.store.query("SELECT now64(3, 'UTC')").scalar()
    return now


def _latest(context: Context, rule: Rule) -> datetime:
    """When something arrived last that the rule reads; now, if nothing did within a day."""
    moments = []
    for table in sorted(rule.query.tables):
        if not table.startswith("declarations"):
            source, column = arrivals(table)
            sql = f"SELECT maxOrNull({column}) FROM {source} WHERE {column} >= now64(3) - INTERVAL 1 DAY"  # noqa: S608
            moments.append(context.store.query(sql).scalar())
    return max((one for one in moments if one is not None), default=_now(context))


def _answer(context: Context, rule: Rule, done: Backtest) -> BacktestAnswer:
    measured: Cost | None = None
    if done.slowest is not None:
        try:
            bound = bindings(rule, done.slowest)
            if rule.trigger is not None:
                bound |= candidates(
                    rule, context.store.query_read_only(rule.trigger.sql, bound, LIMITS).dicts()
                )
            measured = measure(context.store, rule.query.sql, bound, LIMITS)
        except QueryError as error:
            done.errors.append(f"the slowest window could not be measured: {error}")
    listed = sorted(done.findings.values(), key=lambda one: one.last_seen, reverse=True)
    exceptions = rule.definition.exceptions
    return BacktestAnswer(
        rule=rule.id,
        since=done.start,
        until=done.end,
        judged_until=done.judged_until,
        complete=done.complete,
        windows=done.windows,
        milliseconds=round(sum(done.milliseconds), 1),
        median_milliseconds=round(statistics.median(done.milliseconds), 1) if done.milliseconds else None,
        slowest_milliseconds=round(max(done.milliseconds), 1) if done.milliseconds else None,
        slowest=_item(measured) if measured else None,
        findings=[WouldFind(**as_dict(rule, one)) for one in listed[:MAX_FINDINGS]],
        total=len(listed),
        excepted=[
            {"rows": count, "reason": exceptions[number].reason, "match": exceptions[number].match}
            for number, count in sorted(done.excepted.items())
        ],
        errors=done.errors,
        absent=Absent(**absent(context.store, rule)),
    )


def _item(cost: Cost) -> CostItem:
    return CostItem(**_fields(cost))


def _fields(one: Any) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value := getattr(one, name), tuple) else value
        for name in one.__slots__
    }
