"""Commits: that happen, that the database refuses, and that the server answers with a rollback."""

from __future__ import annotations

import contextlib

import pytest
from conformance.application import App
from conformance.model import COMMIT_FAILED, COMMIT_OF_ABORTED, COMMITTED, EXCEPTION, EXPLICIT, scenario
from sqlalchemy.exc import DBAPIError, IntegrityError


@scenario("`connection.commit()`.", a=COMMITTED, handling="commit_watched")
async def core_commit(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await connection.commit()


@scenario(
    "Two transactions one after the other on one connection.",
    a=COMMITTED,
    b=EXPLICIT,
    c=COMMITTED,
    transactions=3,
    handling="commit_watched",
)
async def commits_in_a_row(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await connection.commit()
        await connection.execute(app.insert("b"))
        await connection.rollback()
        await connection.execute(app.insert("c"))
        await connection.commit()


@scenario("`engine.begin()` left without an exception.", a=COMMITTED, handling="commit_watched")
async def engine_begin(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("a"))


@scenario("`connection.begin()` left without an exception.", a=COMMITTED, handling="commit_watched")
async def connection_begin(app: App) -> None:
    async with app.engine.connect() as connection, connection.begin():
        await connection.execute(app.insert("a"))


@scenario("`session.commit()`.", a=COMMITTED, handling="commit_watched")
async def session_commit(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("a"))
        await session.commit()


@scenario("`session.begin()` left without an exception.", a=COMMITTED, handling="commit_watched")
async def session_begin(app: App) -> None:
    async with app.session() as session, session.begin():
        session.add(app.row("a"))


@scenario("`sessionmaker.begin()` left without an exception.", a=COMMITTED, handling="commit_watched")
async def sessionmaker_begin(app: App) -> None:
    async with app.sessionmaker().begin() as session:
        session.add(app.row("a"))


@scenario(
    "A deferred foreign key is violated: COMMIT raises.",
    a=COMMIT_FAILED,
    b=COMMIT_FAILED,
    handling="commit_failure_watched",
)
async def commit_refused(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a", parent_id=1))
        await connection.execute(app.insert("b"))
        with pytest.raises(IntegrityError):
            await connection.commit()


@scenario("The same in an ORM session.", a=COMMIT_FAILED, handling="commit_failure_watched")
async def session_commit_refused(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("a", parent_id=1))
        with pytest.raises(IntegrityError):
            await session.commit()
        await session.rollback()


@scenario("The same where a block is left.", a=COMMIT_FAILED, handling="commit_failure_watched")
async def commit_refused_at_the_end_of_a_block(app: App) -> None:
    with pytest.raises(IntegrityError):
        async with app.engine.begin() as connection:
            await connection.execute(app.insert("a", parent_id=1))


@scenario(
    "An error is swallowed; then COMMIT. PostgreSQL answers it with a rollback.",
    first=COMMITTED,
    a=COMMITTED,
    failed=EXCEPTION,
    b=COMMITTED,
    where={"error_aborts": {"a": COMMIT_OF_ABORTED, "failed": COMMIT_OF_ABORTED, "b": COMMIT_OF_ABORTED}},
    handling="aborted_transactions",
)
async def commit_of_aborted(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("first", note=app.note()))
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        with pytest.raises(IntegrityError):
            await connection.execute(app.insert("failed", note=app.note()))
        with contextlib.suppress(DBAPIError):
            await connection.execute(app.insert("b"))
        await connection.commit()


@scenario(
    "The same in an ORM session whose statement failed outside of a flush.",
    first=COMMITTED,
    a=COMMITTED,
    failed=EXCEPTION,
    where={"error_aborts": {"a": COMMIT_OF_ABORTED, "failed": COMMIT_OF_ABORTED}},
    handling="aborted_transactions",
)
async def session_commit_of_aborted(app: App) -> None:
    async with app.session() as session:
        await session.execute(app.insert("first", note=app.note()))
        await session.commit()
        await session.execute(app.insert("a"))
        with pytest.raises(IntegrityError):
            await session.execute(app.insert("failed", note=app.note()))
        await session.commit()


@scenario(
    "The driver refuses a parameter, the server never sees the statement; then COMMIT.",
    a=COMMITTED,
    failed=EXCEPTION,
    handling="driver_errors_do_not_abort",
    needs="early_failure",
)
async def commit_after_an_error_of_the_driver(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        with pytest.raises(Exception):  # noqa: B017, PT011, each driver has its own
            await connection.execute(app.insert("failed", note=app.unfit_value()))
        await connection.commit()


@scenario(
    "An error on which SQLite rolls the whole transaction back; the application goes on and commits.",
    first=COMMITTED,
    a=EXCEPTION,
    failed=EXCEPTION,
    b=COMMITTED,
    needs="error_ends",
    handling="errors_that_end_transactions",
)
async def error_that_ends_the_transaction(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("first", note=app.note()))
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        with pytest.raises(IntegrityError):
            await connection.execute(app.sql("failed", "OR ROLLBACK", f"'{app.note()}'"))
        await connection.execute(app.insert("b"))
        await connection.commit()
