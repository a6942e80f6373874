"""A pytest plugin for SQLAlchemy's own test suite: switches Trueline on if told to, and notes every outcome.

Loaded with ``-p guest_plugin`` by ``run_sqlalchemy_suite.py`` into both runs that are compared. Settings come
from the environment: GUEST_MODE (bare, own, contrib-alone, contrib) and GUEST_OUTPUT (a folder).
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

MODE = os.environ["GUEST_MODE"]
OUTPUT = Path(os.environ["GUEST_OUTPUT"])

_outcomes: dict[str, dict[str, str]] = {}
_seen: Counter[str] = Counter()


def _switch_on() -> Any:
    """As in production: batches on a thread, the log handler on, internal errors swallowed and counted."""
    from opentelemetry import trace
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Counting(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            for span in spans:
                attributes = span.attributes or {}
                _seen["spans"] += 1
                if "trueline.statement.kind" in attributes:
                    _seen["statements"] += 1
                    _seen[f"outcome: {attributes['trueline.transaction.outcome']!s}"] += 1
                elif "trueline.transaction.id" in attributes:
                    _seen["transactions"] += 1
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Counting(), schedule_delay_millis=1000))
    if MODE == "contrib-alone":
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

        SQLAlchemyInstrumentor().instrument(tracer_provider=provider, skip_dep_check=True)
        return provider
    from trueline.instrumentation import guard, instrument

    # Every internal error, not one a minute, and into a file: the suite's own log tests must not see it.
    guard._LOG_INTERVAL_SECONDS = 0.0
    log = logging.getLogger("trueline")
    log.propagate = False
    log.addHandler(logging.FileHandler(OUTPUT / "internal_errors.log"))
    assert isinstance(provider, trace.TracerProvider)
    instrument("suite", tracer_provider=provider, logger_provider=LoggerProvider(), spans=MODE)
    return provider


_provider = None if MODE == "bare" else _switch_on()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Put our listeners back: many of the suite's tests clear those of SQLAlchemy's classes, and ours."""
    if MODE in ("own", "contrib"):
        from trueline.instrumentation.listeners import listen

        listen()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Outcome of each phase, with the last line of what it raised."""
    if report.when != "call" and report.outcome == "passed":
        return
    said = ""
    if report.outcome == "failed":
        text = str(report.longrepr).strip().splitlines()
        said = re.sub(r"0x[0-9a-f]+|\d+", "N", text[-1])[:300] if text else ""
        with (OUTPUT / "failures.txt").open("a") as stream:
            stream.write(f"==== {report.nodeid} [{report.when}]\n{report.longrepr}\n\n")
    _outcomes.setdefault(report.nodeid, {})[report.when] = f"{report.outcome} {said}".strip()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write everything down for the command that compares."""
    summary: dict[str, Any] = {}
    if _provider is not None:
        _provider.force_flush()
        summary = {"seen": dict(_seen)}
    if MODE in ("own", "contrib"):
        from trueline.instrumentation import setup

        summary |= setup.status()
    (OUTPUT / "outcomes.json").write_text(json.dumps({"outcomes": _outcomes, "trueline": summary}))
