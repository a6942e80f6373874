"""Results that are fetched while the transaction goes on."""

from __future__ import annotations

import contextlib

import pytest
from conformance.application import App
from conformance.model import (
    ABANDONED,
    COMMIT_OF_ABORTED,
    COMMITTED,
    EXCEPTION,
    EXPLICIT,
    NOT_COMMITTED,
    scenario,
)
from conformance.tables import Payment
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError


@scenario(
    "A streamed result is read to its end, a write follows, commit.",
    a=COMMITTED,
    b=COMMITTED,
    handling="commit_watched",
)
async def streamed(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        result = await app.stream(
            connection, select(Payment.id).where(Payment.user_id.like(f"{app.prefix}%"))
        )
        async for _ in result:
            pass
        await connection.execute(app.insert("b"))
        await connection.commit()


@scenario(
    "A streamed result is left half-read, and the connection closed without a commit.",
    a=NOT_COMMITTED,
    handling="closing_is_not_committing",
)
async def streamed_partly(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await app.stream(connection, select(Payment.id))


@scenario("A streamed result is left half-read, then commit.", a=COMMITTED, handling="commit_watched")
async def streamed_partly_then_commit(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        result = await app.stream(connection, text("SELECT 1 UNION SELECT 2 UNION SELECT 3"))
        async for _ in result:
            break
        await result.close()
        await connection.commit()


@scenario(
    "An ORM session reads with `yield_per`, changes what it reads, commits.",
    a=COMMITTED,
    b=COMMITTED,
    handling="commit_watched",
)
async def yield_per(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("a"))
        await session.flush()
        rows = await app.stream_scalars(
            session, select(Payment).where(Payment.user_id.like(f"{app.prefix}%"))
        )
        async for payment in rows:
            payment.note = app.note("changed")
        session.add(app.row("b"))
        await session.commit()


@scenario(
    "The server fails while rows are fetched, the application swallows it and commits.",
    a=COMMIT_OF_ABORTED,
    needs="server_cursors",
    handling="errors_while_fetching",
)
async def error_while_fetching(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        with pytest.raises(Exception, match="zero"):
            result = await app.stream(
                connection, text("SELECT 1 / (500 - n) FROM generate_series(1, 1000) AS n")
            )
            async for _ in result:
                pass
        await connection.commit()


@scenario(
    "The server fails while rows are fetched, and the exception leaves the block.",
    a=EXCEPTION,
    needs="server_cursors",
    handling="cause_of_a_rollback",
)
async def error_while_fetching_leaves_the_block(app: App) -> None:
    with pytest.raises(Exception, match="zero"):
        async with app.engine.begin() as connection:
            await connection.execute(app.insert("a"))
            result = await app.stream(
                connection, text("SELECT 1 / (500 - n) FROM generate_series(1, 1000) AS n")
            )
            async for _ in result:
                pass


@scenario(
    "INSERT ... RETURNING whose rows nobody fetches, rolled back.", a=EXPLICIT, handling="rollback_watched"
)
async def unread_returning(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a").returning(Payment.id))
        await connection.rollback()


@scenario(
    "A connection is invalidated while rows are fetched; fetching fails, and the connection stays as it is.",
    a=ABANDONED,
    needs="sync",
    handling="lost_connections",
)
async def invalidated_while_fetching(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        result = await app.stream(connection, text("SELECT 1 UNION SELECT 2 UNION SELECT 3"))
        await connection.invalidate()
        with contextlib.suppress(DBAPIError):
            async for _ in result:
                pass
        assert connection.invalidated
