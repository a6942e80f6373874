"""Spans that were made and did not leave, counted by reason and said in the telemetry itself.

A rule that concludes from absence must know that something is missing: `trueline.export.loss` tells it, once
an interval in which something was lost, through the log pipeline, which may work where the spans' did not.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

from trueline.instrumentation import ambient, semconv

#: Seconds between two reports.
INTERVAL: Final = 10.0

QUEUE_FULL: Final = "queue_full"
EXPORT_FAILED: Final = "export_failed"
INTERNAL_ERROR: Final = "internal_error"

Emit = Callable[[str, dict[str, Any]], None]


class Losses:
    """Counts of lost spans in this process since Trueline was switched on. Thread-safe."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self._reported: Counter[str] = Counter()
        self._since = ambient.now_ns()
        self._lock = threading.Lock()

    def add(self, reason: str, count: int = 1) -> None:
        """``count`` more spans are lost for ``reason``."""
        if count > 0:
            with self._lock:
                self.total[reason] += count

    def after_fork(self) -> None:
        """In a forked child: what the parent lost is the parent's to say."""
        self._lock = threading.Lock()
        self.total = Counter()
        self._reported = Counter()
        self._since = ambient.now_ns()

    def report(self, emit: Emit, *, final: bool = False) -> None:
        """Send what was lost since the last report, once an interval; ``final``: now."""
        now = ambient.now_ns()
        if not final and now - self._since < INTERVAL * 1e9:
            return
        with self._lock:
            lost = self.total - self._reported
            self._reported = Counter(self.total)
            since, self._since = self._since, now
        for reason, count in sorted(lost.items()):
            emit(
                semconv.EVENT_EXPORT_LOSS,
                {
                    semconv.LOSS_REASON: reason,
                    semconv.LOSS_COUNT: count,
                    semconv.LOSS_SECONDS: (now - since) / 1e9,
                },
            )
