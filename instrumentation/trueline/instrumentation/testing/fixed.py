"""A clock that ticks and identifiers that count, so that two runs of one test record the same."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.sdk.trace.id_generator import IdGenerator

from trueline.instrumentation import ambient

#: 2000-01-01T00:00:00Z, in nanoseconds.
START_NS: Final = 946_684_800_000_000_000
#: One millisecond: what a reading of the clock adds.
STEP_NS: Final = 1_000_000

# Spans that OpenTelemetry's SDK makes are numbered apart from ours, which get theirs when they are built.
_SDK_SPAN: Final = 0x5D00_0000_0000_0000
_SDK_TRACE: Final = 0x5D00_0000_0000_0000_0000_0000_0000_0000
_NAMES: Final = ("now_ns", "new_trace_id", "new_span_id", "new_transaction_id")


class FixedAmbient:
    """Takes the place of :mod:`trueline.instrumentation.ambient`'s functions. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = START_NS
        self._traces = itertools.count(1)
        self._spans = itertools.count(1)
        self._transactions = itertools.count(1)
        self.sdk_traces = itertools.count(_SDK_TRACE + 1)
        self.sdk_spans = itertools.count(_SDK_SPAN + 1)
        self._before: dict[str, Callable[..., Any]] = {}

    def now_ns(self) -> int:
        """A millisecond after the last reading.

        Trueline's own thread looks at the clock whenever it wakes up: that must not make it tick.
        """
        with self._lock:
            if not threading.current_thread().name.startswith("trueline"):
                self._now += STEP_NS
            return self._now

    def new_trace_id(self) -> int:
        """1, 2, 3 ..."""
        return next(self._traces)

    def new_span_id(self) -> int:
        """1, 2, 3 ..."""
        return next(self._spans)

    def new_transaction_id(self) -> str:
        """16 hex digits of 1, 2, 3 ..."""
        return f"{next(self._transactions):016x}"

    def install(self) -> None:
        """Take the place of the real ones."""
        for name in _NAMES:
            self._before[name] = getattr(ambient, name)
            setattr(ambient, name, getattr(self, name))

    def remove(self) -> None:
        """Give it back."""
        for name, function in self._before.items():
            setattr(ambient, name, function)
        self._before.clear()


class CountingIds(IdGenerator):
    """Ids of the spans that the SDK makes for the kit's own provider."""

    def __init__(self) -> None:
        self.source = FixedAmbient()

    def generate_span_id(self) -> int:
        """The next one."""
        return next(self.source.sdk_spans)

    def generate_trace_id(self) -> int:
        """The next one."""
        return next(self.source.sdk_traces)
