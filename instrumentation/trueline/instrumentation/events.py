"""Our own log events, sent by Trueline's thread: a log pipeline may take its time, a request must not."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.context import Context, get_current

from trueline.instrumentation import ambient

#: Events that wait for the thread; the oldest are forgotten beyond it.
_MAX_WAITING: Final = 4096


class DeferredEvents:
    """Called like the emitter it wraps: name, attributes. ``send`` then emits what waits, in order.

    ``emit`` also takes the ``context`` and ``timestamp`` (ns) of the call.
    """

    def __init__(self, emit: Callable[..., None]) -> None:
        self._emit = emit
        self._waiting: deque[tuple[int, str, dict[str, Any], Context, int]] = deque(maxlen=_MAX_WAITING)

    def __call__(self, name: str, attributes: dict[str, Any], context: Context | None = None) -> None:
        """Let the event ``name`` of now, by default in the current trace, be sent soon."""
        around = get_current() if context is None else context
        self._waiting.append((os.getpid(), name, attributes, around, ambient.now_ns()))

    def send(self) -> None:
        """Emit what waits. Called from the thread, at a flush and at the end."""
        while True:
            try:
                process, name, attributes, context, timestamp = self._waiting.popleft()
            except IndexError:
                return
            # What waited at a fork is the parent's to send.
            if process == os.getpid():
                self._emit(name, attributes, context=context, timestamp=timestamp)
