"""Where time and identifiers come from: one place, so that tests of applications can fix both.

Identifiers are no secrets, and reading the system's randomness for each costs ten times as much. Callers use
``ambient.now_ns()`` and do not import the names, so that a replacement reaches them.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

#: Nanoseconds since the epoch.
now_ns: Callable[[], int] = time.time_ns

_bits: Callable[[int], int] = random.getrandbits


def new_trace_id() -> int:
    """128 random bits, never 0."""
    return _bits(128) or 1


def new_span_id() -> int:
    """64 random bits, never 0."""
    return _bits(64) or 1


def new_transaction_id() -> str:
    """16 hex digits."""
    return f"{_bits(64):016x}"
