"""Others on the same engine and driver: Sentry, OpenTelemetry's for drivers, the application's own hooks.

What they see with Trueline is what they see without it, whoever came first, and no span of ours is doubled.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
import sqlalchemy
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
from sentry_sdk.integrations.sqlalchemy import SqlalchemyIntegration
from sentry_sdk.transport import Transport
from sqlalchemy import create_engine, create_mock_engine, event, text
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, make_transient
from support.matrix import Base, Expense
from support.postgres import Postgres
from support.recorder import Recorder

from trueline.instrumentation import instrument, semconv, uninstrument

pytestmark = pytest.mark.sqlalchemy_rest

STATEMENTS = ("CREATE TABLE t (x INTEGER)", "INSERT INTO t VALUES (1)", "SELECT x FROM t")


def use(url: Any) -> None:
    """A committed transaction, an error, a rollback."""
    # Looked up on the module: instrumentations replace what is there.
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        for statement in STATEMENTS:
            connection.execute(text(statement)).close()
    with pytest.raises(sqlalchemy.exc.DBAPIError), engine.begin() as connection:
        connection.execute(text("SELECT * FROM nowhere"))
    engine.dispose()


async def use_async(url: Any) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for statement in STATEMENTS:
            await connection.execute(text(statement))
    await engine.dispose()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """An application's provider; Trueline is not on yet."""
    yield Recorder()
    uninstrument()


def switch_on(recorder: Recorder) -> None:
    instrument(tracer_provider=recorder.provider, logger_provider=recorder.loggers, logs=False, hold=30)


def ours(recorder: Recorder) -> list[Any]:
    return [
        span for span in recorder.spans() if span.attributes and semconv.STATEMENT_KIND in span.attributes
    ]


# -- Sentry -----------------------------------------------------------------------------------------------


class Captured(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.items += [item.payload.json for item in envelope.items]


@pytest.fixture
def sentry() -> Iterator[Callable[[], Captured]]:
    def on() -> Captured:
        transport = Captured()
        sentry_sdk.init(
            dsn="http://public@127.0.0.1:9/1",
            transport=transport,
            traces_sample_rate=1.0,
            default_integrations=False,
            integrations=[SqlalchemyIntegration()],
        )
        return transport

    yield on
    sentry_sdk.init()


def seen_by(transport: Captured, path: Path) -> list[Any]:
    """Spans and breadcrumbs of one request with Sentry."""
    with sentry_sdk.isolation_scope(), sentry_sdk.start_transaction(name="request"):
        use(f"sqlite:///{path}")
        sentry_sdk.capture_message("look at the breadcrumbs")
    sentry_sdk.flush()
    seen: list[Any] = []
    for item in transport.items:
        spans = [(span["op"], span["description"], span.get("status")) for span in item.get("spans", ())]
        crumbs = [crumb["message"] for crumb in item.get("breadcrumbs", {}).get("values", ())]
        seen.append((item.get("transaction"), spans, crumbs))
    transport.items.clear()
    return seen


@pytest.mark.parametrize("first", ["sentry", "trueline"])
def test_sentry_sees_the_same(
    first: str, sentry: Callable[[], Captured], recorder: Recorder, tmp_path: Path
) -> None:
    if first == "trueline":
        switch_on(recorder)
    transport = sentry()
    uninstrument()
    without = seen_by(transport, tmp_path / "a.db")
    if first == "sentry":
        switch_on(recorder)
    else:
        switch_on(recorder)
        transport = sentry()
    assert seen_by(transport, tmp_path / "b.db") == without
    assert sum(len(spans) for _, spans, _ in without) >= 4
    assert Counter(span.attributes[semconv.DB_OPERATION_NAME] for span in ours(recorder)) == {
        "CREATE": 1,
        "INSERT": 1,
        "SELECT": 2,
    }


# -- OpenTelemetry's instrumentations of drivers ----------------------------------------------------------


DRIVERS: dict[str, Any] = {
    "pysqlite": SQLite3Instrumentor,
    "psycopg": PsycopgInstrumentor,
    "psycopg2": Psycopg2Instrumentor,
    "asyncpg": AsyncPGInstrumentor,
}


@pytest.mark.parametrize("first", ["driver", "trueline"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_driver_spans_stay_as_they_were_and_none_of_ours_is_doubled(
    driver: str, first: str, recorder: Recorder, request: pytest.FixtureRequest
) -> None:
    tracer = recorder.provider.get_tracer("application")
    theirs = DRIVERS[driver]()

    def request_spans(number: int) -> list[tuple[str, str | None]]:
        """(name, parent's name) of the driver's spans."""
        postgres: Postgres | None = None if driver == "pysqlite" else request.getfixturevalue("postgres")
        url = "sqlite://" if postgres is None else postgres.url(driver)
        with tracer.start_as_current_span("request"):
            if driver == "asyncpg":
                asyncio.run(use_async(url))
            else:
                use(url)
        if postgres is not None:
            engine = create_engine(postgres.url("psycopg"))
            with engine.begin() as connection:
                connection.execute(text("DROP TABLE IF EXISTS t"))
            engine.dispose()
        spans = recorder.spans()
        names = {span.context.span_id: span.name for span in spans if span.context}
        found = [
            (span.name, names.get(span.parent.span_id) if span.parent else None)
            for span in spans
            if span.instrumentation_scope and driver.removeprefix("py") in span.instrumentation_scope.name
        ]
        return [pair for pair in found if "probe" not in pair[0] and pair[1] == "request"]

    try:
        if first == "driver":
            theirs.instrument(tracer_provider=recorder.provider, skip_dep_check=True)
            without = request_spans(1)
            recorder.clear()
            switch_on(recorder)
        else:
            switch_on(recorder)
            theirs.instrument(tracer_provider=recorder.provider, skip_dep_check=True)
            uninstrument()
            without = request_spans(1)
            recorder.clear()
            switch_on(recorder)
        with_it = request_spans(2)
    finally:
        theirs.uninstrument()
    assert without, "the driver's instrumentation saw nothing: the test shows nothing"
    # The probe of a fresh connection is a statement of the driver's, too.
    extra = Counter(with_it) - Counter(without)
    assert Counter(without) - Counter(with_it) == Counter()
    assert sum(extra.values()) <= 4, extra
    operations = Counter(
        span.attributes[semconv.DB_OPERATION_NAME]
        for span in ours(recorder)
        if span.attributes.get(semconv.STATEMENT_TABLES) == ("t",)
    )
    assert {operations[name] for name in ("CREATE", "INSERT", "SELECT")} == {1}


# -- the application's own objects and listeners ----------------------------------------------------------


def test_listeners_of_every_kind_keep_working(recorder: Recorder, tmp_path: Path) -> None:
    switch_on(recorder)
    calls: list[str] = []
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")

    def named(**arguments: Any) -> None:
        calls.append(f"named {sorted(arguments)[:2]}")

    def rewriting(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> Any:
        calls.append("rewriting")
        return statement.replace("SELECT 1", "SELECT 2"), parameters

    def on_pool(dbapi_connection: Any, record: Any) -> None:
        calls.append("connected")

    event.listen(engine, "after_cursor_execute", named, named=True)
    event.listen(engine, "before_cursor_execute", rewriting, retval=True)
    event.listen(engine, "connect", on_pool, once=True)
    option = engine.execution_options(name="option")
    event.listen(Session, "after_flush", lambda *_: calls.append("flushed"), propagate=True, once=True)
    with option.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 2
    assert calls == ["connected", "rewriting", "named ['conn', 'context']"]
    assert event.contains(engine, "before_cursor_execute", rewriting)
    event.remove(engine, "before_cursor_execute", rewriting)
    assert not event.contains(engine, "before_cursor_execute", rewriting)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        expense = Expense(user_id="7")
        session.add(expense)
        session.flush()
        session.expunge(expense)
        make_transient(expense)
        assert calls[-1] == "flushed"


def test_dialects_look_and_behave_as_before(recorder: Recorder, tmp_path: Path) -> None:
    names = [name for name in dir(DefaultDialect) if name.startswith("do_")]
    before = {name: (inspect.signature(getattr(DefaultDialect, name)), name) for name in names}
    plain = create_engine(f"sqlite:///{tmp_path}/a.db")
    with plain.connect() as connection:
        connection.execute(text("SELECT 1"))
    keys = set(vars(plain.dialect))
    switch_on(recorder)
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    assert set(vars(engine.dialect)) == keys, "nothing is put on the dialect"
    after = {
        name: (inspect.signature(getattr(DefaultDialect, name)), getattr(DefaultDialect, name).__name__)
        for name in names
    }
    assert after == before
    twin = copy.copy(engine.dialect)
    assert twin.do_commit.__func__ is engine.dialect.do_commit.__func__  # type: ignore[attr-defined]
    assert type(engine.dialect) is SQLiteDialect_pysqlite
    assert pickle.loads(pickle.dumps(engine.url)) == engine.url


class OwnDialect(SQLiteDialect_pysqlite):
    """The application's: overrides what is watched, and calls up."""

    supports_statement_cache = True
    calls: list[str]

    def do_execute(self, cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
        type(self).calls.append("execute")
        super().do_execute(cursor, statement, parameters, context=context)  # type: ignore[no-untyped-call]

    def do_commit(self, dbapi_connection: Any) -> None:
        type(self).calls.append("commit")
        super().do_commit(dbapi_connection)  # type: ignore[no-untyped-call]


def test_a_dialect_of_the_applications_own(recorder: Recorder, tmp_path: Path) -> None:
    from sqlalchemy.dialects import registry

    OwnDialect.calls = []
    registry.impls["sqlite.own"] = lambda: OwnDialect
    switch_on(recorder)
    engine = create_engine(f"sqlite+own:///{tmp_path}/a.db")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
    assert [call for call in OwnDialect.calls if call == "commit"]
    assert len([call for call in OwnDialect.calls if call == "execute"]) >= 2
    assert recorder.writes() == [("committed", None)], "seen once though both methods are watched"


def test_a_mock_engine_is_left_alone(recorder: Recorder) -> None:
    switch_on(recorder)
    made: list[str] = []
    engine = create_mock_engine("sqlite://", lambda sql, *_, **__: made.append(str(sql)))
    Base.metadata.create_all(engine, checkfirst=False)
    assert any("expenses" in sql for sql in made)
    assert ours(recorder) == []


def test_objects_are_pickled_as_before(recorder: Recorder, tmp_path: Path) -> None:
    def use_and_pickle() -> list[Any]:
        engine = create_engine(f"sqlite:///{tmp_path}/a.db")
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            expense = Expense(user_id="7")
            session.add(expense)
            session.commit()
            session.refresh(expense)
            rows = session.execute(text("SELECT user_id FROM expenses")).all()
            # Engines and dialects hold what cannot be pickled, with Trueline and without.
            refused = []
            for one in (engine, engine.dialect, session):
                try:
                    pickle.dumps(one)
                except Exception as error:
                    refused.append(type(error))
            return [pickle.loads(pickle.dumps(expense)).user_id, pickle.dumps(rows[:1]), refused]

    without = use_and_pickle()
    switch_on(recorder)
    assert use_and_pickle() == without
    assert isinstance(Engine, type)
