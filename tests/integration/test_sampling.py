"""Sampling by identity over a real database: who is kept, and what is kept of everybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from sqlalchemy import Engine, create_engine, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from support.matrix import SPAN_SOURCES, Base, Expense
from support.recorder import Recorder

from trueline.instrumentation import ai_call, bind_identity, instrument, semconv

pytestmark = pytest.mark.sqlalchemy_rest

SHARE = 0.2
USERS = [str(number) for number in range(60)]


@pytest.fixture(params=SPAN_SOURCES)
def sampled(request: pytest.FixtureRequest, record: Callable[..., Recorder]) -> Recorder:
    return record(logs=False, spans=request.param, sample=SHARE)


@pytest.fixture
def store(tmp_path: object, sampled: Recorder) -> Iterator[Engine]:
    import sqlalchemy

    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/a.db")
    Base.metadata.create_all(engine)
    with engine.connect() as connection:
        connection.execute(select(Expense.id)).all()
    sampled.clear()
    yield engine
    engine.dispose()


def users_of(recorder: Recorder, kind: str) -> list[str]:
    return [value for s in recorder.statements(kind) for value in s[semconv.IDENTITY_VALUES]]


def test_writers_and_readers_of_an_identity_are_kept_together(store: Engine, sampled: Recorder) -> None:
    for user in USERS:
        with store.begin() as connection:
            connection.execute(insert(Expense).values(user_id=user))
        with store.connect() as connection:
            connection.execute(select(Expense.id).where(Expense.user_id == user)).all()
    written, read = users_of(sampled, "write"), users_of(sampled, "read")
    assert written == read
    assert 0 < len(written) < len(USERS) / 2
    assert {s[semconv.SAMPLE_RATIO] for s in sampled.statements()} == {SHARE}
    assert len(sampled.transactions()) >= len(written)


def test_statements_by_primary_key_follow_the_bound_identity(store: Engine, sampled: Recorder) -> None:
    for user in USERS:
        with bind_identity(user), store.begin() as connection:
            connection.execute(insert(Expense).values(user_id=user))
            connection.execute(select(Expense.message).where(Expense.id == 1)).all()
    assert len(sampled.statements("read")) == len(sampled.statements("write")) > 0


def test_what_did_not_commit_is_kept_of_everybody(store: Engine, sampled: Recorder) -> None:
    for user in USERS:
        with Session(store) as session:
            session.add(Expense(user_id=user))
            session.flush()
    assert sampled.writes() == [("rolled_back", "not_committed")] * len(USERS)
    assert len(sampled.transactions()) == len(USERS)


def test_violated_constraints_and_ai_errors_are_kept_of_everybody(store: Engine, sampled: Recorder) -> None:
    with store.begin() as connection:
        connection.execute(insert(Expense).values(user_id="x", message="once"))
    sampled.clear()
    for user in USERS[:20]:
        with Session(store) as session:
            session.add(Expense(user_id=user))
            session.flush()
            with pytest.raises(TimeoutError), ai_call("chat"):
                raise TimeoutError
            session.commit()
        with pytest.raises(IntegrityError), store.begin() as connection:
            connection.execute(insert(Expense).values(user_id=user, message="once"))
    assert len(sampled.statements("write")) == 40


def test_the_first_transaction_on_a_database_is_kept(sampled: Recorder, tmp_path: object) -> None:
    for name in ("b", "c"):
        engine = create_engine(f"sqlite:///{tmp_path}/{name}.db")
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
        engine.dispose()
    assert len({s[semconv.DATABASE_FINGERPRINT] for s in sampled.statements()}) == 2


def test_open_writes_stay_with_the_transaction_that_settles_them(
    record: Callable[..., Recorder], tmp_path: object
) -> None:
    recorder = record(logs=False, sample=0.000001, hold=0)
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    Base.metadata.create_all(engine)
    recorder.clear()
    with engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
        connection.execute(select(Expense.id)).all()
        assert recorder.writes() == [("open", None)]
    (transaction,) = recorder.transactions()
    assert transaction[semconv.TRANSACTION_OUTCOME] == "committed"
    engine.dispose()


@pytest.mark.parametrize("follow", [False, True])
def test_the_trace_samplers_no_hides_database_spans_only_if_asked_to(
    record: Callable[..., Recorder], tmp_path: object, follow: bool
) -> None:
    del record  # its clean-up switches off and checks
    memory = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_OFF)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    instrument(
        tracer_provider=provider, logger_provider=LoggerProvider(), logs=False, follow_trace_sampler=follow
    )
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    Base.metadata.create_all(engine)  # the first on this database is always kept
    provider.force_flush()
    memory.clear()
    with (
        trace.use_span(provider.get_tracer("application").start_span("request")),
        engine.begin() as connection,
    ):
        connection.execute(insert(Expense).values(user_id="7"))
    with (
        pytest.raises(ValueError, match="no"),
        trace.use_span(provider.get_tracer("application").start_span("request")),
        engine.begin() as connection,
    ):
        connection.execute(insert(Expense).values(user_id="8"))
        raise ValueError("no")
    provider.force_flush()
    outcomes = [
        (span.attributes or {}).get(semconv.TRANSACTION_OUTCOME)
        for span in memory.get_finished_spans()
        if semconv.STATEMENT_KIND in (span.attributes or {})
    ]
    assert outcomes == (["rolled_back"] if follow else ["committed", "rolled_back"])
    engine.dispose()
