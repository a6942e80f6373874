"""The kit leaves the process as it was, sends nothing, and stands beside an application's own telemetry."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from opentelemetry import trace
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once
from sqlalchemy import Engine, insert
from sqlalchemy.orm import Session
from support.matrix import Base, Expense
from support.recorder import Recorder

from trueline.instrumentation import (
    ConfigurationError,
    IdentityConfig,
    ai_call,
    ambient,
    instrument,
    runtime,
)
from trueline.instrumentation.testing import TelemetryWarning, recorded
from trueline.instrumentation.testing.providers import own_loggers, own_tracers

pytestmark = pytest.mark.sqlalchemy_rest


@pytest.fixture(autouse=True)
def no_provider_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a fresh process; other tests of this one may have set a global provider."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/application.db")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def add(engine: Engine, user: str = "12345") -> None:
    with Session(engine) as session, session.begin():
        session.add(Expense(user_id=user))


def process_state(engine: Engine) -> dict[str, Any]:
    return {
        "tracers": trace._TRACER_PROVIDER,
        "settable": not trace._TRACER_PROVIDER_SET_ONCE._done,
        "span processors": own_tracers()._active_span_processor._span_processors,
        "log processors": own_loggers()._multi_log_record_processor._log_record_processors,
        "log handlers": list(logging.getLogger().handlers),
        "ambient": [getattr(ambient, name) for name in vars(ambient) if name.startswith(("now", "new"))],
        "runtime": runtime.current(),
        "environment": dict(os.environ),
        "listeners": [
            len(getattr(target.dispatch, name)._clslevel.get(target, ()))
            for target, name in (
                (Engine, "before_cursor_execute"),
                (Session, "after_begin"),
                (Session, "after_commit"),
                (Session, "after_rollback"),
                (Session, "after_transaction_end"),
            )
        ],
        "dialect": [name for name in vars(engine.dialect) if name.startswith("do_")],
    }


@pytest.mark.parametrize("error", [None, TimeoutError, KeyboardInterrupt])
def test_the_process_is_left_as_it_was(
    engine: Engine, error: type[BaseException] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("TRUELINE_HASH_SECRET", "the application's")
    before = process_state(engine)
    with nullcontext() if error is None else pytest.raises(error), recorded():
        during = process_state(engine)
        add(engine)
        if error is not None:
            raise error

    assert all(during[name] != before[name] for name in ("tracers", "ambient", "runtime", "listeners"))
    assert process_state(engine) == before


def test_nothing_is_sent_and_nothing_switches_it_off(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        receiver = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name, value in {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver,
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_SDK_DISABLED": "true",
            "OTEL_TRACES_SAMPLER": "always_off",
            "TRUELINE_DISABLED": "1",
            "TRUELINE_HOLD": "nonsense",
            "TRUELINE_LOGS": "0",
            "TRUELINE_SAMPLE": "0",
        }.items():
            monkeypatch.setenv(name, value)
        with recorded() as telemetry:
            add(engine)
            with ai_call("chat"):
                logging.getLogger("application").error("no answer")
        with pytest.raises(BlockingIOError):
            server.accept()

    telemetry.assert_committed("expenses", identity="12345", times=1)
    assert [call.operation for call in telemetry.ai_calls] == ["chat"]
    assert [log.body for log in telemetry.logs] == ["no answer"]


def test_recordings_one_after_the_other_and_inside_each_other(engine: Engine) -> None:
    with recorded() as first:
        add(engine, "1")
    add(engine, "unrecorded")
    with recorded() as second:
        add(engine, "2")
        with recorded() as inner:
            add(engine, "3")
        add(engine, "4")

    def users(telemetry: Any) -> list[str]:
        candidates = ("1", "2", "3", "4", "unrecorded")
        return [user for user in candidates if telemetry.find(identity=user, kind="write")]

    assert (users(first), users(inner), users(second)) == (["1"], ["3"], ["2", "3", "4"])


def test_recordings_that_overlap(engine: Engine) -> None:
    one, other = recorded(), recorded()
    first = one.__enter__()
    add(engine, "1")
    second = other.__enter__()
    add(engine, "2")
    one.__exit__(None, None, None)
    add(engine, "3")
    other.__exit__(None, None, None)

    assert runtime.current() is None
    assert len(first.writes) == 2
    assert len(second.writes) == 2


def test_an_application_that_is_instrumented_goes_on_as_it_was(
    record: Callable[..., Recorder], engine: Engine
) -> None:
    application = record(identities=IdentityConfig(columns={"message": "message"}))
    clock = ambient.now_ns
    add(engine, "before")
    with recorded() as telemetry:
        assert ambient.now_ns is clock
        add(engine, "12345")
        with engine.connect() as connection:
            connection.execute(insert(Expense).values(user_id="2", message="m-2"))
            with ai_call("chat"):
                pass
            connection.rollback()
        logging.getLogger("application").error("no answer")
    add(engine, "after")

    assert [write.outcome for write in telemetry.writes] == ["committed", "rolled_back"]
    assert len(telemetry.find(column="message", identity="m-2")) == 1
    assert [len(transaction.ai_calls) for transaction in telemetry.transactions] == [0, 1]
    assert [log.body for log in telemetry.logs] == ["no answer"]
    assert application.writes() == [
        ("committed", None),
        ("committed", None),
        ("rolled_back", "explicit"),
        ("committed", None),
    ]
    assert len(application.log_exporter.get_finished_logs()) == 2


def test_an_application_that_samples_is_warned_of(record: Callable[..., Recorder]) -> None:
    record(sample=0.01)
    with pytest.warns(TelemetryWarning, match="what it leaves out is not recorded"), recorded():
        pass


def test_identities_that_come_too_late(record: Callable[..., Recorder]) -> None:
    record()
    with (
        pytest.raises(ConfigurationError, match="Trueline is on already"),
        recorded(identities=IdentityConfig()),
    ):
        raise AssertionError("not reached")
    with recorded():
        pass


def test_a_provider_that_cannot_be_listened_in_on(record: Callable[..., Recorder], engine: Engine) -> None:
    instrument(tracer_provider=trace.NoOpTracerProvider(), logger_provider=own_loggers())
    before = process_state(engine)
    with pytest.raises(RuntimeError, match=r"NoOpTracerProvider.*nothing to listen in on"):
        recorded().__enter__()
    assert process_state(engine) == before


def test_identities_inside_another_recording() -> None:
    with recorded(), pytest.raises(ConfigurationError, match="give them to the outer one"):
        recorded(identities=IdentityConfig()).__enter__()


@pytest.fixture
def application_provider(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """A global provider of the application's, that sends somewhere."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


def test_an_application_with_a_provider_but_without_trueline(
    engine: Engine, application_provider: InMemorySpanExporter
) -> None:
    tracer = trace.get_tracer("framework")
    with (
        recorded() as telemetry,
        tracer.start_as_current_span("POST /expenses"),
        tracer.start_as_current_span("store"),
        engine.begin() as connection,
    ):
        connection.execute(insert(Expense).values(user_id="12345"))
        with tracer.start_as_current_span("chat", attributes={"gen_ai.operation.name": "chat"}):
            pass

    assert [entry.name for entry in telemetry.entries] == ["POST /expenses"]
    assert [statement.entry for statement in telemetry.statements] == ["POST /expenses"]
    assert telemetry.ai_calls[0].inside == telemetry.transactions
    # Its own spans went where it sends them, and none of ours.
    assert [span.name for span in application_provider.get_finished_spans()] == [
        "chat",
        "store",
        "POST /expenses",
    ]
    provider: Any = trace.get_tracer_provider()
    assert len(provider._active_span_processor._span_processors) == 1


def test_contribs_instrumentation_of_the_application(
    tmp_path: Path, application_provider: InMemorySpanExporter
) -> None:
    """Its spans of statements are adopted, recorded once, and leave by the application's provider as ever."""
    contrib = SQLAlchemyInstrumentor()
    contrib.instrument(skip_dep_check=True)
    try:
        engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/contrib.db")
        Base.metadata.create_all(engine)
        application_provider.clear()
        with recorded() as telemetry:
            add(engine)
            (write,) = telemetry.assert_committed("expenses", identity="12345", times=1)
        engine.dispose()
    finally:
        contrib.uninstrument()

    assert telemetry.writes == [write]
    assert write.span.name.startswith("INSERT /")  # contrib's name
    sent = [span.name for span in application_provider.get_finished_spans()]
    assert sorted(sent) == [write.span.name, "connect"]
    assert telemetry.entries == []


def test_a_tracer_kept_from_a_recording_leads_to_the_application_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert trace._TRACER_PROVIDER is None
    tracer = trace.get_tracer("library")
    with recorded() as first, tracer.start_as_current_span("one"):
        pass
    with tracer.start_as_current_span("between") as span:
        assert not span.is_recording()
    with recorded() as second, tracer.start_as_current_span("two"):
        pass

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with tracer.start_as_current_span("three"):
        pass

    assert [entry.name for entry in first.entries] == ["one"]
    assert [entry.name for entry in second.entries] == ["two"]
    assert [span.name for span in exporter.get_finished_spans()] == ["three"]


def test_a_provider_set_while_recording_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = TracerProvider()
    with recorded() as telemetry:
        assert trace._TRACER_PROVIDER is not None
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
        with pytest.warns(TelemetryWarning, match="import the application before"):
            assert telemetry.entries == []
    assert trace.get_tracer_provider() is provider


def run(script: str, **environment: str) -> str:
    """Run in a process of its own: global providers can be set once in each."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_an_application_that_sends_by_default_is_recorded_too() -> None:
    """As most applications are: instrument() at import, with Trueline's own providers and exporters."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    out = run(
        """
        from trueline.instrumentation import ai_call, instrument
        instrument(service_name="web")

        from sqlalchemy import create_engine, text
        engine = create_engine("sqlite://")
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE expenses (user_id TEXT)"))

        from trueline.instrumentation.testing import recorded
        with recorded() as telemetry, engine.begin() as connection:
            connection.execute(text("INSERT INTO expenses (user_id) VALUES (:u)"), {"u": "12345"})
            assert [write.outcome for write in telemetry.writes] == ["open"]
            with ai_call("chat"):
                pass
        telemetry.assert_committed("expenses", identity="12345", times=1)
        assert telemetry.transactions[0].ai_calls
        print(telemetry.spans[0].resource.attributes["service.name"])
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
    )
    assert out == "web\n"


def test_importing_the_kit_is_light_and_needs_no_pytest() -> None:
    out = run(
        """
        import sys
        import sqlalchemy.orm
        import trueline.instrumentation
        before = set(sys.modules)
        import trueline.instrumentation.testing
        new = {name for name in set(sys.modules) - before if not name.startswith("trueline.")}
        heavy = {"pytest", "_pytest", "fastapi", "httpx", "chdb"} & set(sys.modules)
        print(sorted(heavy), len(new) < 20, sorted(new) if len(new) >= 20 else "")
        """
    )
    assert out == "[] True \n"


def test_many_recordings_leave_nothing_behind(engine: Engine) -> None:
    import gc
    import threading

    from trueline.instrumentation.holder import Holder
    from trueline.instrumentation.testing.collector import Collector

    for _ in range(30):
        with recorded():
            add(engine)
    engine.dispose()
    gc.collect()

    alive = [thing for thing in gc.get_objects() if isinstance(thing, Collector | Holder)]
    # A connection of the last recording may keep its holder until it connects anew.
    assert len(alive) <= 3, alive
    deadline = 10.0
    threads = [thread for thread in threading.enumerate() if thread.name == "trueline"]
    for thread in threads:
        thread.join(deadline)
    assert not [thread for thread in threading.enumerate() if thread.name == "trueline"]
