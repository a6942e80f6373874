"""How transactions end on every async driver and both span sources."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError, SAWarning
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from support.matrix import Expense
from support.recorder import Recorder

from trueline.instrumentation import ai_call, bind_identity, semconv

pytestmark = pytest.mark.sqlalchemy_matrix

COMMITTED = ("committed", None)


def run(async_engine: AsyncEngine, body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        try:
            await body()
        finally:
            await async_engine.dispose()

    asyncio.run(main())


async def stored(async_engine: AsyncEngine) -> int:
    async with async_engine.connect() as connection:
        result = await connection.execute(select(func.count()).select_from(Expense))
        return result.scalar_one()


def test_commit(async_engine: AsyncEngine, source: Recorder) -> None:
    async def body() -> None:
        async with AsyncSession(async_engine) as session:
            session.add(Expense(user_id="7"))
            await session.commit()
        assert await stored(async_engine) == 1

    run(async_engine, body)
    assert source.writes() == [COMMITTED]


def test_session_closed_without_commit(async_engine: AsyncEngine, source: Recorder) -> None:
    async def body() -> None:
        async with AsyncSession(async_engine) as session:
            session.add(Expense(user_id="7"))
            await session.flush()

    run(async_engine, body)
    assert source.writes() == [("rolled_back", "not_committed")]


def test_connection_closed_without_commit(async_engine: AsyncEngine, source: Recorder) -> None:
    async def body() -> None:
        async with async_engine.connect() as connection:
            await connection.execute(insert(Expense).values(user_id="7"))

    run(async_engine, body)
    assert source.writes() == [("rolled_back", "not_committed")]


def test_explicit_rollback(async_engine: AsyncEngine, source: Recorder) -> None:
    async def body() -> None:
        async with AsyncSession(async_engine) as session:
            session.add(Expense(user_id="7"))
            await session.flush()
            await session.rollback()

    run(async_engine, body)
    assert source.writes() == [("rolled_back", "explicit")]


@pytest.mark.parametrize("style", ["session", "session.begin", "maker.begin", "engine.begin"])
def test_exception_leaves_the_block(async_engine: AsyncEngine, source: Recorder, style: str) -> None:
    async def body() -> None:
        with pytest.raises(ValueError, match="no"):
            if style == "session":
                async with AsyncSession(async_engine) as session:
                    session.add(Expense(user_id="7"))
                    await session.flush()
                    raise ValueError("no")
            elif style == "session.begin":
                async with AsyncSession(async_engine) as session, session.begin():
                    session.add(Expense(user_id="7"))
                    await session.flush()
                    raise ValueError("no")
            elif style == "maker.begin":
                async with async_sessionmaker(async_engine).begin() as session:
                    session.add(Expense(user_id="7"))
                    await session.flush()
                    raise ValueError("no")
            else:
                async with async_engine.begin() as connection:
                    await connection.execute(insert(Expense).values(user_id="7"))
                    raise ValueError("no")

    run(async_engine, body)
    assert source.writes() == [("rolled_back", "exception")]
    (transaction,) = source.transactions()
    assert transaction[semconv.TRANSACTION_ERROR_TYPE] == "ValueError"


def test_rollback_in_an_except_block(async_engine: AsyncEngine, source: Recorder) -> None:
    async def body() -> None:
        async with AsyncSession(async_engine) as session:
            try:
                session.add(Expense(user_id="7"))
                await session.flush()
                raise KeyError
            except KeyError:
                await session.rollback()

    run(async_engine, body)
    assert source.writes() == [("rolled_back", "exception")]


def test_rollback_caused_by_an_ai_call(async_engine: AsyncEngine, source: Recorder) -> None:
    async def body() -> None:
        with pytest.raises(TimeoutError):
            async with AsyncSession(async_engine) as session, session.begin():
                session.add(Expense(user_id="7"))
                await session.flush()
                async with ai_call("chat", model="small"):
                    await asyncio.sleep(0)
                    raise TimeoutError

    run(async_engine, body)
    (transaction,) = source.transactions()
    assert transaction[semconv.TRANSACTION_ERROR_FROM_AI] is True
    assert transaction[semconv.TRANSACTION_AI_ERRORS] == 1


def test_ai_calls_of_another_task_do_not_count(async_engine: AsyncEngine, source: Recorder) -> None:
    async def elsewhere() -> None:
        async with ai_call("chat"):
            await asyncio.sleep(0.05)

    async def body() -> None:
        other = asyncio.create_task(elsewhere())
        async with AsyncSession(async_engine) as session, session.begin():
            session.add(Expense(user_id="7"))
            await session.flush()
            await other

    run(async_engine, body)
    (transaction,) = source.transactions()
    assert transaction[semconv.TRANSACTION_AI_CALLS] == 0


def test_savepoint(async_engine: AsyncEngine, source: Recorder) -> None:
    async def body() -> None:
        async with AsyncSession(async_engine) as session:
            session.add(Expense(user_id="1"))
            await session.flush()
            with pytest.raises(ValueError, match="undo"):
                async with session.begin_nested():
                    session.add(Expense(user_id="2"))
                    await session.flush()
                    raise ValueError("undo")
            await session.commit()
        assert await stored(async_engine) == 1

    run(async_engine, body)
    assert source.writes() == [COMMITTED, ("rolled_back", "savepoint")]


def test_commit_of_a_transaction_that_the_server_aborted(async_engine: AsyncEngine, source: Recorder) -> None:
    async def body() -> None:
        async with async_engine.begin() as connection:
            await connection.execute(insert(Expense).values(user_id="7", message="once"))
        source.clear()
        async with async_engine.connect() as connection:
            await connection.execute(insert(Expense).values(user_id="7"))
            with pytest.raises(IntegrityError):
                await connection.execute(insert(Expense).values(user_id="7", message="once"))
            await connection.commit()

    run(async_engine, body)
    aborts = async_engine.dialect.name == "postgresql"
    assert source.writes()[0] == (("rolled_back", "commit_of_aborted") if aborts else COMMITTED)


def test_autocommit(async_engine: AsyncEngine, source: Recorder) -> None:
    async def body() -> None:
        engine = async_engine.execution_options(isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(insert(Expense).values(user_id="7"))
        assert await stored(async_engine) == 1

    run(async_engine, body)
    assert source.writes() == [COMMITTED]


def test_cancelled_task(async_engine: AsyncEngine, source: Recorder) -> None:
    async def hold() -> None:
        async with AsyncSession(async_engine) as session:
            session.add(Expense(user_id="7"))
            await session.flush()
            await asyncio.sleep(30)

    async def body() -> None:
        task = asyncio.create_task(hold())
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(async_engine, body)
    assert source.writes() == [("rolled_back", "abandoned")]


def test_connection_dropped_by_the_garbage_collector(async_engine: AsyncEngine, source: Recorder) -> None:
    async def body() -> None:
        connection = await async_engine.connect()
        await connection.execute(insert(Expense).values(user_id="7"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)
            del connection
            gc.collect()
            await asyncio.sleep(0.05)

    run(async_engine, body)
    assert source.writes() == [("rolled_back", "abandoned")]


def test_one_trace_and_one_entry_without_a_framework(async_engine: AsyncEngine, source: Recorder) -> None:
    @bind_identity(lambda user: user, entry="handle message")
    async def handle(user: str) -> None:
        async with AsyncSession(async_engine) as session, session.begin():
            session.add(Expense(user_id=user))
            await session.flush()
            async with ai_call("chat"):
                await asyncio.sleep(0)

    async def body() -> None:
        await handle("7")

    run(async_engine, body)
    spans = [span for span in source.spans() if span.name != "connect"]
    assert len({span.context.trace_id for span in spans if span.context}) == 1
    (write,) = source.statements("write")
    assert write[semconv.ENTRY_NAME] == "handle message"
    assert write[semconv.IDENTITY_BOUND] == (f"user:{write[semconv.IDENTITY_VALUES][0]}",)
