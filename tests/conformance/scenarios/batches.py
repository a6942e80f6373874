"""Many rows: insertmanyvalues, executemany, thousands, and batches that stop half-way."""

from __future__ import annotations

import pytest
from conformance.application import App
from conformance.model import COMMIT_OF_ABORTED, COMMITTED, EXCEPTION, EXPLICIT, UNKNOWN, scenario
from conformance.tables import Payment
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError

BY_HAND = text("INSERT INTO payments (user_id, note) VALUES (:user_id, :note)")


@scenario(
    "An ORM session adds 50 objects (insertmanyvalues with RETURNING).",
    rows=COMMITTED,
    handling="commit_watched",
)
async def many_objects(app: App) -> None:
    async with app.session() as session:
        session.add_all([app.row("rows") for _ in range(50)])
        await session.commit()


@scenario("The same, rolled back.", rows=EXPLICIT, handling="rollback_watched")
async def many_objects_rolled_back(app: App) -> None:
    async with app.session() as session:
        session.add_all([app.row("rows") for _ in range(50)])
        await session.flush()
        await session.rollback()


@scenario("`session.execute(insert(...).returning(...), [...])`.", rows=COMMITTED, handling="commit_watched")
async def bulk_insert_with_returning(app: App) -> None:
    async with app.session() as session:
        result = await session.scalars(
            insert(Payment).returning(Payment.id), [{"user_id": app.key("rows")} for _ in range(40)]
        )
        assert len(result.all()) == 40
        await session.commit()


@scenario("Five thousand rows in one call.", rows=COMMITTED, handling="commit_watched")
async def thousands(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(insert(Payment), [{"user_id": app.key("rows")} for _ in range(5000)])


@scenario("executemany of a text.", rows=COMMITTED, handling="commit_watched")
async def executemany(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(BY_HAND, [{"user_id": app.key("rows"), "note": None} for _ in range(3)])


@scenario("executemany of a text, rolled back.", rows=EXPLICIT, handling="rollback_watched")
async def executemany_rolled_back(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(BY_HAND, [{"user_id": app.key("rows"), "note": None} for _ in range(3)])
        await connection.rollback()


@scenario(
    "A thousand statements in one transaction, more than are held; the early ones leave as `open`.",
    rows=EXPLICIT,
    handling="rollback_watched",
)
async def long_transaction(app: App) -> None:
    async with app.engine.connect() as connection:
        for _ in range(1000):
            await connection.execute(app.insert("rows"))
        await connection.rollback()


@scenario(
    "An executemany fails half-way inside a transaction that commits. SQLite keeps what came before"
    " the error.",
    first=COMMITTED,
    batch=UNKNOWN,
    where={"error_aborts": {"first": COMMIT_OF_ABORTED, "batch": COMMIT_OF_ABORTED}},
    handling="halted_batches",
)
async def batch_halts(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("first", note=app.note()))
        with pytest.raises(IntegrityError):
            await connection.execute(
                BY_HAND,
                [
                    {"user_id": app.key("batch"), "note": None},
                    {"user_id": app.key("batch"), "note": app.note()},
                    {"user_id": app.key("batch"), "note": None},
                ],
            )
        await connection.commit()


@scenario(
    "An executemany fails at its first row inside a transaction that commits: nothing of it stays.",
    first=COMMITTED,
    batch=EXCEPTION,
    where={"error_aborts": {"first": COMMIT_OF_ABORTED, "batch": COMMIT_OF_ABORTED}},
    handling="batches_that_kept_nothing",
)
async def batch_halts_at_once(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("first", note=app.note()))
        with pytest.raises(IntegrityError):
            await connection.execute(
                BY_HAND,
                [{"user_id": app.key("batch"), "note": note} for note in (app.note(), None, None)],
            )
        await connection.commit()


@scenario(
    "An executemany fails half-way, and its exception leaves the block.",
    first=EXCEPTION,
    batch=EXCEPTION,
    handling="cause_of_a_rollback",
)
async def batch_halts_and_leaves(app: App) -> None:
    with pytest.raises(IntegrityError):
        async with app.engine.begin() as connection:
            await connection.execute(app.insert("first", note=app.note()))
            await connection.execute(
                BY_HAND,
                [{"user_id": app.key("batch"), "note": note} for note in (None, app.note(), None)],
            )
