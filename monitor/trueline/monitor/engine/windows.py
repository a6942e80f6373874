"""Which arrivals a rule judges next: pure arithmetic on times. The ledger knows what is covered."""

from __future__ import annotations

from dataclasses import dataclass
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
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """Arrivals from ``start`` until before ``end`` are judged and then covered.

    The query is given ``query_start``, which is earlier where a rule may look again. ``backlog`` says that
    more is waiting behind this window. ``skipped_from`` is set where older arrivals are given up.
    """

    query_start: datetime
    start: datetime
    end: datetime
    since: datetime
    backlog: bool
    skipped_from: datetime | None = None


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
    earliest = settled - max(MAX_CATCH_UP, definition.window)
    if covered_until is None:
        start = settled - min(definition.lookback, MAX_CATCH_UP)
        start = _floor(start, definition.window) if aggregate else start
    else:
        start = max(covered_until, earliest)
    if start >= settled:
        return None
    length = definition.window
    if not aggregate:
        length = max(length / 2 ** min(failures, 20), definition.interval)
    end = min(settled, start + length)
    return Window(
        query_start=start if aggregate else start - OVERLAP,
        start=start,
        end=end,
        since=end - definition.lookback,
        backlog=end < settled,
        skipped_from=covered_until if covered_until is not None and covered_until < start else None,
    )


def _floor(moment: datetime, step: timedelta) -> datetime:
    return _EPOCH + ((moment - _EPOCH) // step) * step
