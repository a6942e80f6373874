"""Sessions that join a transaction of somebody else's connection, in every join_transaction_mode."""

from __future__ import annotations

from conformance.application import App
from conformance.model import COMMITTED, EXPLICIT, NOT_COMMITTED, SAVEPOINT, scenario


@scenario(
    "`create_savepoint`: the session commits, the outer transaction commits.",
    outer=COMMITTED,
    a=COMMITTED,
    handling="commit_watched",
)
async def joined_by_savepoint(app: App) -> None:
    async with app.engine.connect() as connection:
        outer = await connection.begin()
        await connection.execute(app.insert("outer"))
        async with app.session(connection, join_transaction_mode="create_savepoint") as session:
            session.add(app.row("a"))
            await session.commit()
        await outer.commit()


@scenario(
    "`create_savepoint`: the session commits, the outer transaction is rolled back.",
    outer=EXPLICIT,
    a=EXPLICIT,
    handling="rollback_watched",
)
async def joined_by_savepoint_rolled_back_outside(app: App) -> None:
    async with app.engine.connect() as connection:
        outer = await connection.begin()
        await connection.execute(app.insert("outer"))
        async with app.session(connection, join_transaction_mode="create_savepoint") as session:
            session.add(app.row("a"))
            await session.commit()
        await outer.rollback()


@scenario(
    "`create_savepoint`: the session rolls back, the outer transaction commits.",
    outer=COMMITTED,
    a=SAVEPOINT,
    handling="savepoints_undo",
)
async def joined_by_savepoint_rolled_back_inside(app: App) -> None:
    async with app.engine.connect() as connection:
        outer = await connection.begin()
        await connection.execute(app.insert("outer"))
        async with app.session(connection, join_transaction_mode="create_savepoint") as session:
            session.add(app.row("a"))
            await session.flush()
            await session.rollback()
        await outer.commit()


@scenario(
    "`conditional_savepoint` (the default) without a savepoint outside: the session rolls everything back.",
    outer=EXPLICIT,
    a=EXPLICIT,
    handling="rollback_watched",
)
async def joined_conditionally(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.begin()
        await connection.execute(app.insert("outer"))
        async with app.session(connection, join_transaction_mode="conditional_savepoint") as session:
            session.add(app.row("a"))
            await session.flush()
            await session.rollback()


@scenario(
    "`conditional_savepoint` inside a savepoint: the session's rollback undoes its own.",
    outer=COMMITTED,
    a=SAVEPOINT,
    handling="savepoints_undo",
)
async def joined_conditionally_in_a_savepoint(app: App) -> None:
    async with app.engine.connect() as connection:
        outer = await connection.begin()
        await connection.execute(app.insert("outer"))
        await connection.begin_nested()
        async with app.session(connection, join_transaction_mode="conditional_savepoint") as session:
            session.add(app.row("a"))
            await session.flush()
            await session.rollback()
        await outer.commit()


@scenario(
    "`rollback_only`: the session's commit does nothing; the outer transaction is closed without a commit.",
    outer=NOT_COMMITTED,
    a=NOT_COMMITTED,
    handling="closing_is_not_committing",
)
async def joined_rollback_only(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.begin()
        await connection.execute(app.insert("outer"))
        async with app.session(connection, join_transaction_mode="rollback_only") as session:
            session.add(app.row("a"))
            await session.commit()


@scenario(
    "`rollback_only`: the session commits, the outer transaction commits.",
    outer=COMMITTED,
    a=COMMITTED,
    handling="commit_watched",
)
async def joined_rollback_only_then_commit(app: App) -> None:
    async with app.engine.connect() as connection:
        outer = await connection.begin()
        await connection.execute(app.insert("outer"))
        async with app.session(connection, join_transaction_mode="rollback_only") as session:
            session.add(app.row("a"))
            await session.commit()
        await outer.commit()


@scenario(
    "`control_fully`: the session's commit is the transaction's.",
    outer=COMMITTED,
    a=COMMITTED,
    handling="commit_watched",
)
async def joined_control_fully(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.begin()
        await connection.execute(app.insert("outer"))
        async with app.session(connection, join_transaction_mode="control_fully") as session:
            session.add(app.row("a"))
            await session.commit()


@scenario("`control_fully`: the session rolls back.", outer=EXPLICIT, a=EXPLICIT, handling="rollback_watched")
async def joined_control_fully_rolled_back(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.begin()
        await connection.execute(app.insert("outer"))
        async with app.session(connection, join_transaction_mode="control_fully") as session:
            session.add(app.row("a"))
            await session.flush()
            await session.rollback()


@scenario(
    "`control_fully`: the session is closed without a commit.",
    outer=NOT_COMMITTED,
    a=NOT_COMMITTED,
    handling="sessions_own_transactions",
)
async def joined_control_fully_closed(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.begin()
        await connection.execute(app.insert("outer"))
        async with app.session(connection, join_transaction_mode="control_fully") as session:
            session.add(app.row("a"))
            await session.flush()


@scenario(
    "A session on a connection that has no transaction yet is closed without a commit; so is the connection.",
    a=NOT_COMMITTED,
    handling="sessions_own_transactions",
)
async def joined_without_a_transaction(app: App) -> None:
    async with app.engine.connect() as connection, app.session(connection) as session:
        session.add(app.row("a"))
        await session.flush()
