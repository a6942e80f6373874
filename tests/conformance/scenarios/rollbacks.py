"""Rollbacks that the application asks for, and transactions that it closes without saying."""

from __future__ import annotations

import contextlib

import pytest
from conformance.application import App
from conformance.model import COMMITTED, EXCEPTION, EXPLICIT, NEVER_SENT, NOT_COMMITTED, scenario
from conformance.tables import Payment
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError, PendingRollbackError


@scenario("`connection.rollback()`.", a=EXPLICIT, handling="rollback_watched")
async def core_rollback(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await connection.rollback()


@scenario("`transaction.rollback()` inside `engine.connect()`.", a=EXPLICIT, handling="rollback_watched")
async def transaction_rollback(app: App) -> None:
    async with app.engine.connect() as connection:
        transaction = await connection.begin()
        await connection.execute(app.insert("a"))
        await transaction.rollback()


@scenario("`session.rollback()`.", a=EXPLICIT, handling="session_rollback_is_explicit")
async def session_rollback(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("a"))
        await session.flush()
        await session.rollback()


@scenario(
    "`session.rollback()`, then the same session commits something else.",
    a=EXPLICIT,
    b=COMMITTED,
    transactions=2,
    handling="session_rollback_is_explicit",
)
async def session_rollback_then_commit(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("a"))
        await session.flush()
        await session.rollback()
        session.add(app.row("b"))
        await session.commit()


@scenario("`rollback()` of a connection in an `except` block.", a=EXCEPTION, handling="cause_of_a_rollback")
async def core_rollback_in_except(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        try:
            raise KeyError
        except KeyError:
            await connection.rollback()


@scenario("`session.rollback()` in an `except` block.", a=EXCEPTION, handling="cause_of_a_rollback")
async def session_rollback_in_except(app: App) -> None:
    async with app.session() as session:
        try:
            session.add(app.row("a"))
            await session.flush()
            raise KeyError
        except KeyError:
            await session.rollback()


@scenario("A connection is closed, nobody committed.", a=NOT_COMMITTED, handling="closing_is_not_committing")
async def connection_closed(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))


@scenario(
    "`connection.close()`, nobody committed, and the connection is used again by others.",
    a=NOT_COMMITTED,
    b=COMMITTED,
    handling="closing_is_not_committing",
)
async def connection_closed_by_a_call(app: App) -> None:
    connection = await app.engine.connect()
    await connection.execute(app.insert("a"))
    await connection.close()
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("b"))


@scenario(
    "An ORM session is closed after a flush, nobody committed.",
    a=NOT_COMMITTED,
    handling="sessions_own_transactions",
)
async def session_closed(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("a"))
        await session.flush()


@scenario(
    "`session.close()` in a `finally`, nobody committed.",
    a=NOT_COMMITTED,
    handling="sessions_own_transactions",
)
async def session_closed_by_a_call(app: App) -> None:
    session = app.session()
    try:
        session.add(app.row("a"))
        await session.flush()
    finally:
        await session.close()


@scenario("`session.reset()`, nobody committed.", a=NOT_COMMITTED, handling="sessions_own_transactions")
async def session_reset(app: App) -> None:
    session = app.session()
    session.add(app.row("a"))
    await session.flush()
    await session.reset()


@scenario(
    "A session with an engine for each class is closed, nobody committed.",
    a=NOT_COMMITTED,
    handling="sessions_own_transactions",
)
async def bound_session_closed(app: App) -> None:
    async with app.session(None, binds={Payment: app.engine}) as session:
        session.add(app.row("a"))
        await session.flush()


@scenario(
    "Objects are added to a session and never flushed.",
    a=NEVER_SENT,
    transactions=0,
    unproved="nothing reaches the database: there is nothing to handle",
)
async def session_never_flushed(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("a"))


@scenario(
    "Everything was read, nothing written.", transactions=0, handling="readers_have_no_transaction_span"
)
async def read_only(app: App) -> None:
    async with app.session() as session:
        await session.execute(select(func.count()).select_from(Payment))
        await session.commit()
        await session.execute(select(func.count()).select_from(Payment))
        await session.rollback()
        await session.execute(select(func.count()).select_from(Payment))


@scenario(
    "A flush fails, then `session.rollback()`.",
    first=COMMITTED,
    a=EXCEPTION,
    failed=EXCEPTION,
    handling="cause_of_a_rollback",
)
async def flush_error_then_rollback(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("first", note=app.note()))
        await session.commit()
        session.add(app.row("a"))
        await session.flush()
        session.add(app.row("failed", note=app.note()))
        with pytest.raises(IntegrityError):
            await session.flush()
        await session.rollback()


@scenario(
    "A flush fails and is swallowed, then the session is closed.",
    first=COMMITTED,
    a=EXCEPTION,
    failed=EXCEPTION,
    handling="cause_of_a_rollback",
)
async def flush_error_then_close(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("first", note=app.note()))
        await session.commit()
        session.add(app.row("a"))
        await session.flush()
        session.add(app.row("failed", note=app.note()))
        with contextlib.suppress(IntegrityError):
            await session.flush()


@scenario(
    "A flush fails and is swallowed, then `session.commit()` raises PendingRollbackError.",
    first=COMMITTED,
    a=EXCEPTION,
    failed=EXCEPTION,
    after=NEVER_SENT,
    handling="cause_of_a_rollback",
)
async def pending_rollback(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("first", note=app.note()))
        await session.commit()
        session.add(app.row("a"))
        await session.flush()
        session.add(app.row("failed", note=app.note()))
        with contextlib.suppress(IntegrityError):
            await session.flush()
        with pytest.raises(PendingRollbackError):
            await session.execute(app.insert("after"))
        with pytest.raises(PendingRollbackError):
            await session.commit()
