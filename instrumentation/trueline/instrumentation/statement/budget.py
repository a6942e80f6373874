"""How much CPU time a process may spend on statements that it has not seen before."""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """Seconds of CPU time: ``share`` of one core, of which up to ``saved`` seconds are saved for busy times.

    A service that starts meets its few hundred texts within what is saved. One that writes a new text for
    every call, with values or names of tables in it, soon lives on the share alone. Not exact between
    threads, which may both miss what the other spent at that moment.
    """

    def __init__(
        self, share: float = 0.1, saved: float = 3.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._share = share
        self._saved = saved
        self._clock = clock
        self._left = saved
        self._at = clock()

    def is_left(self) -> bool:
        """Tell whether there is anything left to spend."""
        now = self._clock()
        self._left = min(self._saved, self._left + (now - self._at) * self._share)
        self._at = now
        return self._left > 0

    def spend(self, seconds: float) -> None:
        """Take what was spent."""
        self._left -= seconds
