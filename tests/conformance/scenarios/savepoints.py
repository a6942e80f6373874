"""Savepoints: what was undone though its transaction committed."""

from __future__ import annotations

import pytest
from conformance.application import App
from conformance.model import (
    COMMIT_OF_ABORTED,
    COMMITTED,
    EXCEPTION,
    EXPLICIT,
    NOT_COMMITTED,
    SAVEPOINT,
    scenario,
)
from conformance.observation import Seen, expect
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from trueline.instrumentation import semconv


def names_the_undone(seen: Seen) -> None:
    """The transaction span names statements that had left as `open` and were undone."""
    undone = {statement.span_id for statement in seen.of("b")}
    # What a savepoint undoes may say so itself, if it was not sent yet.
    for statement in seen.of("a"):
        expect(
            statement.attributes[semconv.TRANSACTION_OUTCOME] == "open", "a statement had not left as open"
        )
    named = set(seen.transaction().get(semconv.TRANSACTION_UNDONE, ()))
    expect(undone <= named, f"{undone - named} were undone and are not named")
    kept = {statement.span_id for statement in seen.of("a")}
    expect(not kept & named, "a statement is named as undone that was not")


@scenario(
    "A savepoint is released, the transaction commits.", a=COMMITTED, b=COMMITTED, handling="commit_watched"
)
async def savepoint_released(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("a"))
        async with connection.begin_nested():
            await connection.execute(app.insert("b"))


@scenario(
    "A savepoint is rolled back, the transaction commits.",
    a=COMMITTED,
    b=SAVEPOINT,
    c=COMMITTED,
    handling="savepoints_undo",
)
async def savepoint_rolled_back(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("a"))
        savepoint = await connection.begin_nested()
        await connection.execute(app.insert("b"))
        await savepoint.rollback()
        await connection.execute(app.insert("c"))


@scenario(
    "A savepoint is released, the transaction is rolled back.",
    a=EXPLICIT,
    b=EXPLICIT,
    handling="rollback_watched",
)
async def savepoint_released_then_rollback(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        async with connection.begin_nested():
            await connection.execute(app.insert("b"))
        await connection.rollback()


@scenario(
    "A savepoint is rolled back, and so is the transaction.",
    a=EXPLICIT,
    b=EXPLICIT,
    handling="rollback_watched",
)
async def savepoint_and_transaction_rolled_back(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        savepoint = await connection.begin_nested()
        await connection.execute(app.insert("b"))
        await savepoint.rollback()
        await connection.rollback()


@scenario(
    "An inner savepoint is released, the outer one rolled back, the transaction commits.",
    a=COMMITTED,
    b=SAVEPOINT,
    c=SAVEPOINT,
    handling="savepoints_undo",
)
async def released_inside_a_rolled_back_one(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("a"))
        outer = await connection.begin_nested()
        await connection.execute(app.insert("b"))
        async with connection.begin_nested():
            await connection.execute(app.insert("c"))
        await outer.rollback()


@scenario(
    "An inner savepoint is rolled back, the outer one released, the transaction commits.",
    a=COMMITTED,
    b=SAVEPOINT,
    c=COMMITTED,
    handling="savepoints_undo",
)
async def rolled_back_inside_a_released_one(app: App) -> None:
    async with app.engine.begin() as connection, connection.begin_nested():
        await connection.execute(app.insert("a"))
        inner = await connection.begin_nested()
        await connection.execute(app.insert("b"))
        await inner.rollback()
        await connection.execute(app.insert("c"))


@scenario(
    "An exception leaves `session.begin_nested()` and is handled; the session commits.",
    a=COMMITTED,
    b=SAVEPOINT,
    handling="savepoints_undo",
)
async def exception_leaves_a_nested_session(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("a"))
        await session.flush()
        with pytest.raises(ValueError, match="undo"):
            async with session.begin_nested():
                session.add(app.row("b"))
                await session.flush()
                raise ValueError("undo")
        await session.commit()


@scenario(
    "A flush fails inside `session.begin_nested()` and is handled; the session commits.",
    first=COMMITTED,
    a=COMMITTED,
    failed=SAVEPOINT,
    b=COMMITTED,
    handling="savepoints_undo savepoints_heal",
)
async def flush_error_in_a_nested_session(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("first", note=app.note()))
        await session.commit()
        session.add(app.row("a"))
        await session.flush()
        with pytest.raises(IntegrityError):
            async with session.begin_nested():
                session.add(app.row("failed", note=app.note()))
                await session.flush()
        session.add(app.row("b"))
        await session.commit()


@scenario(
    "A savepoint is left open when the connection is closed.",
    a=NOT_COMMITTED,
    b=NOT_COMMITTED,
    handling="closing_is_not_committing",
)
async def savepoint_left_open(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await connection.begin_nested()
        await connection.execute(app.insert("b"))


@scenario(
    "A savepoint is the first thing in the transaction; it is released, then the transaction"
    " is rolled back. With"
    " sqlite3's late BEGIN the release commits.",
    a=EXPLICIT,
    where={"late_begin": {"a": COMMITTED}},
    handling="released_savepoints_may_commit",
)
async def savepoint_first(app: App) -> None:
    async with app.engine.connect() as connection:
        async with connection.begin_nested():
            await connection.execute(app.insert("a"))
        await connection.rollback()


@scenario(
    "Statements leave at once as `open`; a savepoint undoes some; the transaction commits.",
    a=COMMITTED,
    b=SAVEPOINT,
    c=COMMITTED,
    options={"hold": 0},
    also=names_the_undone,
    handling="undone_statements_are_named",
)
async def undone_after_leaving(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("a"))
        savepoint = await connection.begin_nested()
        await connection.execute(app.insert("b"))
        await savepoint.rollback()
        await connection.execute(app.insert("c"))


@scenario(
    "Statements leave at once as `open`; the transaction is rolled back.",
    a=EXPLICIT,
    b=EXPLICIT,
    options={"hold": 0},
    handling="rollback_watched",
)
async def rolled_back_after_leaving(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        async with connection.begin_nested():
            await connection.execute(app.insert("b"))
        await connection.rollback()


@scenario(
    "Statements leave at once as `open`; one fails and is swallowed; the transaction commits.",
    first=COMMITTED,
    a=COMMITTED,
    failed=EXCEPTION,
    where={"error_aborts": {"a": COMMIT_OF_ABORTED}},
    options={"hold": 0},
    handling="failed_statements_have_failed",
)
async def failed_after_leaving(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("first", note=app.note()))
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        with pytest.raises(IntegrityError):
            await connection.execute(app.insert("failed", note=app.note()))
        await connection.commit()


@scenario(
    "SAVEPOINT, ROLLBACK TO and RELEASE as SQL text.",
    a=COMMITTED,
    b=SAVEPOINT,
    c=COMMITTED,
    handling="savepoints_undo",
)
async def textual_savepoints(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("a"))
        await connection.execute(text("SAVEPOINT Mine"))
        await connection.execute(app.insert("b"))
        await connection.execute(text("rollback to savepoint mine"))
        await connection.execute(app.insert("c"))
        await connection.execute(text('RELEASE "mine"'))


@scenario(
    "The same name twice: ROLLBACK TO goes to the inner one, and twice to the same.",
    a=COMMITTED,
    b=COMMITTED,
    c=SAVEPOINT,
    d=SAVEPOINT,
    handling="savepoints_undo",
)
async def savepoints_of_one_name(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("a"))
        await connection.exec_driver_sql("SAVEPOINT s")
        await connection.execute(app.insert("b"))
        await connection.exec_driver_sql("SAVEPOINT s")
        await connection.execute(app.insert("c"))
        await connection.exec_driver_sql("ROLLBACK TO s")
        await connection.execute(app.insert("d"))
        await connection.exec_driver_sql("ROLLBACK TO s")


@scenario(
    "SAVEPOINT outside a transaction (SQLite): releasing it commits.",
    a=COMMITTED,
    b=SAVEPOINT,
    needs="textual_savepoint_alone",
    handling="released_savepoints_may_commit",
)
async def savepoint_under_autocommit(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("SAVEPOINT outer_one")
        await connection.execute(app.insert("a"))
        await connection.exec_driver_sql("SAVEPOINT inner_one")
        await connection.execute(app.insert("b"))
        await connection.exec_driver_sql("ROLLBACK TO inner_one")
        await connection.exec_driver_sql("RELEASE outer_one")
