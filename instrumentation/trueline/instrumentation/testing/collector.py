"""What a recording takes in: spans as they start and end, and log records."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from trueline.instrumentation import ambient, scope
from trueline.instrumentation.guard import guarded


@dataclass(slots=True)
class Seen:
    """A span, with the moments at which it was seen to start and end, on the recording's clock (ns).

    ``ended`` is None while it is under way; ``span`` is then the living one. ``inside`` are the ids of the
    transactions that its task held open when it started.
    """

    span: ReadableSpan
    started: int
    ended: int | None
    is_entry: bool = False
    inside: tuple[str, ...] = ()
    #: As they were when the span left: Trueline's are put together whenever they are read.
    left_with: Mapping[str, Any] | None = None

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The span's attributes, so far if it is under way."""
        return self.span.attributes or {} if self.left_with is None else self.left_with


class Collector(SpanProcessor):
    """One recording's spans and log records, in order of arrival. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: list[Seen] = []
        self._under_way: dict[int, Seen] = {}
        self._logs: list[ReadWriteLogRecord] = []
        self.log_processor = _LogCollector(self._logs)

    @property
    def version(self) -> tuple[int, int, int]:
        """Changes whenever something was taken in."""
        return len(self._seen), len(self._under_way), len(self._logs)

    def seen(self) -> list[Seen]:
        """Everything so far."""
        with self._lock:
            return list(self._seen)

    def logs(self) -> list[ReadWriteLogRecord]:
        """Everything so far, by the time of which it tells: events of ours are sent by another thread."""
        return sorted(self._logs, key=lambda one: one.log_record.timestamp or 0)

    def clear(self) -> None:
        """Forget everything so far."""
        with self._lock:
            self._seen.clear()
            self._under_way.clear()
            self._logs.clear()

    @guarded("testing.on_start")
    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        """A span of OpenTelemetry's SDK began; Trueline's own arrive when they have ended."""
        parent = trace.get_current_span(parent_context).get_span_context()
        seen = Seen(
            span,
            started=ambient.now_ns(),
            ended=None,
            is_entry=not parent.is_valid or parent.is_remote,
            inside=tuple(transaction.id for transaction in scope.open_transactions()),
        )
        with self._lock:
            self._seen.append(seen)
            self._under_way[span.get_span_context().span_id] = seen

    @guarded("testing.on_end")
    def on_end(self, span: ReadableSpan) -> None:
        """A span ended."""
        context, attributes = span.get_span_context(), dict(span.attributes or {})
        with self._lock:
            seen = self._under_way.pop(0 if context is None else context.span_id, None)
            if seen is not None:
                seen.span, seen.ended, seen.left_with = span, ambient.now_ns(), attributes
                return
            started = span.start_time or 0
            self._seen.append(Seen(span, started, span.end_time or started, left_with=attributes))

    def shutdown(self) -> None:
        """Nothing: what was recorded stays readable."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is held back here."""
        return True


class _LogCollector(LogRecordProcessor):
    def __init__(self, logs: list[ReadWriteLogRecord]) -> None:
        self._logs = logs

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self._logs.append(log_record)

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True
