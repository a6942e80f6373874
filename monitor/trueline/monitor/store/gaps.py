"""What is missing from the telemetry or stamped wrongly, read for the engine."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from trueline.monitor.engine.gaps import AHEAD, Loss, Sampled, Skew
from trueline.monitor.store.client import Store
from trueline.monitor.store.ledger import text

_LOSSES: Final = (
    "SELECT environment, application, service, reason, toUInt64(sum(count)) AS count, "
    "min(started_at) AS start, max(export_losses.ended_at) AS end, max(received_at) AS told_at "
    "FROM export_losses WHERE {} GROUP BY environment, application, service, reason, "
    "toStartOfInterval(ended_at, INTERVAL 10 SECOND) ORDER BY end LIMIT 1000"
)
_SAMPLED: Final = (
    "SELECT environment, application, service, min(sample_ratio) AS ratio FROM statements "
    "WHERE received_at >= {start:DateTime64(3)} AND received_at < {end:DateTime64(3)} "
    "AND sample_ratio > 0 AND sample_ratio < 1 "
    "GROUP BY environment, application, service ORDER BY ratio LIMIT 100"
)
_SKEWS: Final = (
    "SELECT environment, service, "
    "countIf(ended_at > received_at + toIntervalMillisecond({ahead:UInt32})) AS ahead, "
    "maxIf(dateDiff('millisecond', received_at, ended_at), ended_at > received_at) AS ahead_ms, "
    "countIf(started_at < received_at - toIntervalMillisecond({lookback:UInt64})) AS old FROM statements "
    "WHERE received_at >= {start:DateTime64(3)} AND received_at < {end:DateTime64(3)} "
    "AND (ended_at > received_at + toIntervalMillisecond({ahead:UInt32}) "
    "OR started_at < received_at - toIntervalMillisecond({lookback:UInt64})) "
    "GROUP BY environment, service ORDER BY environment, service LIMIT 100"
)
#: Losses are grouped by the tenth second of their end, which may lie so long after the start that is looked
#: for.
_MAX_LOSS: Final = timedelta(days=1)


class StoredGaps:
    """Implements the engine's port :class:`~trueline.monitor.engine.ports.Gaps`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def losses(self, start: datetime, end: datetime) -> list[Loss]:
        """Spans lost some time from ``start`` until ``end`` (event time), as far as is known by now."""
        return self._losses(
            "ended_at >= {start:DateTime64(3)} AND started_at <= {end:DateTime64(3)} "
            "AND ended_at <= {last:DateTime64(3)}",
            {"start": text(start), "end": text(end), "last": text(end + _MAX_LOSS)},
        )

    def losses_told(self, start: datetime, end: datetime) -> list[Loss]:
        """Losses of which the word arrived from ``start`` until before ``end``."""
        return self._losses(
            "received_at >= {start:DateTime64(3)} AND received_at < {end:DateTime64(3)}",
            {"start": text(start), "end": text(end)},
        )

    def sampled(self, start: datetime, end: datetime) -> list[Sampled]:
        """Services that sample, among those whose statements arrived from ``start`` until before ``end``."""
        rows = self._store.query(_SAMPLED, {"start": text(start), "end": text(end)})
        return [Sampled(**row) for row in rows.dicts()]

    def skews(self, start: datetime, end: datetime, lookback: timedelta) -> list[Skew]:
        """Services whose event times do not fit, among the same: older than ``lookback`` or in the future."""
        bound = {
            "start": text(start),
            "end": text(end),
            "ahead": AHEAD // timedelta(milliseconds=1),
            "lookback": lookback // timedelta(milliseconds=1),
        }
        return [
            Skew(environment, service, ahead, timedelta(milliseconds=ahead_ms), old)
            for environment, service, ahead, ahead_ms, old in self._store.query(_SKEWS, bound)
        ]

    def _losses(self, condition: str, bound: dict[str, str]) -> list[Loss]:
        return [Loss(**row) for row in self._store.query(_LOSSES.format(condition), bound).dicts()]
