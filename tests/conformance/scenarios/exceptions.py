"""Exceptions that leave a block: each kind of block, each kind of exception, and the AI call as the cause."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from conformance.application import App
from conformance.model import COMMITTED, EXCEPTION, EXPLICIT, NOT_COMMITTED, scenario
from conformance.observation import Seen, expect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from trueline.instrumentation import ai_call, semconv


def caused_by(*chain: str, ai: bool = False) -> Callable[[Seen], None]:
    """A check that the transaction span names the exception and its causes."""

    def check(seen: Seen) -> None:
        transaction = seen.transaction()
        found = transaction.get(semconv.TRANSACTION_ERROR_CHAIN)
        expect(found == chain, f"the cause is {found}, not {chain}")
        expect(transaction[semconv.TRANSACTION_ERROR_TYPE] == chain[0], "error type")
        expect(transaction[semconv.TRANSACTION_ERROR_FROM_AI] is ai, "whether an AI call failed")

    return check


BY_VALUE_ERROR = caused_by("ValueError")


@scenario(
    "An exception leaves `engine.begin()`.", a=EXCEPTION, also=BY_VALUE_ERROR, handling="cause_of_a_rollback"
)
async def exception_leaves_engine_begin(app: App) -> None:
    with pytest.raises(ValueError, match="no"):
        async with app.engine.begin() as connection:
            await connection.execute(app.insert("a"))
            raise ValueError("no")


@scenario(
    "An exception leaves `engine.connect()`.",
    a=EXCEPTION,
    also=BY_VALUE_ERROR,
    handling="cause_of_a_rollback",
)
async def exception_leaves_engine_connect(app: App) -> None:
    with pytest.raises(ValueError, match="no"):
        async with app.engine.connect() as connection:
            await connection.execute(app.insert("a"))
            raise ValueError("no")


@scenario(
    "An exception leaves `connection.begin()`.",
    a=EXCEPTION,
    also=BY_VALUE_ERROR,
    handling="cause_of_a_rollback",
)
async def exception_leaves_connection_begin(app: App) -> None:
    async with app.engine.connect() as connection:
        with pytest.raises(ValueError, match="no"):
            async with connection.begin():
                await connection.execute(app.insert("a"))
                raise ValueError("no")


@scenario(
    "An exception leaves the session's block.",
    a=EXCEPTION,
    also=BY_VALUE_ERROR,
    handling="cause_of_a_rollback",
)
async def exception_leaves_session(app: App) -> None:
    with pytest.raises(ValueError, match="no"):
        async with app.session() as session:
            session.add(app.row("a"))
            await session.flush()
            raise ValueError("no")


@scenario(
    "An exception leaves `session.begin()`.", a=EXCEPTION, also=BY_VALUE_ERROR, handling="cause_of_a_rollback"
)
async def exception_leaves_session_begin(app: App) -> None:
    async with app.session() as session:
        with pytest.raises(ValueError, match="no"):
            async with session.begin():
                session.add(app.row("a"))
                await session.flush()
                raise ValueError("no")


@scenario(
    "An exception leaves `sessionmaker.begin()`.",
    a=EXCEPTION,
    also=BY_VALUE_ERROR,
    handling="cause_of_a_rollback",
)
async def exception_leaves_sessionmaker_begin(app: App) -> None:
    with pytest.raises(ValueError, match="no"):
        async with app.sessionmaker().begin() as session:
            session.add(app.row("a"))
            await session.flush()
            raise ValueError("no")


@scenario(
    "`session.close()` in a `finally` while an exception passes.",
    a=EXCEPTION,
    also=BY_VALUE_ERROR,
    handling="cause_of_a_rollback",
)
async def exception_passes_a_finally(app: App) -> None:
    with pytest.raises(ValueError, match="no"):
        session = app.session()
        try:
            session.add(app.row("a"))
            await session.flush()
            raise ValueError("no")
        finally:
            await session.close()


@scenario(
    "An exception leaves an application's own block, which rolls back, closes and raises it again.",
    a=EXCEPTION,
    also=BY_VALUE_ERROR,
    handling="cause_of_a_rollback",
)
async def exception_leaves_a_unit_of_work(app: App) -> None:
    async def unit_of_work() -> AsyncIterator[AsyncSession]:
        session = app.session()
        try:
            yield session
            await session.commit()
        except BaseException:
            await session.rollback()
            raise
        finally:
            await session.close()

    with pytest.raises(ValueError, match="no"):
        async with app.block(unit_of_work) as session:
            session.add(app.row("a"))
            await session.flush()
            raise ValueError("no")


@scenario(
    "A generator that holds a session block is closed before it is done (GeneratorExit).",
    a=NOT_COMMITTED,
    handling="generator_exit_is_no_error",
)
async def generator_with_a_session_is_closed(app: App) -> None:
    async def rows() -> AsyncIterator[int]:
        async with app.session() as session, session.begin():
            session.add(app.row("a"))
            await session.flush()
            yield 1
            yield 2

    generator = rows()
    async for _ in generator:
        break
    await app.close_generator(generator)


@scenario("The same with `engine.begin()`.", a=NOT_COMMITTED, handling="generator_exit_is_no_error")
async def generator_with_a_connection_is_closed(app: App) -> None:
    async def rows() -> AsyncIterator[int]:
        async with app.engine.begin() as connection:
            await connection.execute(app.insert("a"))
            yield 1
            yield 2

    generator = rows()
    async for _ in generator:
        break
    await app.close_generator(generator)


@scenario(
    "KeyboardInterrupt leaves the block.",
    a=EXCEPTION,
    also=caused_by("KeyboardInterrupt"),
    needs="sync",
    handling="cause_of_a_rollback",
)
async def keyboard_interrupt(app: App) -> None:
    with pytest.raises(KeyboardInterrupt):
        async with app.session() as session, session.begin():
            session.add(app.row("a"))
            await session.flush()
            raise KeyboardInterrupt


@scenario(
    "SystemExit leaves the block.", a=EXCEPTION, also=caused_by("SystemExit"), handling="cause_of_a_rollback"
)
async def system_exit(app: App) -> None:
    with pytest.raises(SystemExit):
        async with app.engine.begin() as connection:
            await connection.execute(app.insert("a"))
            raise SystemExit(3)


@scenario(
    "A statement fails and its exception leaves the block.",
    first=COMMITTED,
    a=EXCEPTION,
    failed=EXCEPTION,
    handling="cause_of_a_rollback",
)
async def statement_error_leaves_the_block(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("first", note=app.note()))
    with pytest.raises(IntegrityError):
        async with app.engine.begin() as connection:
            await connection.execute(app.insert("a"))
            await connection.execute(app.insert("failed", note=app.note()))


@scenario(
    "An AI call fails; another exception, raised from its own, leaves the block.",
    a=EXCEPTION,
    also=caused_by("RuntimeError", "TimeoutError", ai=True),
    handling="ai_failures_are_remembered",
)
async def ai_error_is_the_cause(app: App) -> None:
    with pytest.raises(RuntimeError):
        async with app.session() as session, session.begin():
            session.add(app.row("a"))
            await session.flush()
            try:
                async with ai_call("chat", model="small"):
                    raise TimeoutError
            except TimeoutError as error:
                raise RuntimeError("no answer") from error


@scenario(
    "An AI call fails and is handled; later another exception leaves the block.",
    a=EXCEPTION,
    also=caused_by("KeyError"),
    handling="cause_of_a_rollback",
)
async def ai_error_is_not_the_cause(app: App) -> None:
    with pytest.raises(KeyError):
        async with app.session() as session, session.begin():
            session.add(app.row("a"))
            await session.flush()
            try:
                async with ai_call("chat"):
                    raise TimeoutError
            except TimeoutError:
                pass
            raise KeyError


@scenario(
    "An exception was handled before; `rollback()` comes later, on purpose.",
    a=EXPLICIT,
    handling="session_rollback_is_explicit",
)
async def handled_exception_is_not_the_cause(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("a"))
        await session.flush()
        try:
            raise KeyError
        except KeyError:
            pass
        await session.rollback()


@scenario(
    "An exception leaves the block, but the application had committed before.",
    a=COMMITTED,
    b=EXCEPTION,
    handling="cause_of_a_rollback",
)
async def exception_after_a_commit(app: App) -> None:
    with pytest.raises(ValueError, match="no"):
        async with app.session() as session:
            session.add(app.row("a"))
            await session.commit()
            session.add(app.row("b"))
            await session.flush()
            raise ValueError("no")
