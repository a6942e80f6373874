"""The same in asyncio: counts of AI calls by task, one trace and one entry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
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
