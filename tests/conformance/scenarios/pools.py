"""Kinds of pools, and what they do when a connection comes back."""

from __future__ import annotations

import gc

from conformance.application import App
from conformance.model import COMMITTED, EXPLICIT, NOT_COMMITTED, scenario
from sqlalchemy import NullPool, StaticPool


@scenario(
    "NullPool: each connection is closed when it is given back.",
    a=COMMITTED,
    b=NOT_COMMITTED,
    c=EXPLICIT,
    handling="closing_is_not_committing",
)
async def null_pool(app: App) -> None:
    engine = app.make_engine(poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.execute(app.insert("a"))
    async with engine.connect() as connection:
        await connection.execute(app.insert("b"))
    async with engine.connect() as connection:
        await connection.execute(app.insert("c"))
        await connection.rollback()


@scenario(
    "StaticPool: one connection for everybody.",
    a=COMMITTED,
    b=NOT_COMMITTED,
    c=EXPLICIT,
    handling="closing_is_not_committing",
)
async def static_pool(app: App) -> None:
    engine = app.make_engine(poolclass=StaticPool)
    async with engine.begin() as connection:
        await connection.execute(app.insert("a"))
    async with engine.connect() as connection:
        await connection.execute(app.insert("b"))
    async with engine.connect() as connection:
        await connection.execute(app.insert("c"))
        await connection.rollback()


@scenario(
    "QueuePool of one connection, with pre-ping.",
    a=COMMITTED,
    b=NOT_COMMITTED,
    c=COMMITTED,
    transactions=3,
    handling="closing_is_not_committing",
)
async def pre_ping(app: App) -> None:
    engine = app.make_engine(pool_size=1, max_overflow=0, pool_pre_ping=True)
    async with engine.begin() as connection:
        await connection.execute(app.insert("a"))
    async with engine.connect() as connection:
        await connection.execute(app.insert("b"))
    async with app.session(engine) as session, session.begin():
        session.add(app.row("c"))


@scenario(
    "Pre-ping finds that the server ended the session; a new connection takes its place.",
    a=COMMITTED,
    b=COMMITTED,
    needs="sessions",
    handling="commit_watched",
)
async def pre_ping_reconnects(app: App) -> None:
    engine = app.make_engine(pool_size=1, max_overflow=0, pool_pre_ping=True)
    async with engine.begin() as connection:
        await connection.execute(app.insert("a"))
        session = (await connection.execute(app.session_query)).scalar_one()
    app.database.end_session(session)
    async with engine.begin() as connection:
        await connection.execute(app.insert("b"))


@scenario(
    '`pool_reset_on_return="commit"`: a collected connection is committed by the pool.',
    a=COMMITTED,
    needs="collects_sync",
    handling="commit_watched",
)
async def committed_by_the_pool(app: App) -> None:
    engine = app.make_engine(pool_reset_on_return="commit")
    connection = await engine.connect()
    await connection.execute(app.insert("a"))
    del connection
    gc.collect()


@scenario(
    "`pool_reset_on_return=None`: a collected connection keeps its transaction; the next user of it"
    " commits both.",
    a=COMMITTED,
    b=COMMITTED,
    needs="collects_sync",
    transactions=1,
    handling="transactions_outlive_their_user",
)
async def inherited_from_a_collected_connection(app: App) -> None:
    engine = app.make_engine(pool_reset_on_return=None, pool_size=1, max_overflow=0)
    connection = await engine.connect()
    await connection.execute(app.insert("a"))
    del connection
    gc.collect()
    async with engine.begin() as connection:
        await connection.execute(app.insert("b"))


@scenario(
    "The engine is disposed of while a connection is out; it commits afterwards.",
    a=COMMITTED,
    handling="commit_watched",
)
async def disposed_in_the_middle(app: App) -> None:
    engine = app.make_engine()
    async with engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await engine.dispose()
        await connection.commit()
