"""What a rule would have found: the windows of a past time, judged as on schedule. Writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from trueline.monitor.engine.evaluate import combine, parameters, select, sighting
from trueline.monitor.engine.exceptions import sift
from trueline.monitor.engine.finding import Sighting
from trueline.monitor.engine.ports import Arrivals, Query
from trueline.monitor.engine.rule import Rule, RuleDefinition
from trueline.monitor.engine.windows import Window
from trueline.monitor.errors import TruelineError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Errors after which the rest is not tried.
_MAX_ERRORS: Final = 3


@dataclass(slots=True)
class Backtest:
    """What came of it. Times in milliseconds are of the whole evaluation, trigger and query."""

    start: datetime
    end: datetime
    #: How far it came; before ``end`` if it was stopped by its time or by errors.
    judged_until: datetime
    windows: int = 0
    milliseconds: list[float] = field(default_factory=list)
    slowest: Window | None = None
    findings: dict[str, Sighting] = field(default_factory=dict)
    excepted: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all of the time was judged, without an error."""
        return self.judged_until >= self.end and not self.errors


def backtest(
    rule: Rule,
    start: datetime,
    end: datetime,
    *,
    query: Query,
    arrivals: Arrivals,
    seconds: float,
    monotonic: Callable[[], float],
) -> Backtest:
    """Evaluate the rule over arrivals from ``start`` until before ``end``, for about ``seconds`` at most.

    As when missed windows are caught up, an event rule judges ``window`` at once, and time in which nothing
    arrived is passed over. An aggregate rule judges whole buckets.
    """
    result, began = Backtest(start, end, start), monotonic()
    for window in _windows(rule, start, end, arrivals):
        if monotonic() - began > seconds:
            return result
        at = monotonic()
        try:
            rows = select(rule, parameters(rule, window), query)
            sifted = sift(rule.definition.exceptions, rows)
            seen = [sighting(rule, row) for row in sifted.rows]
        except TruelineError as error:
            result.errors.append(f"{window.start.isoformat()}: {error}")
            if len(result.errors) >= _MAX_ERRORS:
                return result
            continue
        taken = (monotonic() - at) * 1000
        if not result.milliseconds or taken > max(result.milliseconds):
            result.slowest = window
        result.milliseconds.append(taken)
        result.windows += 1
        result.excepted.update(sifted.excepted)
        for one in seen:
            known = result.findings.get(one.finding_id)
            result.findings[one.finding_id] = _together(known, one) if known else one
        result.judged_until = window.end
    result.judged_until = end
    return result


def summary_of(rule: Rule, seen: Sighting) -> str:
    """The rule's sentence on a sighting."""
    return rule.templates["summary"].render(
        {
            **seen.facts,
            "params": rule.parameters,
            "first_seen": seen.first_seen,
            "last_seen": seen.last_seen,
            "count": seen.count,
            "value": seen.value,
            "trace_ids": list(seen.trace_ids),
            "span_ids": list(seen.span_ids),
        }
    )


def _together(known: Sighting, one: Sighting) -> Sighting:
    """Two windows may show one occurrence: it counts once, as far as its span ids tell."""
    both = combine(known, one)
    again = len(set(known.occurrences) & set(one.occurrences))
    return replace(both, count=max(both.count - again, known.count, one.count))


def _windows(rule: Rule, start: datetime, end: datetime, arrivals: Arrivals) -> Iterator[Window]:
    definition = rule.definition
    end = _floor(end, definition.window) if definition.type == "aggregate" else end
    while start < end:
        first = arrivals(rule.query.tables, start, end)
        if first is None:
            return
        window = _window(definition, max(first, start), end)
        yield window
        start = window.end


def _window(definition: RuleDefinition, first: datetime, end: datetime) -> Window:
    start = _floor(first, definition.window) if definition.type == "aggregate" else first
    until = min(start + definition.window, end)
    return Window(query_start=start, start=start, end=until, since=until - definition.lookback, settled=end)


def latest_window(definition: RuleDefinition, latest: datetime) -> Window:
    """The window in which the latest arrival is: what one evaluation judges while telemetry comes in."""
    if definition.type == "aggregate":
        return _window(definition, latest, _floor(latest, definition.window) + definition.window)
    end = latest + timedelta(milliseconds=1)
    start = end - max(definition.interval, timedelta(seconds=1))
    return Window(query_start=start, start=start, end=end, since=end - definition.lookback, settled=end)


def _floor(moment: datetime, step: timedelta) -> datetime:
    return _EPOCH + ((moment - _EPOCH) // step) * step


def as_dict(rule: Rule, seen: Sighting) -> dict[str, Any]:
    """A sighting as JSON values."""
    return {
        "id": seen.finding_id,
        "group": dict(seen.group),
        "summary": summary_of(rule, seen),
        "first_seen": seen.first_seen,
        "last_seen": seen.last_seen,
        "count": seen.count,
        "value": seen.value,
        "trace_ids": list(seen.trace_ids[:10]),
    }
