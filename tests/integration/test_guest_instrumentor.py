"""`TruelineInstrumentor` among other instrumentors: alone, twice, zero-code, with contrib's in any order."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import sqlalchemy.ext.asyncio
from opentelemetry.instrumentation.dependencies import DependencyConflictError
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from sqlalchemy import text
from support.recorder import Recorder

from trueline.instrumentation import ConfigurationError, instrument, semconv, setup, uninstrument
from trueline.instrumentation.instrumentor import TruelineInstrumentor

pytestmark = pytest.mark.sqlalchemy_matrix

OWN = semconv.SCOPE_NAME
CONTRIB = "opentelemetry.instrumentation.sqlalchemy"


def scopes(recorder: Recorder) -> Counter[str]:
    """How many statement spans each instrumentation made since the last call."""
    spans = [s for s in recorder.spans() if s.attributes and semconv.STATEMENT_KIND in s.attributes]
    found = Counter(span.instrumentation_scope.name for span in spans if span.instrumentation_scope)
    recorder.clear()
    return found


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """An application's provider; Trueline is not on yet."""
    yield Recorder()
    uninstrument()


@pytest.fixture
def instrumentor(recorder: Recorder) -> TruelineInstrumentor:
    return TruelineInstrumentor()


@pytest.fixture
def switch_on(instrumentor: TruelineInstrumentor, recorder: Recorder) -> Callable[..., Any]:
    def on(**arguments: Any) -> Any:
        return instrumentor.instrument(
            tracer_provider=recorder.provider,
            logger_provider=recorder.loggers,
            logs=False,
            hold=30,
            **arguments,
        )

    return on


@pytest.fixture
def contrib(recorder: Recorder) -> Iterator[Callable[[], SQLAlchemyInstrumentor]]:
    """Contrib's instrumentor, switched on by the application."""
    theirs = SQLAlchemyInstrumentor()

    def on() -> SQLAlchemyInstrumentor:
        theirs.instrument(tracer_provider=recorder.provider, skip_dep_check=True)
        return theirs

    yield on
    if theirs.is_instrumented_by_opentelemetry:
        theirs.uninstrument()


def engine_at(path: Path) -> sqlalchemy.Engine:
    # Looked up on the module, so that contrib's wrapper of the function is the one that is called.
    return sqlalchemy.create_engine(f"sqlite:///{path}")


def two_statements(engine: sqlalchemy.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS t (user_id TEXT)"))
        connection.execute(text("INSERT INTO t VALUES ('7')"))


# -- by itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argument", ["engine", "engines"])
def test_an_engine_argument_is_accepted_and_restricts_nothing(
    argument: str, switch_on: Callable[..., Any], recorder: Recorder, tmp_path: Path
) -> None:
    named, other = engine_at(tmp_path / "a.db"), engine_at(tmp_path / "b.db")
    switch_on(
        **{argument: named if argument == "engine" else [named]}, enable_commenter=True, meter_provider=None
    )
    for engine in (named, other, engine_at(tmp_path / "c.db")):
        two_statements(engine)
    assert scopes(recorder) == {OWN: 6}


def test_twice_is_once_and_off_is_off(
    switch_on: Callable[..., Any],
    instrumentor: TruelineInstrumentor,
    recorder: Recorder,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = engine_at(tmp_path / "a.db")
    for _ in range(3):
        switch_on()
        switch_on()
        assert instrumentor.is_instrumented_by_opentelemetry
        two_statements(engine)
        assert scopes(recorder) == {OWN: 2}
        instrumentor.uninstrument()
        instrumentor.uninstrument()
        assert not instrumentor.is_instrumented_by_opentelemetry
        two_statements(engine)
        assert scopes(recorder) == {}
    assert caplog.text.count("Attempting to instrument while already instrumented") == 3


def test_it_says_whether_it_is_on_whoever_switched(
    instrumentor: TruelineInstrumentor, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    instrument(tracer_provider=recorder.provider, logger_provider=recorder.loggers, logs=False)
    assert instrumentor.is_instrumented_by_opentelemetry
    uninstrument()
    assert not instrumentor.is_instrumented_by_opentelemetry
    monkeypatch.setenv("TRUELINE_DISABLED", "1")
    instrumentor.instrument()
    assert not instrumentor.is_instrumented_by_opentelemetry


def test_a_conflict_is_logged_and_raised_only_where_it_is_asked_for(
    switch_on: Callable[..., Any],
    instrumentor: TruelineInstrumentor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(
        TruelineInstrumentor, "instrumentation_dependencies", lambda self: ("sqlalchemy < 1",)
    )
    switch_on()
    assert not setup.is_instrumented()
    assert 'only instruments "sqlalchemy < 1"' in caplog.text
    with pytest.raises(DependencyConflictError):
        switch_on(raise_exception_on_conflict=True)
    switch_on(skip_dep_check=True)
    assert setup.is_instrumented()


def test_a_wrong_variable_does_not_keep_zero_code_from_the_others(
    instrumentor: TruelineInstrumentor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRUELINE_HOLD", "soon")
    instrumentor.instrument(raise_exception_on_conflict=True, skip_dep_check=True)
    assert not setup.is_instrumented()
    assert "nothing is instrumented: TRUELINE_HOLD='soon' is not a number" in caplog.text
    monkeypatch.delenv("TRUELINE_HOLD")
    with pytest.raises(ConfigurationError):
        instrumentor.instrument(spans="others")


@pytest.mark.nightly
def test_loaded_by_opentelemetry_instrument(tmp_path: Path) -> None:
    """Zero-code also loads contrib's instrumentor where it supports the release: still one span each."""
    script = (
        "import sqlalchemy\n"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor\n"
        "from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter\n"
        "from trueline.instrumentation import setup\n"
        "memory = InMemorySpanExporter()\n"
        "provider = setup._installed.provider\n"
        "provider.add_span_processor(SimpleSpanProcessor(memory))\n"
        "engine = sqlalchemy.create_engine('sqlite://')\n"
        "with engine.begin() as c: c.exec_driver_sql('CREATE TABLE t (user_id TEXT)')\n"
        "provider.force_flush(1)\n"
        "spans = [s for s in memory.get_finished_spans() if 'trueline.statement.kind' in s.attributes]\n"
        "print(len(spans), spans[0].attributes['trueline.transaction.outcome'])\n"
    )
    run = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
    result = subprocess.run(
        [sys.executable, "-c", run, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            # A distro that is installed beside would have gRPC, which has a package of its own.
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "600000",
        },
    )
    assert result.stdout.strip() == "1 committed", result.stderr


# -- with contrib's instrumentor --------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["contrib", "trueline"])
def test_contribs_spans_are_adopted_whoever_came_first(
    first: str,
    switch_on: Callable[..., Any],
    contrib: Callable[[], SQLAlchemyInstrumentor],
    recorder: Recorder,
    tmp_path: Path,
) -> None:
    for switch in (contrib, switch_on) if first == "contrib" else (switch_on, contrib):
        switch()
    two_statements(engine_at(tmp_path / "a.db"))
    assert scopes(recorder) == {CONTRIB: 2}


def test_contrib_switched_off_and_on_meanwhile(
    switch_on: Callable[..., Any],
    contrib: Callable[[], SQLAlchemyInstrumentor],
    instrumentor: TruelineInstrumentor,
    recorder: Recorder,
    tmp_path: Path,
) -> None:
    theirs = contrib()
    switch_on()
    engine = engine_at(tmp_path / "a.db")
    two_statements(engine)
    assert scopes(recorder) == {CONTRIB: 2}
    theirs.uninstrument()
    two_statements(engine)
    assert scopes(recorder) == {OWN: 2}
    contrib()
    two_statements(engine_at(tmp_path / "b.db"))
    assert scopes(recorder) == {CONTRIB: 2}
    instrumentor.uninstrument()
    assert theirs.is_instrumented_by_opentelemetry
    recorder.clear()
    two_statements(engine_at(tmp_path / "c.db"))
    theirs_now = [s for s in recorder.spans() if s.attributes and "db.statement" in s.attributes]
    assert len(theirs_now) == 2
    assert not any(name.startswith("trueline.") for s in theirs_now for name in s.attributes or ())


def test_contrib_that_the_application_switched_on_stays_on(
    switch_on: Callable[..., Any],
    contrib: Callable[[], SQLAlchemyInstrumentor],
    instrumentor: TruelineInstrumentor,
) -> None:
    theirs = contrib()
    switch_on(spans="contrib")
    instrumentor.uninstrument()
    assert theirs.is_instrumented_by_opentelemetry


def test_contrib_that_we_switched_on_goes_off_again(
    switch_on: Callable[..., Any], instrumentor: TruelineInstrumentor
) -> None:
    switch_on(spans="contrib")
    assert SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry
    instrumentor.uninstrument()
    assert not SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry


def test_adopted_spans_end_at_their_true_time_and_async_ones_are_not_doubled(
    switch_on: Callable[..., Any],
    contrib: Callable[[], SQLAlchemyInstrumentor],
    recorder: Recorder,
    tmp_path: Path,
) -> None:
    """Contrib traces an async engine's statements twice; one of the two spans never ends."""
    contrib()
    switch_on()
    times: list[int] = []

    async def work() -> None:
        engine = sqlalchemy.ext.asyncio.create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/a.db")
        async with engine.begin() as connection:
            times.append(time.time_ns())
            await connection.execute(text("CREATE TABLE t (user_id TEXT)"))
            times.append(time.time_ns())
            await asyncio.sleep(0.3)
        await engine.dispose()

    asyncio.run(work())
    spans: list[ReadableSpan] = [
        s for s in recorder.spans() if s.attributes and semconv.STATEMENT_KIND in s.attributes
    ]
    (span,) = spans
    before, after = times
    assert before <= (span.start_time or 0) <= (span.end_time or 0) <= after
    assert (span.attributes or {})[semconv.TRANSACTION_OUTCOME] == "committed"


def test_a_failed_statement_of_contribs_is_adopted_once(
    switch_on: Callable[..., Any],
    contrib: Callable[[], SQLAlchemyInstrumentor],
    recorder: Recorder,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    contrib()
    switch_on()
    engine = engine_at(tmp_path / "a.db")
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(sqlalchemy.exc.OperationalError),
        engine.begin() as c,
    ):
        c.execute(text("INSERT INTO nowhere VALUES ('canary-4711')"))
    assert "ended span" not in caplog.text  # SDK: calling end() on an ended span
    (span,) = [s for s in recorder.spans() if s.attributes and semconv.STATEMENT_KIND in s.attributes]
    assert span.status.status_code.name == "ERROR"
    assert "canary-4711" not in span.to_json()
