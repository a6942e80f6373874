"""What is held stays small, however long transactions last and however many there are."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Iterator

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Connection
from sqlalchemy.pool import NullPool, SingletonThreadPool

from trueline.instrumentation import guard, holder, instrument, setup, uninstrument
from trueline.instrumentation.holder import Holder
from trueline.instrumentation.transaction import MAX_LEFT

pytestmark = pytest.mark.sqlalchemy_rest


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Holder]:
    """Trueline with spans that go nowhere, holding for longer than any test lasts."""
    monkeypatch.setattr(guard, "raise_internal_errors", True)
    instrument(tracer_provider=TracerProvider(), logger_provider=LoggerProvider(), logs=False, hold=60)
    assert setup._installed is not None
    yield setup._installed.runtime.holder
    uninstrument()


def insert(connection: Connection, count: int) -> None:
    statement = text("INSERT INTO t (user_id) VALUES (:user)")
    for _ in range(count):
        connection.execute(statement, {"user": "7"})


@pytest.mark.parametrize("in_savepoint", [False, True], ids=["plain", "savepoint"])
def test_a_transaction_of_many_statements(held: Holder, in_savepoint: bool) -> None:
    engine = create_engine("sqlite://", poolclass=SingletonThreadPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (user_id TEXT)"))
        if in_savepoint:
            connection.begin_nested()
        insert(connection, MAX_LEFT + 1000)
        (transaction,) = held._held.values()
        held._drain()
        gc.collect()
        tracemalloc.start()
        insert(connection, 6000)
        held._drain()
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(transaction.held) <= holder.MAX_HELD
        assert len(transaction.left) <= (MAX_LEFT if in_savepoint else 0)
        # 6000 records would be several megabytes. What is held differs by up to half of its bound.
        assert grown < 1_500_000 * (1 + 2 * in_savepoint), grown
    engine.dispose()


def test_many_transactions_at_once(held: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "MAX_HELD_TOTAL", 200)
    engine = create_engine("sqlite://", poolclass=NullPool)
    connections = [engine.connect() for _ in range(30)]
    for connection in connections:
        connection.execute(text("CREATE TABLE t (user_id TEXT)"))
        insert(connection, 20)
    held.work()
    for connection in connections:
        insert(connection, 40)
    total = sum(len(transaction.held) for transaction in held._held.values())
    assert total <= 200 + 30 * 16, total
    for connection in connections:
        connection.rollback()
        connection.close()
    held.flush()
    assert not held._held


def test_switching_on_and_off_leaves_no_thread_and_no_callback_behind() -> None:
    from trueline.instrumentation import lifecycle

    def counts() -> list[int]:
        gc.collect()
        threads = [thread for thread in threading.enumerate() if thread.name == "trueline"]
        things = (lifecycle._last_things, lifecycle._flushes, list(lifecycle._forkable), threads)
        return [len(each) for each in things]

    def cycles(count: int) -> list[int]:
        for _ in range(count):
            instrument(tracer_provider=TracerProvider(), logger_provider=LoggerProvider(), logs=False)
            with create_engine("sqlite://").connect() as connection:
                connection.execute(text("SELECT 1"))
            uninstrument()
        for thread in threading.enumerate():
            if thread.name == "trueline":
                thread.join(30)
        return counts()

    # The last one may still be in some cache.
    assert cycles(20) == cycles(1)
