"""Sending what is queued when the process ends, without holding it up for long.

OpenTelemetry's own way waits through all retries of an unreachable receiver. Here all processors share one
budget: seconds if somebody answers at the receiver's port, little if nobody does.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from trueline.instrumentation import lifecycle
from trueline.instrumentation.guard import report

#: For a receiver that takes connections: it may be slow, and what it gets is all that is known of the end.
_REACHABLE_SECONDS = 5.0
#: For one that does not (there may be a proxy in between that does).
_UNREACHABLE_SECONDS = 1.0
_CONNECT_SECONDS = 0.5
#: Left for each further processor, whatever the ones before took.
_LEAST_SECONDS = 0.25


class LastExport:
    """Shuts processors down at the end, in the order in which they were added."""

    def __init__(self) -> None:
        self._processors: list[tuple[Any, str]] = []
        #: Called after each processor's end: what it could not send is said by the next, the logs'.
        self.between: Callable[[], None] | None = None

    def add(self, processor: Any, endpoint: str) -> None:
        """Shut ``processor`` down at the end; ``endpoint``: URL of its receiver, "" if unknown."""
        if not self._processors:
            lifecycle.at_exit(self)
        self._processors.append((processor, endpoint))

    def __call__(self) -> None:
        """Send what is queued."""
        deadline = 0.0
        for processor, endpoint in self._processors:
            if not deadline:
                deadline = time.monotonic() + patience(endpoint)
            try:
                _shut_down(processor, max(_LEAST_SECONDS, deadline - time.monotonic()))
                if self.between is not None:
                    self.between()
            except Exception as error:
                report("last_export", error)


def patience(endpoint: str) -> float:
    """For how many seconds the end of a process may wait for the receiver at ``endpoint``."""
    if not _reachable(endpoint):
        return _UNREACHABLE_SECONDS
    try:
        return max(0.0, float(os.environ.get("TRUELINE_EXIT_WAIT") or _REACHABLE_SECONDS))
    except ValueError:
        return _REACHABLE_SECONDS


def _shut_down(processor: Any, seconds: float) -> None:
    batch = getattr(processor, "_batch_processor", None)
    if batch is None:
        processor.shutdown()
    else:
        batch.shutdown(timeout_millis=int(seconds * 1000))


def _reachable(endpoint: str) -> bool:
    """Whether anything takes connections there; True where that is not known."""
    try:
        parts = urlsplit(endpoint)
        if not parts.hostname:
            return True
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname, port), timeout=_CONNECT_SECONDS):
            return True
    except (OSError, ValueError):
        return False
