"""Autocommit, wherever it was switched on: SQLAlchemy goes through the motions all the same."""

from __future__ import annotations

import pytest
from conformance.application import App
from conformance.model import COMMITTED, EXCEPTION, NOT_COMMITTED, UNKNOWN, scenario
from conformance.observation import Seen, expect
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from trueline.instrumentation import semconv


def each_by_itself(seen: Seen) -> None:
    """Every write says that it committed by itself."""
    for statement in seen.statements:
        if statement.attributes[semconv.STATEMENT_KIND] == "write":
            expect(statement.attributes[semconv.TRANSACTION_AUTOCOMMIT] is True, "autocommit is not said")


@scenario(
    '`execution_options(isolation_level="AUTOCOMMIT")` on a connection; it is closed without a commit.',
    a=COMMITTED,
    b=COMMITTED,
    transactions=2,
    also=each_by_itself,
    handling="autocommit_is_seen",
)
async def autocommit_by_execution_option(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(app.insert("a"))
        await connection.execute(app.insert("b"))


@scenario(
    "The same, and `connection.rollback()`: nothing is rolled back.",
    a=COMMITTED,
    also=each_by_itself,
    handling="autocommit_is_seen",
)
async def autocommit_then_rollback(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(app.insert("a"))
        await connection.rollback()


@scenario(
    '`create_engine(isolation_level="AUTOCOMMIT")` and `engine.begin()` left by an exception.',
    a=COMMITTED,
    also=each_by_itself,
    handling="autocommit_is_seen",
)
async def autocommit_engine(app: App) -> None:
    engine = app.make_engine(isolation_level="AUTOCOMMIT")
    with pytest.raises(ValueError, match="no"):
        async with engine.begin() as connection:
            await connection.execute(app.insert("a"))
            raise ValueError("no")


@scenario(
    '`engine.execution_options(isolation_level="AUTOCOMMIT")`, an ORM session, `session.rollback()`.',
    a=COMMITTED,
    also=each_by_itself,
    handling="autocommit_is_seen",
)
async def autocommit_session(app: App) -> None:
    engine = app.engine.execution_options(isolation_level="AUTOCOMMIT")
    async with app.session(engine) as session:
        session.add(app.row("a"))
        await session.flush()
        await session.rollback()


@scenario(
    "A statement fails under autocommit, others go on.",
    first=COMMITTED,
    failed=EXCEPTION,
    a=COMMITTED,
    handling="autocommit_of_failures",
)
async def autocommit_error(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(app.insert("first", note=app.note()))
        with pytest.raises(IntegrityError):
            await connection.execute(app.insert("failed", note=app.note()))
        await connection.execute(app.insert("a"))


@scenario(
    "The driver itself is in autocommit (`autocommit=True`, `isolation_level=None`), SQLAlchemy"
    " does not know.",
    a=COMMITTED,
    needs="driver_autocommit",
    also=each_by_itself,
    handling="autocommit_is_seen",
)
async def autocommit_by_the_driver(app: App) -> None:
    engine = app.make_engine(connect_args=app.driver.autocommit_arguments)
    async with engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await connection.rollback()


@scenario(
    "A listener puts the driver's connection into autocommit, SQLAlchemy does not know.",
    a=COMMITTED,
    also=each_by_itself,
    needs="autocommit_attribute",
    handling="autocommit_is_seen",
)
async def autocommit_by_a_listener(app: App) -> None:
    engine = app.make_engine(autocommit_by_listener=True)
    async with engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await connection.rollback()


@scenario(
    "One connection: autocommit, then given back; the next user of it has a transaction and rolls"
    " back by closing.",
    a=COMMITTED,
    b=NOT_COMMITTED,
    handling="autocommit_is_seen",
)
async def autocommit_does_not_stay(app: App) -> None:
    engine = app.make_engine(pool_size=1, max_overflow=0)
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(app.insert("a"))
    async with engine.connect() as connection:
        await connection.execute(app.insert("b"))


@scenario(
    "An executemany fails half-way under autocommit: SQLite and psycopg2 keep what came before the error.",
    first=COMMITTED,
    batch=EXCEPTION,
    where={"batch_halts": {"batch": UNKNOWN}},
    handling="halted_batches",
)
async def autocommit_batch_halts(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(app.insert("first", note=app.note()))
        with pytest.raises(IntegrityError):
            await connection.execute(
                text("INSERT INTO payments (user_id, note) VALUES (:user_id, :note)"),
                [
                    {"user_id": app.key("batch"), "note": None},
                    {"user_id": app.key("batch"), "note": app.note()},
                    {"user_id": app.key("batch"), "note": None},
                ],
            )
