"""asyncio: tasks that are cancelled, from outside, by a time limit and by a task group."""

from __future__ import annotations

import asyncio

import pytest
from conformance.application import App
from conformance.model import ABANDONED, COMMITTED, scenario


@scenario(
    "A task is cancelled in the middle of a session block.",
    a=ABANDONED,
    needs="async",
    handling="cancellation_is_abandonment",
)
async def task_cancelled(app: App) -> None:
    flushed = asyncio.Event()

    async def work() -> None:
        async with app.session() as session:
            session.add(app.row("a"))
            await session.flush()
            flushed.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(work())
    await flushed.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@scenario(
    "A task is cancelled in the middle of `engine.begin()`.",
    a=ABANDONED,
    needs="async",
    handling="cancellation_is_abandonment",
)
async def task_cancelled_in_engine_begin(app: App) -> None:
    written = asyncio.Event()

    async def work() -> None:
        async with app.engine.begin() as connection:
            await connection.execute(app.insert("a"))
            written.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(work())
    await written.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@scenario(
    "`asyncio.timeout()` runs out inside a transaction.",
    a=ABANDONED,
    needs="async",
    handling="cancellation_is_abandonment",
)
async def time_limit(app: App) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as limit:
            async with app.session() as session, session.begin():
                session.add(app.row("a"))
                await session.flush()
                limit.reschedule(0)
                await asyncio.sleep(3600)


@scenario(
    "`asyncio.wait_for()` runs out while a transaction waits.",
    a=ABANDONED,
    needs="async",
    handling="cancellation_is_abandonment",
)
async def wait_for(app: App) -> None:
    session = app.session()
    async with session:
        session.add(app.row("a"))
        await session.flush()

        async def work() -> None:
            try:
                await asyncio.sleep(3600)
            finally:
                await session.close()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(work(), 0.01)


@scenario(
    "Another task of a TaskGroup fails, so that this one is cancelled.",
    a=ABANDONED,
    b=COMMITTED,
    needs="async",
    handling="cancellation_is_abandonment",
)
async def task_group(app: App) -> None:
    flushed = asyncio.Event()

    async def work() -> None:
        async with app.session() as session, session.begin():
            session.add(app.row("a"))
            await session.flush()
            flushed.set()
            await asyncio.sleep(3600)

    async def fail() -> None:
        await flushed.wait()
        raise KeyError

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            group.create_task(fail())
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("b"))


@scenario(
    "A task is cancelled while the server works on a statement.",
    a=ABANDONED,
    needs="async sessions",
    handling="lost_or_cancelled",
)
async def cancelled_during_a_statement(app: App) -> None:
    written = asyncio.Event()

    async def work() -> None:
        async with app.engine.begin() as connection:
            await connection.execute(app.insert("a"))
            written.set()
            await connection.exec_driver_sql("SELECT pg_sleep(600)")

    task = asyncio.create_task(work())
    await written.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
