"""Sending our own log events."""

from __future__ import annotations

from typing import Any

from opentelemetry import _logs
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context, get_current

from trueline.instrumentation import ambient, semconv
from trueline.instrumentation._version import __version__
from trueline.instrumentation.guard import guarded


class EventEmitter:
    """Sends our own log events."""

    def __init__(self, provider: _logs.LoggerProvider) -> None:
        self._logger = provider.get_logger(semconv.SCOPE_NAME, __version__, schema_url=semconv.SCHEMA_URL)

    @guarded("logs.event")
    def __call__(
        self,
        name: str,
        attributes: dict[str, Any],
        *,
        context: Context | None = None,
        timestamp: int | None = None,
    ) -> None:
        """Send the event ``name``, by default in the current trace and of now (ns)."""
        now = ambient.now_ns()
        self._logger.emit(
            LogRecord(
                timestamp=timestamp or now,
                observed_timestamp=now,
                context=get_current() if context is None else context,
                severity_number=SeverityNumber.INFO,
                severity_text="INFO",
                body=semconv.EVENTS[name].meaning,
                attributes=attributes,
                event_name=name,
            )
        )
