"""What a transaction span says beside the outcome: isolation level, several databases, DDL."""

from __future__ import annotations

from collections.abc import Callable

from conformance.application import App
from conformance.model import COMMITTED, EXPLICIT, scenario
from conformance.observation import Seen, expect
from sqlalchemy import text

from trueline.instrumentation import semconv


def level(expected: str) -> Callable[[Seen], None]:
    """A check of the isolation level that the transaction span names."""

    def check(seen: Seen) -> None:
        for transaction in seen.transactions:
            found = transaction.get(semconv.TRANSACTION_ISOLATION)
            expect(found == expected, f"isolation level {found}, not {expected}")

    return check


@scenario(
    "Isolation level: what the server said when SQLAlchemy connected.",
    a=COMMITTED,
    needs="isolation_levels",
    also=level("READ COMMITTED"),
    handling="isolation_level_is_looked_up",
)
async def default_level(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("a"))


@scenario(
    "Isolation level: `create_engine(isolation_level=...)`.",
    a=COMMITTED,
    needs="isolation_levels",
    also=level("REPEATABLE READ"),
    handling="isolation_level_is_looked_up",
)
async def engine_level(app: App) -> None:
    async with app.make_engine(isolation_level="REPEATABLE READ").begin() as connection:
        await connection.execute(app.insert("a"))


@scenario(
    "Isolation level: an execution option of the engine, in an ORM session.",
    a=COMMITTED,
    needs="isolation_levels",
    also=level("SERIALIZABLE"),
    handling="isolation_level_is_looked_up",
)
async def option_level(app: App) -> None:
    engine = app.engine.execution_options(isolation_level="SERIALIZABLE")
    async with app.session(engine) as session, session.begin():
        session.add(app.row("a"))


@scenario(
    "Isolation level: `session.connection(execution_options=...)`, for one transaction only.",
    a=COMMITTED,
    b=COMMITTED,
    needs="isolation_levels",
    also=lambda seen: first_serializable(seen),
    handling="isolation_level_is_looked_up",
)
async def transaction_level(app: App) -> None:
    async with app.session() as session:
        await session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
        session.add(app.row("a"))
        await session.commit()
        session.add(app.row("b"))
        await session.commit()


def first_serializable(seen: Seen) -> None:
    """The first transaction was SERIALIZABLE, the second was not."""
    by_id = {t[semconv.TRANSACTION_ID]: t.get(semconv.TRANSACTION_ISOLATION) for t in seen.transactions}
    levels = [by_id[seen.of(write)[0].attributes[semconv.TRANSACTION_ID]] for write in ("a", "b")]
    expect(levels == ["SERIALIZABLE", "READ COMMITTED"], f"isolation levels {levels}")


@scenario(
    "Isolation level: SET TRANSACTION as text.",
    a=COMMITTED,
    needs="isolation_levels",
    also=level("SERIALIZABLE"),
    handling="isolation_level_in_text",
)
async def level_by_text(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(text("SET TRANSACTION ISOLATION LEVEL serializable"))
        await connection.execute(app.insert("a"))


def only_the_first_in_a_session(seen: Seen) -> None:
    """The first write names its ORM session, the second has none."""
    sessions = [seen.of(write)[0].attributes.get(semconv.ORM_SESSION_ID) for write in ("a", "b")]
    expect(sessions[0] is not None and sessions[1] is None, f"ORM sessions {sessions}")


@scenario(
    "An ORM session commits; then Core uses the same pooled connection, which is no session's any more.",
    a=COMMITTED,
    b=COMMITTED,
    also=only_the_first_in_a_session,
    handling="sessions_leave_connections",
)
async def session_then_core(app: App) -> None:
    async with app.session() as session:
        session.add(app.row("a"))
        await session.commit()
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("b"))


@scenario(
    "One session, two engines: two transactions.",
    a=COMMITTED,
    b=COMMITTED,
    transactions=2,
    needs="sessions",
    handling="commit_watched",
)
async def two_engines(app: App) -> None:
    first, second = app.make_engine(), app.make_engine()
    async with app.session(first) as session:
        await session.execute(app.insert("a"), bind_arguments={"bind": app.sync(first)})
        await session.execute(app.insert("b"), bind_arguments={"bind": app.sync(second)})
        await session.commit()


@scenario(
    "DDL and a write in one transaction, rolled back. sqlite3 begins no transaction for DDL.",
    a=EXPLICIT,
    also=lambda seen: tables_agree(seen),
    handling="autocommit_is_seen",
)
async def ddl_rolled_back(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(text(f'CREATE TABLE "{app.prefix}t" (id INTEGER)'))
        await connection.execute(app.insert("a"))
        await connection.rollback()


@scenario(
    "DDL after a write, committed.",
    a=COMMITTED,
    also=lambda seen: tables_agree(seen),
    handling="commit_watched",
)
async def ddl_committed(app: App) -> None:
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("a"))
        await connection.execute(text(f'CREATE TABLE "{app.prefix}t" (id INTEGER)'))
        await connection.execute(text(f'DROP TABLE "{app.prefix}t"'))
        await connection.execute(text(f'CREATE TABLE "{app.prefix}t" (id INTEGER)'))


def tables_agree(seen: Seen) -> None:
    """The tag of the last DDL says whether the table is there."""
    ddl = [s for s in seen.statements if s.attributes[semconv.STATEMENT_KIND] == "ddl"]
    present = bool(seen.app.database.tables(seen.app.prefix))
    expect(
        (ddl[-1].outcome == "committed") is present,
        f"DDL is {ddl[-1].outcome}, the table is there: {present}",
    )
