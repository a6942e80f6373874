"""Trueline switched on with an in-memory exporter and internal errors raised, over real databases."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from trueline.instrumentation import guard, instrument, semconv, uninstrument


class Recorder:
    """What Trueline sent so far."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(resource=Resource.create({"service.name": "recorded"}))
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.log_exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
        self.loggers = LoggerProvider(resource=Resource.create({"service.name": "recorded"}))
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self.log_exporter))

    def spans(self) -> tuple[ReadableSpan, ...]:
        """All finished spans; what is held and settled is let go first."""
        self.provider.force_flush()
        return self.exporter.get_finished_spans()

    def statements(self, kind: str | None = None) -> list[Mapping[str, Any]]:
        """Attributes of statement spans in the order in which they ran."""
        found = [s for s in self.spans() if s.attributes and semconv.STATEMENT_KIND in s.attributes]
        found.sort(key=lambda span: span.start_time or 0)
        return [
            span.attributes or {}
            for span in found
            if kind is None or (span.attributes or {})[semconv.STATEMENT_KIND] == kind
        ]

    def writes(self) -> list[tuple[str, str | None]]:
        """(outcome, reason) of each write."""
        return [
            (s[semconv.TRANSACTION_OUTCOME], s.get(semconv.TRANSACTION_REASON))
            for s in self.statements("write")
        ]

    def transactions(self) -> list[Mapping[str, Any]]:
        """Attributes of transaction spans."""
        return [s.attributes or {} for s in self.spans() if s.name.startswith("TRANSACTION")]

    def clear(self) -> None:
        """Forget what was sent."""
        self.provider.force_flush()
        self.exporter.clear()
        self.log_exporter.clear()


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Recorder]]:
    """Switch Trueline on with the given arguments; off again afterwards."""
    monkeypatch.setattr(guard, "raise_internal_errors", True)
    for name in [name for name in os.environ if name.startswith(("TRUELINE_", "OTEL_"))]:
        monkeypatch.delenv(name)
    guard.internal_errors.clear()

    def start(**arguments: Any) -> Recorder:
        recorder = Recorder()
        # On a busy machine a statement must not leave as `open` before its transaction ends.
        arguments.setdefault("hold", 30)
        instrument(tracer_provider=recorder.provider, logger_provider=recorder.loggers, **arguments)
        return recorder

    yield start
    uninstrument()
    assert not guard.internal_errors


@pytest.fixture
def recorder(record: Callable[..., Recorder]) -> Recorder:
    """Trueline switched on with its defaults, but without the log handler."""
    return record(logs=False)


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    """A file for an SQLite database."""
    return tmp_path / "application.db"
