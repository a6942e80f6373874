"""Connections that are lost: before, during and after the COMMIT, and in the middle of a transaction."""

from __future__ import annotations

import pytest
from conformance.application import App
from conformance.model import ABANDONED, COMMITTED, EXPLICIT, UNKNOWN, scenario
from conformance.observation import Seen
from sqlalchemy.exc import DBAPIError


@scenario(
    "The server ends the session; then COMMIT. It never arrives, but nobody on this side can know.",
    a=UNKNOWN,
    needs="sessions",
    handling="lost_commits_are_unknown",
)
async def session_ended_before_commit(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        app.database.end_session((await connection.execute(app.session_query)).scalar_one())
        with pytest.raises(DBAPIError):
            await connection.commit()


@scenario("The same in an ORM session.", a=UNKNOWN, needs="sessions", handling="lost_commits_are_unknown")
async def orm_session_ended_before_commit(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("a"))
        await session.flush()
        app.database.end_session((await session.execute(app.session_query)).scalar_one())
        with pytest.raises(DBAPIError):
            await session.commit()


@scenario(
    "The server ends the session while it works on the COMMIT.",
    a=UNKNOWN,
    needs="sessions",
    handling="lost_commits_are_unknown",
)
async def session_ended_during_commit(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a", note=f"wait {app.prefix}"))
        session = (await connection.execute(app.session_query)).scalar_one()
        app.database.end_session_during_commit(session)
        with pytest.raises(DBAPIError):
            await connection.commit()


@scenario(
    "The COMMIT succeeds, and the connection breaks before its answer arrives.",
    a=UNKNOWN,
    needs="sessions",
    handling="lost_commits_are_unknown",
    also=lambda seen: stored_all_the_same(seen),
)
async def answer_to_commit_lost(app: App) -> None:
    engine = app.make_engine(app.database.url_losing_commits(app.driver))
    async with engine.connect() as connection:
        await connection.execute(app.insert("a"))
        with pytest.raises(DBAPIError):
            await connection.commit()


def stored_all_the_same(seen: Seen) -> None:
    """The row is there: to call it rolled back would have been wrong."""
    assert seen.app.database.stored(seen.app.prefix), "the COMMIT did not reach the server"


@scenario(
    "The server ends the session in the middle of a transaction; the next statement fails.",
    a=ABANDONED,
    b=ABANDONED,
    needs="sessions",
    handling="lost_connections",
)
async def session_ended_before_a_statement(app: App) -> None:
    with pytest.raises(DBAPIError):
        async with app.engine.begin() as connection:
            await connection.execute(app.insert("a"))
            app.database.end_session((await connection.execute(app.session_query)).scalar_one())
            await connection.execute(app.insert("b"))


@scenario(
    "The same in an ORM session, which is used again afterwards.",
    a=ABANDONED,
    b=ABANDONED,
    c=COMMITTED,
    needs="sessions",
    handling="lost_connections",
)
async def orm_session_ended_before_a_statement(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("a"))
        await session.flush()
        app.database.end_session((await session.execute(app.session_query)).scalar_one())
        with pytest.raises(DBAPIError):
            await session.execute(app.insert("b"))
        await session.rollback()
        session.add(app.row("c"))
        await session.commit()


@scenario(
    "The server ends the session, and the application rolls back without noticing.",
    a=EXPLICIT,
    needs="sessions",
    handling="rollback_watched",
)
async def session_ended_before_rollback(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        app.database.end_session((await connection.execute(app.session_query)).scalar_one())
        with pytest.raises(DBAPIError):
            await connection.rollback()


@scenario(
    "The server ends the session under autocommit; the next statement fails, and it was its own COMMIT.",
    a=COMMITTED,
    b=UNKNOWN,
    needs="sessions",
    handling="commits_of_single_statements_can_be_lost",
)
async def autocommit_lost(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(app.insert("a"))
        app.database.end_session((await connection.execute(app.session_query)).scalar_one())
        with pytest.raises(DBAPIError):
            await connection.execute(app.insert("b"))
