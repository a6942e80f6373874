"""Transactions whose holder goes away: collected, invalidated, detached."""

from __future__ import annotations

import gc

from conformance.application import App
from conformance.model import ABANDONED, COMMITTED, EXPLICIT, NOT_COMMITTED, scenario
from sqlalchemy import NullPool


@scenario(
    "A connection is garbage-collected, nobody closed it.",
    a=ABANDONED,
    handling="pool_finds_open_transactions",
)
async def connection_collected(app: App) -> None:
    connection = await app.engine.connect()
    await connection.execute(app.insert("a"))
    del connection
    gc.collect()
    await app.breathe()


@scenario(
    "The same, and the pooled connection is used again.",
    a=ABANDONED,
    b=COMMITTED,
    handling="pool_finds_open_transactions",
)
async def connection_collected_then_used(app: App) -> None:
    connection = await app.engine.connect()
    await connection.execute(app.insert("a"))
    del connection
    gc.collect()
    await app.breathe()
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("b"))


@scenario(
    "An ORM session is garbage-collected, nobody closed it.",
    a=ABANDONED,
    handling="pool_finds_open_transactions",
)
async def session_collected(app: App) -> None:
    session = app.session()
    session.add(app.row("a"))
    await session.flush()
    del session
    gc.collect()
    await app.breathe()


@scenario(
    "A connection of a NullPool is garbage-collected.", a=ABANDONED, handling="pool_finds_open_transactions"
)
async def unpooled_connection_collected(app: App) -> None:
    connection = await app.make_engine(poolclass=NullPool).connect()
    await connection.execute(app.insert("a"))
    del connection
    gc.collect()
    await app.breathe()


@scenario("`connection.invalidate()`.", a=ABANDONED, handling="lost_connections")
async def connection_invalidated(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await connection.invalidate()
        await connection.rollback()


@scenario(
    "`connection.invalidate()`, then the same object connects again and commits.",
    a=ABANDONED,
    b=COMMITTED,
    handling="lost_connections",
)
async def connection_invalidated_then_used(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await connection.invalidate()
        await connection.rollback()
        await connection.execute(app.insert("b"))
        await connection.commit()


@scenario("`session.invalidate()`.", a=ABANDONED, handling="lost_connections")
async def session_invalidated(app: App) -> None:
    session = app.session()
    session.add(app.row("a"))
    await session.flush()
    await session.invalidate()


@scenario(
    "A connection is detached from its pool and commits.",
    a=COMMITTED,
    handling="commit_watched",
    needs="sync",
)
async def detached_connection_commits(app: App) -> None:
    async with app.engine.connect() as connection:
        connection.detach()  # type: ignore[attr-defined]
        await connection.execute(app.insert("a"))
        await connection.commit()


@scenario(
    "A connection is detached from its pool in the middle of a transaction, and rolled back.",
    a=EXPLICIT,
    handling="rollback_watched",
    needs="sync",
)
async def detached_connection_rolls_back(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        connection.detach()  # type: ignore[attr-defined]
        await connection.rollback()


@scenario(
    "A detached connection is closed, nobody committed.",
    a=NOT_COMMITTED,
    handling="detached_connections",
    needs="sync",
)
async def detached_connection_closed(app: App) -> None:
    async with app.engine.connect() as connection:
        connection.detach()  # type: ignore[attr-defined]
        await connection.execute(app.insert("a"))
