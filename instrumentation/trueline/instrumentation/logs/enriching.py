"""Completing the log records that another OpenTelemetry handler passes on, zero-code's for example.

They have trace and text, and nothing of what a database's error says: code, constraint, table and columns are
added before any exporter sees them, and the rows that such an error quotes are masked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry._logs import LoggerProvider
from opentelemetry.sdk._logs import LogRecordProcessor

from trueline.instrumentation.guard import guarded
from trueline.instrumentation.logs.line import Line
from trueline.instrumentation.logs.relay import Relay


class Enricher(LogRecordProcessor):
    """``line`` tells the line of standard logging that this thread is in, None outside of one."""

    def __init__(self, relay: Relay, line: Callable[[], Line | None]) -> None:
        self._relay = relay
        self._line = line

    @guarded("logs.complete")
    def on_emit(self, log_record: Any) -> None:
        """Complete one record, before the processors behind this one get it."""
        self._relay.complete(log_record.log_record, self._line())

    def enabled(self, **_: Any) -> bool:
        """No: that it looks at records is no reason to make them."""
        return False

    def shutdown(self) -> None:
        """Nothing is kept here."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here."""
        return True


def prepend(provider: LoggerProvider, processor: LogRecordProcessor) -> Callable[[], None]:
    """Put ``processor`` before the others, which OpenTelemetry has no way for; returns what takes it back."""
    processors: Any = getattr(provider, "_multi_log_record_processor", None)

    @guarded("logs.prepend")
    def add() -> None:
        with processors._lock:
            processors._log_record_processors = (processor, *processors._log_record_processors)

    @guarded("logs.remove")
    def remove() -> None:
        with processors._lock:
            processors._log_record_processors = tuple(
                one for one in processors._log_record_processors if one is not processor
            )

    if not hasattr(processors, "_log_record_processors"):
        return lambda: None
    add()
    return remove
