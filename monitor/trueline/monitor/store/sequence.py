"""Numbers by which rows of one thing are put in order, over restarts as well."""

from __future__ import annotations

import threading
import time


class Sequence:
    """Numbers that only rise: the clock's nanoseconds, unless that stands still or falls back."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._last = 0

    def next(self) -> int:
        """A number higher than any before."""
        with self._guard:
            self._last = max(time.time_ns(), self._last + 1)
            return self._last
