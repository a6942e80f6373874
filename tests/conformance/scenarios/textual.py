"""Transactions that the application controls by SQL text."""

from __future__ import annotations

import pytest
from conformance.application import App
from conformance.model import (
    ABANDONED,
    COMMIT_FAILED,
    COMMIT_OF_ABORTED,
    COMMITTED,
    EXCEPTION,
    EXPLICIT,
    NOT_COMMITTED,
    scenario,
)
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError


@scenario(
    "BEGIN, COMMIT and ROLLBACK on an autocommit connection.",
    a=EXPLICIT,
    b=COMMITTED,
    c=COMMITTED,
    transactions=3,
    handling="textual_transactions",
)
async def textual_on_autocommit(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("BEGIN")
        await connection.execute(app.insert("a"))
        await connection.exec_driver_sql("ROLLBACK")
        await connection.exec_driver_sql("BEGIN")
        await connection.execute(app.insert("b"))
        await connection.exec_driver_sql("COMMIT")
        await connection.execute(app.insert("c"))


@scenario(
    "START TRANSACTION, ABORT and END.",
    a=EXPLICIT,
    b=COMMITTED,
    needs="start_transaction",
    handling="textual_transactions",
)
async def other_words(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("START TRANSACTION")
        await connection.execute(app.insert("a"))
        await connection.exec_driver_sql("ABORT")
        await connection.exec_driver_sql("/* again */ begin work")
        await connection.execute(app.insert("b"))
        await connection.exec_driver_sql("END")


@scenario(
    "COMMIT AND CHAIN begins the next transaction at once.",
    a=COMMITTED,
    b=EXPLICIT,
    c=COMMITTED,
    transactions=3,
    needs="chain",
    handling="textual_transactions",
)
async def commit_and_chain(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("BEGIN")
        await connection.execute(app.insert("a"))
        await connection.exec_driver_sql("COMMIT AND CHAIN")
        await connection.execute(app.insert("b"))
        await connection.exec_driver_sql("ROLLBACK AND CHAIN")
        await connection.execute(app.insert("c"))
        await connection.exec_driver_sql("COMMIT")


@scenario(
    "COMMIT as text inside a transaction of SQLAlchemy's, which is then closed without a commit.",
    a=COMMITTED,
    handling="textual_transactions",
)
async def textual_commit_inside(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await connection.execute(text("COMMIT"))


@scenario(
    "The same, and another write after it. With asyncpg nothing begins a transaction again: it"
    " commits by itself.",
    a=COMMITTED,
    b=NOT_COMMITTED,
    where={"begins_once": {"b": COMMITTED}},
    handling="textual_transactions autocommit_is_seen",
)
async def write_after_a_textual_commit(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await connection.execute(text("COMMIT"))
        await connection.execute(app.insert("b"))


@scenario(
    "ROLLBACK as text inside a transaction, then `connection.commit()`.",
    a=EXPLICIT,
    handling="textual_transactions",
)
async def textual_rollback_inside(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await connection.execute(text("ROLLBACK"))
        await connection.commit()


@scenario(
    "ROLLBACK as text in an `except` block. In asyncio the exception is not visible where the text is seen.",
    first=COMMITTED,
    a=EXCEPTION,
    failed=EXCEPTION,
    where={"async": {"a": EXPLICIT, "failed": EXPLICIT}},
    handling="textual_transactions",
)
async def textual_rollback_in_except(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("first", note=app.note()))
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        try:
            await connection.execute(app.insert("failed", note=app.note()))
        except IntegrityError:
            await connection.exec_driver_sql("ROLLBACK")


@scenario(
    "COMMIT as text of a transaction in which an error was swallowed.",
    first=COMMITTED,
    a=COMMITTED,
    failed=EXCEPTION,
    where={"error_aborts": {"a": COMMIT_OF_ABORTED, "failed": COMMIT_OF_ABORTED}},
    handling="aborted_transactions",
)
async def textual_commit_of_aborted(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(app.insert("first", note=app.note()))
        await connection.exec_driver_sql("BEGIN")
        await connection.execute(app.insert("a"))
        with pytest.raises(IntegrityError):
            await connection.execute(app.insert("failed", note=app.note()))
        await connection.exec_driver_sql("COMMIT")


@scenario(
    "COMMIT as text is refused: a deferred foreign key is violated. The application rolls back.",
    a=COMMIT_FAILED,
    handling="textual_commit_failures",
)
async def textual_commit_refused(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("BEGIN")
        await connection.execute(app.insert("a", parent_id=1))
        with pytest.raises(DBAPIError):
            await connection.exec_driver_sql("COMMIT")
        await connection.exec_driver_sql("ROLLBACK")


@scenario(
    "BEGIN as text, and the connection is closed. asyncpg gives it back to the pool with the"
    " transaction open; closing"
    " the pool ends it.",
    a=NOT_COMMITTED,
    where={"foreign_transaction": {"a": ABANDONED}},
    handling="closing_is_not_committing",
)
async def textual_begin_left_open(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("BEGIN")
        await connection.execute(app.insert("a"))


@scenario(
    "BEGIN as text, closed; the next user of the connection commits. On asyncpg that commits the"
    " first one's write too.",
    a=NOT_COMMITTED,
    b=COMMITTED,
    where={"foreign_transaction": {"a": COMMITTED}},
    handling="rollbacks_that_do_nothing",
)
async def textual_begin_inherited(app: App) -> None:
    engine = app.make_engine(isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=0)
    async with engine.connect() as connection:
        await connection.exec_driver_sql("BEGIN")
        await connection.execute(app.insert("a"))
    async with engine.connect() as connection:
        await connection.execute(app.insert("b"))
        if "foreign_transaction" in app.driver.traits:
            await connection.exec_driver_sql("COMMIT")


@scenario(
    "COMMIT as text is refused; the application puts the data right and says COMMIT again.",
    a=COMMIT_FAILED,
    b=COMMITTED,
    where={"refused_commit_stays": {"a": COMMITTED}},
    handling="refused_commit_may_stay_open",
)
async def textual_commit_refused_then_mended(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("BEGIN")
        await connection.execute(app.insert("a", parent_id=1))
        with pytest.raises(DBAPIError):
            await connection.exec_driver_sql("COMMIT")
        # On SQLite this still belongs to the transaction whose COMMIT was refused.
        await connection.execute(text("UPDATE payments SET parent_id = NULL WHERE parent_id = 1"))
        await connection.execute(app.insert("b"))
        await connection.exec_driver_sql("COMMIT")


@scenario(
    "COMMIT is refused because somebody else reads (SQLITE_BUSY); tried again later, it succeeds.",
    a=COMMITTED,
    needs="locks_file",
    handling="refused_commit_may_stay_open",
)
async def textual_commit_tried_again(app: App) -> None:
    engine = app.make_engine(isolation_level="AUTOCOMMIT", connect_args={"timeout": 0})
    async with engine.connect() as reader, engine.connect() as writer:
        await writer.exec_driver_sql("BEGIN")
        await writer.execute(app.insert("a"))
        await reader.exec_driver_sql("BEGIN")
        await reader.exec_driver_sql("SELECT count(*) FROM payments")
        with pytest.raises(DBAPIError):
            await writer.exec_driver_sql("COMMIT")
        await reader.exec_driver_sql("ROLLBACK")
        await writer.exec_driver_sql("COMMIT")
