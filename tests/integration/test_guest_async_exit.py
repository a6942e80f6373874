"""The wrappers around the exits of SQLAlchemy's async blocks: they pass everything on and keep nothing."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import weakref
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    AsyncSessionTransaction,
    AsyncTransaction,
    create_async_engine,
)
from support.recorder import Recorder

pytestmark = pytest.mark.sqlalchemy_matrix

WRITE = text("INSERT INTO t (x) VALUES (1)")


class RefusedError(Exception):
    """The application's own."""


async def prepared(path: Path) -> AsyncEngine:
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE t (x INTEGER)"))
    return engine


def test_a_task_started_while_a_block_is_left_neither_keeps_the_exception_nor_takes_it_for_its_own(
    recorder: Recorder, tmp_path: Path
) -> None:
    async def work() -> None:
        engine = await prepared(tmp_path / "a.db")
        left = asyncio.Event()

        async def long_after() -> None:
            await left.wait()
            async with engine.connect() as connection:
                await connection.execute(WRITE)
                await connection.rollback()

        tasks: list[asyncio.Task[None]] = []
        listening = [True]

        @event.listens_for(engine.sync_engine, "rollback")
        def rolled_back(connection: Any) -> None:
            if listening:
                listening.clear()
                tasks.append(asyncio.get_running_loop().create_task(long_after()))

        async def refused() -> weakref.ref[RefusedError]:
            error = RefusedError()
            try:
                async with AsyncSession(engine) as session, session.begin():
                    await session.execute(WRITE)
                    raise error
            except RefusedError:
                return weakref.ref(error)
            finally:
                del error

        reference = await refused()
        assert tasks
        gc.collect()
        assert reference() is None, gc.get_referrers(reference())
        left.set()
        await tasks[0]
        await engine.dispose()

    asyncio.run(work())
    assert recorder.writes() == [("rolled_back", "exception"), ("rolled_back", "explicit")]


def test_an_exit_whose_steps_run_in_different_contexts_raises_nothing(
    recorder: Recorder, tmp_path: Path
) -> None:
    """As with a generator that is finished by another task than the one that began it."""

    async def work() -> None:
        engine = await prepared(tmp_path / "a.db")
        session = AsyncSession(engine)
        await session.execute(WRITE)
        leaving = session.rollback()
        steps = 0
        while True:
            try:
                awaited: Any = contextvars.copy_context().run(leaving.send, None)
            except StopIteration:
                break
            steps += 1
            awaited._asyncio_future_blocking = False
            await asyncio.wait({awaited})
        assert steps
        await engine.dispose()

    asyncio.run(work())
    assert recorder.writes() == [("rolled_back", "explicit")]


@pytest.mark.parametrize("owner", [AsyncConnection, AsyncSession, AsyncSessionTransaction, AsyncTransaction])
@pytest.mark.parametrize("name", ["__aexit__", "close", "rollback"])
def test_the_methods_look_like_sqlalchemys_own(owner: type, name: str, request: Any) -> None:
    if not hasattr(owner, name):
        pytest.skip(f"{owner.__name__} has no {name}")
    own = getattr(owner, name)
    before = (inspect.signature(own), inspect.iscoroutinefunction(own), own.__doc__, own.__qualname__)
    request.getfixturevalue("recorder")
    watched = getattr(owner, name)
    assert (
        inspect.signature(watched),
        inspect.iscoroutinefunction(watched),
        watched.__doc__,
        watched.__qualname__,
    ) == before
