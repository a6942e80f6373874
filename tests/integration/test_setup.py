"""Switching on: options, providers, span sources, the entry point; what is said when it cannot be."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import sqlalchemy
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import text
from support.recorder import Recorder

from trueline.instrumentation import (
    ConfigurationError,
    Domain,
    IdentityConfig,
    bind_identity,
    contrib,
    instrument,
    semconv,
    setup,
)
from trueline.instrumentation.options import is_loopback

pytestmark = pytest.mark.sqlalchemy_matrix


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"spans": "others"}, "TRUELINE_SPANS"),
        ({"process_kind": "demon"}, "TRUELINE_PROCESS_KIND"),
    ],
)
def test_an_impossible_argument_is_named_with_the_way_out(arguments: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        instrument("x", **arguments)  # type: ignore[arg-type]
    assert not setup.is_instrumented()


def test_an_impossible_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUELINE_HOLD", "soon")
    with pytest.raises(ConfigurationError, match=r"TRUELINE_HOLD='soon' is not a number of seconds"):
        instrument("x")


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:4318", True),
        ("http://localhost:4318/v1/traces", True),
        ("http://[::1]:4318", True),
        ("http://127.9.9.9", True),
        ("http://collector:4318", False),
        ("http://10.0.0.1:4318", False),
        ("http://localhost.example.com", False),
        ("", False),
    ],
)
def test_what_counts_as_loopback(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


def test_a_secret_changes_every_hash(
    record: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record_with(secret: str) -> Recorder:
        monkeypatch.setenv("TRUELINE_HASH_SECRET", secret)
        return record(logs=False)

    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/a.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (user_id TEXT)"))
    seen = set()
    for secret in ("", "one", "two"):
        setup.uninstrument()
        recorder = record_with(secret)
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO t (user_id) VALUES ('12345')"))
        (write,) = recorder.statements("write")
        seen.add((write[semconv.HASH_KEY_ID], write[semconv.IDENTITY_VALUES]))
    assert len({key for key, _ in seen}) == len({value for _, value in seen}) == 3


def test_without_a_secret_no_hash_leaves_this_machine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, record: Callable[..., Recorder]
) -> None:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)  # that would try to reach the collector
    provider.add_span_processor(SimpleSpanProcessor(memory))
    away = BatchSpanProcessor(OTLPSpanExporter(endpoint="http://collector.invalid:4318/v1/traces"))
    provider.add_span_processor(away)
    with caplog.at_level(logging.WARNING, logger="trueline"):
        instrument(tracer_provider=provider, logger_provider=LoggerProvider(), logs=False)
    assert "TRUELINE_HASH_SECRET is not set" in caplog.text
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/a.db")
    with bind_identity("12345"), engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (user_id TEXT)"))
        connection.execute(text("INSERT INTO t (user_id) VALUES ('12345')"))
    setup._installed.runtime.holder.flush()  # type: ignore[union-attr]
    (write,) = [s.attributes or {} for s in memory.get_finished_spans() if s.name == "INSERT t"]
    assert write[semconv.IDENTITY_COLUMNS] == ("t.user_id",)
    assert not any(write[semconv.IDENTITY_VALUES])  # type: ignore[arg-type]
    assert not write.get(semconv.IDENTITY_BOUND)
    setup.uninstrument()
    away._batch_processor._exporter.shutdown()  # type: ignore[no-untyped-call]


def test_logs_that_leave_this_machine_count_too(
    tmp_path: Path, record: Callable[..., Recorder], caplog: pytest.LogCaptureFixture
) -> None:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    recorder = Recorder()
    loggers = LoggerProvider(shutdown_on_exit=False)
    away = BatchLogRecordProcessor(OTLPLogExporter(endpoint="http://collector.invalid:4318/v1/logs"))
    loggers.add_log_record_processor(away)
    with caplog.at_level(logging.WARNING, logger="trueline"):
        instrument(tracer_provider=recorder.provider, logger_provider=loggers, logs=False, hold=30)
    assert "TRUELINE_HASH_SECRET is not set and telemetry leaves this machine" in caplog.text
    with bind_identity("12345", entry="job"):
        pass
    (entry,) = recorder.spans()
    assert semconv.IDENTITY_BOUND not in (entry.attributes or {})
    setup.uninstrument()
    away._batch_processor._exporter.shutdown()  # type: ignore[no-untyped-call]


def test_a_plain_domain_stays_readable(record: Callable[..., Recorder], tmp_path: Path) -> None:
    config = IdentityConfig(columns={"drops.drop_number": "drop"}, domains={"drop": Domain(plain=True)})
    recorder = record(logs=False, identities=config)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/a.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE drops (drop_number TEXT)"))
        connection.execute(text("INSERT INTO drops (drop_number) VALUES (:n)"), {"n": "DR1751942"})
    (write,) = recorder.statements("write")
    assert write[semconv.IDENTITY_VALUES] == ("DR1751942",)


def test_contrib_without_greenlet_falls_back_to_own_spans(
    record: Callable[..., Recorder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(contrib, "find_spec", lambda name: None)
    with caplog.at_level(logging.WARNING, logger="trueline"):
        recorder = record(logs=False, spans="contrib")
    assert len([line for line in caplog.messages if "greenlet" in line]) == 1
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/a.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (user_id TEXT)"))
    (span,) = [s for s in recorder.spans() if s.attributes and semconv.STATEMENT_KIND in s.attributes]
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == semconv.SCOPE_NAME


def test_adopted_spans_are_contribs_and_none_is_doubled(
    record: Callable[..., Recorder], tmp_path: Path
) -> None:
    recorder = record(logs=False, spans="contrib")
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/a.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (user_id TEXT)"))
        connection.execute(text("INSERT INTO t VALUES ('12345')"))
    spans = [s for s in recorder.spans() if s.attributes and semconv.STATEMENT_KIND in s.attributes]
    assert len(spans) == 2
    for span in spans:
        assert span.instrumentation_scope is not None
        assert "sqlalchemy" in span.instrumentation_scope.name
        assert "12345" not in span.to_json()


def test_the_entry_point_is_a_plain_instrumentor() -> None:
    (entry_point,) = entry_points(group="opentelemetry_instrumentor", name="trueline_sqlalchemy")
    instrumentor = entry_point.load()()
    instrumentor.instrument(
        tracer_provider=TracerProvider(), logger_provider=LoggerProvider(), logs=False, unknown_to_us=True
    )
    assert setup.is_instrumented()
    instrumentor.uninstrument()
    assert not setup.is_instrumented()


def test_an_old_sqlalchemy_is_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlalchemy, "__version__", "1.4.54")
    with caplog.at_level(logging.ERROR, logger="trueline"):
        instrument("x", logs=False)
    assert not setup.is_instrumented()
    assert "SQLAlchemy 1.4.54 is not supported" in caplog.text


def test_what_is_held_leaves_at_the_end_of_the_process(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter\n"
        "provider = TracerProvider()\n"
        "provider.add_span_processor(BatchSpanProcessor(\n"
        "    ConsoleSpanExporter(out=sys.stdout, formatter=lambda s: s.name + '\\n')))\n"
        "trace.set_tracer_provider(provider)\n"
        "from trueline.instrumentation import instrument\n"
        "instrument('script', logs=False, hold=30)\n"
        "from sqlalchemy import create_engine, text\n"
        "engine = create_engine('sqlite://')\n"
        "connection = engine.connect()\n"
        "connection.execute(text('CREATE TABLE undecided (x INTEGER)'))\n"
        "with create_engine('sqlite://').begin() as c: c.execute(text('CREATE TABLE decided (x INTEGER)'))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={"PATH": "", "OTEL_LOGS_EXPORTER": "none"},
    )
    assert "CREATE undecided" in result.stdout, result.stderr
    assert "CREATE decided" in result.stdout


@pytest.fixture
def future_contrib(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release of contrib that keeps its spans in another place, and ends them all the same."""
    from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer

    original = EngineTracer._before_cur_exec

    def _before_cur_exec(self, conn, cursor, statement, params, context, executemany):  # type: ignore[no-untyped-def]
        result = original(self, conn, cursor, statement, params, context, executemany)  # type: ignore[no-untyped-call]
        span = vars(context).pop("_otel" + "_span", None)
        if span is not None:
            span.end()
        return result

    monkeypatch.setattr(EngineTracer, "_before_cur_exec", _before_cur_exec)


@pytest.mark.usefixtures("future_contrib")
def test_a_release_of_contrib_that_no_longer_fits_falls_back_to_own_spans(
    record: Callable[..., Recorder], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="trueline"):
        recorder = record(logs=False, spans="contrib")
    assert "Trueline's own spans are used" in caplog.text
    with sqlalchemy.create_engine(f"sqlite:///{tmp_path}/a.db").begin() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER)"))
    assert [span.name for span in recorder.spans()] == ["CREATE t", "TRANSACTION a.db"]


@pytest.mark.usefixtures("future_contrib")
def test_double_spans_of_such_a_release_are_said_with_the_way_out(
    record: Callable[..., Recorder], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    SQLAlchemyInstrumentor().instrument(skip_dep_check=True)
    try:
        with caplog.at_level(logging.WARNING, logger="trueline"):
            recorder = record(logs=False)
        assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=sqlalchemy" in caplog.text
        with sqlalchemy.create_engine(f"sqlite:///{tmp_path}/a.db").begin() as connection:
            connection.execute(text("CREATE TABLE t (x INTEGER)"))
        assert len(recorder.statements()) == 1
    finally:
        SQLAlchemyInstrumentor().uninstrument()


def test_contrib_that_was_on_before_stays_on_afterwards(record: Callable[..., Recorder]) -> None:
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    SQLAlchemyInstrumentor().instrument(skip_dep_check=True)
    try:
        record(logs=False, spans="contrib")
        setup.uninstrument()
        assert SQLAlchemyInstrumentor().is_instrumented_by_opentelemetry
    finally:
        SQLAlchemyInstrumentor().uninstrument()


def test_contribs_spans_are_adopted_the_cheap_way(record: Callable[..., Recorder], tmp_path: Path) -> None:
    from trueline.instrumentation.own_spans import OwnSpan

    recorder = record(logs=False, spans="contrib")
    with sqlalchemy.create_engine(f"sqlite:///{tmp_path}/a.db").begin() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER)"))
    (span,) = [s for s in recorder.spans() if s.attributes and semconv.STATEMENT_KIND in s.attributes]
    assert isinstance(span, OwnSpan)
    assert {"db.statement", "db.system"} <= set(span.attributes or ())
    assert (span.end_time or 0) >= (span.start_time or 0)


def test_where_the_sdks_span_has_limits_it_is_ended_itself(
    record: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry.sdk.trace import SpanLimits

    del record  # its clean-up switches off and checks
    memory = InMemorySpanExporter()
    provider = TracerProvider(span_limits=SpanLimits(max_attribute_length=100))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    instrument(tracer_provider=provider, logger_provider=LoggerProvider(), logs=False, spans="contrib")
    with sqlalchemy.create_engine(f"sqlite:///{tmp_path}/a.db").begin() as connection:
        connection.execute(text("CREATE TABLE t (" + ", ".join(f"column_{n} TEXT" for n in range(20)) + ")"))
    provider.force_flush()
    (span,) = [
        s for s in memory.get_finished_spans() if s.attributes and semconv.STATEMENT_KIND in s.attributes
    ]
    assert span.attributes is not None
    assert len(str(span.attributes[semconv.DB_QUERY_TEXT])) == 100
    assert span.attributes[semconv.TRANSACTION_OUTCOME] == "committed"


def test_an_adopted_span_leaves_by_its_own_provider(record: Callable[..., Recorder], tmp_path: Path) -> None:
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    memory = InMemorySpanExporter()
    applications_own = TracerProvider()
    applications_own.add_span_processor(SimpleSpanProcessor(memory))
    SQLAlchemyInstrumentor().instrument(tracer_provider=applications_own, skip_dep_check=True)
    try:
        recorder = record(logs=False)
        with sqlalchemy.create_engine(f"sqlite:///{tmp_path}/a.db").begin() as connection:
            connection.execute(text("CREATE TABLE t (x INTEGER)"))
        assert [span.name for span in recorder.spans()] == ["TRANSACTION a.db"]
    finally:
        SQLAlchemyInstrumentor().uninstrument()
    outcomes = [(s.attributes or {}).get(semconv.TRANSACTION_OUTCOME) for s in memory.get_finished_spans()]
    assert "committed" in outcomes


def test_a_function_that_leads_nowhere_is_said_and_the_rest_goes_on(
    record: Callable[..., Recorder], caplog: pytest.LogCaptureFixture
) -> None:
    config = IdentityConfig(derivations={"clerk": "no_such_package_at_all.ids:to_int"})
    with caplog.at_level(logging.WARNING, "trueline"):
        record(identities=config)
    assert [one.getMessage() for one in caplog.records if "no_such_package" in one.getMessage()] == [
        "trueline: identity function 'no_such_package_at_all.ids:to_int': there is no module "
        "'no_such_package_at_all' on this process's path"
    ]
    assert setup.is_instrumented()
