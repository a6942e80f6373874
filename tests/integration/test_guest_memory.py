"""Nothing of the application is kept, and nothing grows: memory, threads, listeners, wrapped classes."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import Engine, NullPool, create_engine, event, insert, select, text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.event import registry
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import Pool
from support.matrix import Base, Expense
from support.recorder import Recorder

from trueline.instrumentation import (
    ai_call,
    bind_identity,
    dialects,
    guard,
    instrument,
    lifecycle,
    listeners,
    setup,
    uninstrument,
)

pytestmark = pytest.mark.sqlalchemy_rest

#: (what the default run does, what the nightly run does)
TIMES = pytest.mark.parametrize("times", [60, pytest.param(1000, marks=pytest.mark.nightly)])


class Parameter(str):
    """A value the application passes; unlike str it can be referred to weakly."""


class ApplicationError(Exception):
    """The application's own."""


@pytest.fixture
def held(record: Callable[..., Recorder]) -> Recorder:
    """Spans stay held for long: what they keep alive is what is looked for."""
    return record(hold=600)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    Base.metadata.create_all(engine)
    return engine


def alive(references: list[weakref.ref[Any]]) -> list[Any]:
    gc.collect()
    return [reference() for reference in references if reference() is not None]


# -- nothing of the application is kept alive ------------------------------------------------------------


def test_sessions_results_parameters_and_errors_go_while_their_spans_are_held(
    held: Recorder, engine: Engine
) -> None:
    assert setup._installed is not None
    assert setup._installed.log_watch is not None
    logger = logging.getLogger("guest.memory")
    logger.propagate = False  # the handlers of pytest keep every record
    logger.addHandler(setup._installed.log_watch.handler)
    keeper = engine.connect()  # its transaction stays open: its spans stay held
    keeper.execute(insert(Expense).values(user_id="kept"))

    def request(message: str) -> list[weakref.ref[Any]]:
        value = Parameter(message)
        references: list[weakref.ref[Any]] = [weakref.ref(value)]
        with bind_identity("7", entry="request"), Session(keeper) as session:
            expense = Expense(user_id="7", message=value)
            session.add(expense)
            session.flush()
            result = session.execute(select(Expense).where(Expense.message == value))
            references += [weakref.ref(one) for one in (session, expense, result, session.get_transaction())]
            result.all()
            try:
                with ai_call("chat"):
                    raise ApplicationError(value)
            except ApplicationError as error:
                references.append(weakref.ref(error))
                logger.warning("failed %s", value, exc_info=True)
            nested = session.begin_nested()
            try:
                session.add(Expense(user_id="7", message=value))
                session.flush()
            except IntegrityError as error:
                references += [weakref.ref(error), weakref.ref(error.orig)]
            nested.rollback()
        return references

    request("warm")  # SQLAlchemy's own cache of compiled statements keeps the values of their first use
    references = request("once")
    assert setup._installed.runtime.holder._held, "nothing is held, so nothing is shown"
    # The adapter of sqlite3 keeps the parameters of a connection's last statements: run others.
    for number in range(3):
        keeper.execute(text(f"SELECT {number}"))
    assert alive(references) == []
    keeper.close()


def test_a_connection_and_an_engine_go_while_their_spans_are_held(held: Recorder, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/a.db", poolclass=NullPool)
    Base.metadata.create_all(engine)
    connection = engine.connect()
    connection.execute(insert(Expense).values(user_id="7"))
    parts = (engine, connection, engine.dialect, engine.pool, connection.connection)
    references = [weakref.ref(part) for part in parts]
    connection.rollback()
    connection.close()
    engine.dispose()
    del engine, connection, parts
    assert alive(references) == []
    assert held.writes() == [("rolled_back", "explicit")]


def test_an_exception_that_leaves_an_async_transaction_goes(held: Recorder, tmp_path: Path) -> None:
    async def work() -> weakref.ref[ApplicationError]:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/a.db")
        error = ApplicationError()
        try:
            async with engine.begin() as connection:
                await connection.execute(text("CREATE TABLE t (x INTEGER)"))
                raise error
        except ApplicationError:
            return weakref.ref(error)
        finally:
            await engine.dispose()
            del error

    assert alive([asyncio.run(work())]) == []


# -- nothing grows ---------------------------------------------------------------------------------------


def grown(before: dict[str, int]) -> dict[str, int]:
    """What there is more of; threads of earlier tests may have ended, one of ours may be about to."""
    deadline = time.monotonic() + 30
    while True:
        more = {name: count for name, count in counted().items() if count > before[name]}
        if not more or time.monotonic() > deadline:
            return more
        time.sleep(0.05)


def counted() -> dict[str, int]:
    """What could pile up in this process."""
    gc.collect()
    return {
        "threads": threading.active_count(),
        "handlers": len(logging.getLogger().handlers),
        "wrapped methods": len(dialects._wrapped),
        "forkable": len(lifecycle._forkable),
        "last things": len(lifecycle._last_things) + len(lifecycle._flushes),
        "listeners": len(registry._key_to_collection),
        "dialect classes changed": sum(
            "trueline" in getattr(method, "__module__", "") or hasattr(method, "__wrapped__")
            for name, method in vars(DefaultDialect).items()
            if name.startswith("do_")
        ),
    }


@TIMES
def test_switching_on_and_off_again_and_again_leaves_nothing(times: int, engine: Engine) -> None:
    def once() -> None:
        instrument(
            tracer_provider=TracerProvider(shutdown_on_exit=False),
            logger_provider=LoggerProvider(shutdown_on_exit=False),
        )
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        uninstrument()

    once()
    before = counted()
    assert before["wrapped methods"] == before["dialect classes changed"] == 0
    for _ in range(times):
        once()
    assert grown(before) == {}
    assert not any(event.contains(target, name, function) for target, name, function in listeners._LISTENERS)
    assert not guard.internal_errors


@TIMES
def test_engines_come_and_go(times: int, recorder: Recorder, tmp_path: Path) -> None:
    def once(number: int) -> list[weakref.ref[Any]]:
        engine = create_engine(f"sqlite:///{tmp_path}/{number % 7}.db")
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS t (x INTEGER)"))
        engine.dispose()
        return [weakref.ref(engine), weakref.ref(engine.dialect), weakref.ref(engine.pool)]

    once(0)
    before = counted()
    references = [reference for number in range(times) for reference in once(number)]
    assert alive(references) == []
    assert grown(before) == {}


@TIMES
def test_sessions_threads_and_tasks_come_and_go(times: int, recorder: Recorder, engine: Engine) -> None:
    def once(number: int) -> None:
        with Session(engine) as session:
            session.add(Expense(user_id=str(number)))
            session.commit() if number % 2 else session.rollback()

    def in_threads(count: int) -> None:
        threads = [threading.Thread(target=once, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    async def in_tasks(count: int) -> None:
        asynchronous = create_async_engine(f"sqlite+aiosqlite:///{engine.url.database}")

        async def task(number: int) -> None:
            async with asynchronous.connect() as connection:
                await connection.execute(select(Expense.user_id).where(Expense.user_id == str(number)))

        for start in range(0, count, 50):
            await asyncio.gather(*(task(number) for number in range(start, start + 50)))
        await asynchronous.dispose()

    once(0)
    before = counted()
    for number in range(times):
        once(number)
    in_threads(min(times, 100) // 4)
    asyncio.run(in_tasks(times))
    recorder.spans()
    assert len(listeners._session_states) == len(listeners._session_numbers) == 0, "sessions are remembered"
    assert grown(before) == {}


def test_statements_leave_no_memory_behind(recorder: Recorder, engine: Engine) -> None:
    """Six times as many statements take no more memory: what is kept does not depend on their number."""
    ours = str(Path(guard.__file__).parent)

    messages = itertools.count()

    def statements(count: int) -> int:
        for number in range(count):
            with Session(engine) as session, bind_identity(number % 20, entry="request"):
                session.add(Expense(user_id=str(number % 20), message=str(next(messages))))
                session.commit()
                session.scalars(select(Expense.id).where(Expense.user_id == str(number % 20)).limit(5)).all()
            if number % 50 == 0:
                recorder.clear()
        recorder.clear()
        gc.collect()
        snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, f"{ours}/*")])
        return sum(trace.size for trace in snapshot.traces)

    tracemalloc.start()
    try:
        statements(100)  # caches fill: plans, the last identities
        few = statements(100)
        many = statements(600)
    finally:
        tracemalloc.stop()
    assert many - few < 20_000, f"{few} bytes, then {many}"


def test_listeners_of_the_classes_are_ours_once(recorder: Recorder) -> None:
    instrument()
    listeners.listen()
    dialects.wrap_dialects()
    for target, name, function in listeners._LISTENERS:
        assert len(registry._key_to_collection[(id(target), name, id(function))]) == 1
    assert len({(kind, name) for kind, name, *_ in dialects._wrapped}) == len(dialects._wrapped)
    assert Pool in {target for target, *_ in listeners._LISTENERS}
