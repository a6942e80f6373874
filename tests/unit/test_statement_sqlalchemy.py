"""Statements and parameters as SQLAlchemy really hands them to each driver's cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from support.postgres import Postgres

from trueline.instrumentation.identity import Domain, IdentityConfig, IdentityExtractor, IdentityHasher
from trueline.instrumentation.statement import Plan, Planner

CONFIG = IdentityConfig(domains={"user": Domain(plain=True)})
ROWS = 30


class Base(DeclarativeBase):
    pass


class Expense(Base):
    __tablename__ = "expenses"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str]
    user_id_hash: Mapped[str | None]
    amount: Mapped[int] = mapped_column(default=0)


class Watch:
    """Plans and identities of everything that an engine sends."""

    def __init__(self, engine: sa.Engine) -> None:
        self.seen: list[tuple[Plan, list[tuple[str, str, str]], int]] = []
        self._planner = Planner(CONFIG)
        self._extractor = IdentityExtractor(CONFIG, IdentityHasher(None), limit=1000)
        sa.event.listen(engine, "before_cursor_execute", self._before)

    def _before(
        self, conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        plan = self._planner.plan(statement, conn.dialect.name)
        found = self._extractor.extract(plan, parameters, executemany=many)
        listed = list(zip(found.columns, found.clauses, found.values, strict=True))
        self.seen.append((plan, listed, found.count))

    def values(self, operation: str) -> list[list[tuple[str, str, str]]]:
        return [listed for plan, listed, _ in self.seen if plan.operation == operation]


def work(session: Session) -> None:
    """Every way in which applications write and read that changes the text."""
    session.add(Expense(user_id="one", amount=1))
    session.flush()
    session.add_all(Expense(user_id=f"u{n}", user_id_hash=f"h{n}") for n in range(ROWS))
    session.flush()
    session.execute(sa.insert(Expense), [{"user_id": f"bulk{n}"} for n in range(3)])
    session.execute(sa.insert(Expense).values([{"user_id": "multi0"}, {"user_id": "multi1"}]))
    session.scalars(sa.select(Expense).where(Expense.user_id.in_(["u1", "u2", "u3"]))).all()
    session.scalars(
        sa.select(Expense).where(sa.or_(Expense.user_id == "u4", Expense.user_id_hash == "h4"))
    ).all()
    session.execute(
        sa.text("SELECT count(*) FROM expenses WHERE user_id = :who AND amount <> :a"), {"who": "t", "a": 9}
    )
    alias = sa.orm.aliased(Expense)
    session.execute(
        sa.select(alias.id).join(Expense, Expense.id == alias.id).where(alias.user_id == "aliased")
    )
    session.execute(sa.update(Expense).where(Expense.user_id == "u5").values(amount=Expense.amount + 1))
    session.execute(
        sa.delete(Expense).where(sa.tuple_(Expense.user_id, Expense.amount).in_([("u6", 0), ("u7", 0)]))
    )


def check(watch: Watch) -> None:
    dml = [plan for plan, _, _ in watch.seen if plan.operation in ("INSERT", "SELECT", "UPDATE", "DELETE")]
    on_expenses = [plan for plan in dml if plan.tables == ("expenses",)]
    assert len(on_expenses) >= 10
    assert all(plan.complete for plan in dml)
    inserts = [one for listed in watch.values("INSERT") for one in listed]
    users = [value for column, clause, value in inserts if (column, clause) == ("expenses.user_id", "set")]
    expected = ["one", *(f"u{n}" for n in range(ROWS)), *(f"bulk{n}" for n in range(3)), "multi0", "multi1"]
    assert sorted(users) == sorted(expected)
    hashes = [value for column, _, value in inserts if column == "expenses.user_id_hash"]
    assert sorted(hashes) == sorted(f"h{n}" for n in range(ROWS))
    column = "expenses.user_id"
    assert [(column, "where", f"u{n}") for n in (1, 2, 3)] in watch.values("SELECT")
    assert [(column, "where", "u4"), ("expenses.user_id_hash", "where", "h4")] in watch.values("SELECT")
    assert [(column, "where", "t")] in watch.values("SELECT")
    assert [(column, "where", "aliased")] in watch.values("SELECT")
    assert watch.values("UPDATE") == [[(column, "where", "u5")]]
    assert next(plan for plan in dml if plan.operation == "UPDATE").self_update
    assert watch.values("DELETE") == [[(column, "where", "u6"), (column, "where", "u7")]]


def run(engine: sa.Engine) -> None:
    Base.metadata.create_all(engine)
    watch = Watch(engine)
    with Session(engine) as session:
        work(session)
        session.commit()
    engine.dispose()
    check(watch)


def test_sqlite() -> None:
    run(sa.create_engine("sqlite://"))


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_postgresql(postgres: Postgres, driver: str) -> None:
    run(sa.create_engine(postgres.url(driver)))


def test_asyncpg(postgres: Postgres) -> None:
    async def go() -> Watch:
        engine = create_async_engine(postgres.url("asyncpg"))
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        watch = Watch(engine.sync_engine)

        def in_session(connection: sa.Connection) -> None:
            with Session(connection) as session:
                work(session)
                session.commit()

        async with engine.connect() as connection:
            await connection.run_sync(in_session)
        await engine.dispose()
        return watch

    check(asyncio.run(go()))


@pytest.mark.parametrize("dialect", ["mysql+pymysql", "mysql+mysqldb", "mysql+mysqlconnector"])
def test_mysql_as_compiled(dialect: str) -> None:
    """No MySQL server here: the text and the parameter order are what its dialect compiles."""
    compile_with: Callable[..., Any] = sa.engine.url.make_url(f"{dialect}://")._get_entrypoint()
    plan_with, extractor = Planner(CONFIG), IdentityExtractor(CONFIG, IdentityHasher(None))
    statement = sa.select(Expense.id).where(Expense.user_id.in_(["u1", "u2"]), Expense.amount % 2 == 1)
    compiled = statement.compile(dialect=compile_with(), compile_kwargs={"render_postcompile": True})
    parameters: Any = compiled.params
    if compiled.positional:
        parameters = tuple(compiled.params[name] for name in compiled.positiontup or ())
    plan = plan_with.plan(str(compiled), "mysql")
    assert extractor.extract(plan, parameters).values == ("u1", "u2")
    assert plan.filters == ("expenses.user_id", "expenses.amount")
