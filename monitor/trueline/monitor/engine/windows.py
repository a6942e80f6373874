"""Which arrivals a rule judges next: pure arithmetic on times. The ledger knows what is covered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from trueline.monitor.engine.rule import RuleDefinition

#: Event rules look again at the last arrivals before their window: a row is stamped when its insert begins
#: and can be seen when that ends. The same sighting twice changes nothing.
OVERLAP: Final = timedelta(seconds=10)
#: Aggregate rules judge a bucket once, so for the same reason they wait at least so long after its end.
SETTLE: Final = timedelta(seconds=2)
#: Missed arrivals older than this are given up, and the ledger says so.
MAX_CATCH_UP: Final = timedelta(hours=24)
#: So many windows are caught up at most, and older ones given up: a rule with short buckets would otherwise
#: be busy with the past for longer than anybody wants to wait for the present.
MAX_WINDOWS: Final = 500
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Arrivals from ``start`` until before ``end`` are judged and then covered.

    The query is given ``query_start``, which is earlier where a rule may look again, and later where nothing
    arrived at first; an ``idle`` window needs no query at all. ``settled`` is how far arrivals can be judged
    by now. ``skipped_from`` is set where older arrivals are given up.
    """

    query_start: datetime
    start: datetime
    end: datetime
    since: datetime
    settled: datetime
    idle: bool = False
    skipped_from: datetime | None = None

    @property
    def backlog(self) -> bool:
        """Whether more is waiting behind this window."""
        return self.end < self.settled


def next_window(
    definition: RuleDefinition, covered_until: datetime | None, now: datetime, failures: int = 0
) -> Window | None:
    """The oldest arrivals that are due, None where none are.

    ``covered_until`` is the ledger's word (None: the rule never ran; it begins with what its lookback
    shows). After ``failures`` in a row an event rule tries ever shorter windows, so that one that is too
    heavy can still be got through in parts.
    """
    aggregate = definition.type == "aggregate"
    settled = _floor(now - (max(definition.delay, SETTLE) if aggregate else definition.delay), _MILLISECOND)
    if aggregate:
        settled = _floor(settled, definition.window)
    if covered_until is None:
        start = settled - min(definition.lookback, MAX_CATCH_UP)
        start = _floor(start, definition.window) if aggregate else start
    else:
        start = max(covered_until, settled - _reach(definition))
    if start >= settled:
        return None
    end = min(settled, start + _length(definition, failures))
    return Window(
        query_start=start if aggregate else start - OVERLAP,
        start=start,
        end=end,
        since=end - definition.lookback,
        settled=settled,
        skipped_from=covered_until if covered_until is not None and covered_until < start else None,
    )


def without_idle_time(
    definition: RuleDefinition, window: Window, first_arrival: datetime | None, failures: int = 0
) -> Window:
    """Leave out the time in which nothing arrived: planning a query costs much, even over no rows.

    ``first_arrival`` is the first one from ``window.query_start`` until before ``window.settled``, if any.
    """
    if first_arrival is None:
        return replace(window, end=window.settled, idle=True)
    if first_arrival < window.end:
        return window
    begin = _floor(first_arrival, definition.window) if definition.type == "aggregate" else first_arrival
    end = min(window.settled, begin + _length(definition, failures))
    return replace(window, query_start=begin, end=end, since=end - definition.lookback)


def rewound(definition: RuleDefinition, covered_until: datetime, moment: datetime) -> datetime:
    """Where judging goes on when arrivals may have been stamped anew from ``moment`` on."""
    if definition.type == "aggregate":
        moment = _floor(moment, definition.window)
    return min(covered_until, moment)


def _reach(definition: RuleDefinition) -> timedelta:
    """How far back missed arrivals are caught up, whole buckets of an aggregate rule."""
    return max(min(MAX_CATCH_UP, definition.window * MAX_WINDOWS), definition.window)


def _length(definition: RuleDefinition, failures: int) -> timedelta:
    if definition.type == "aggregate":
        return definition.window
    return max(definition.window / (1 << min(failures, 20)), definition.interval)


def _floor(moment: datetime, step: timedelta) -> datetime:
    return _EPOCH + ((moment - _EPOCH) // step) * step
