"""An application that uses a bit of everything, and tells all that it saw: values, errors, warnings, rows."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import sqlalchemy
import sqlalchemy.ext.asyncio
from sqlalchemy import (
    Column,
    Engine,
    ForeignKey,
    Integer,
    MetaData,
    Table,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import Session
from support.guest_ingress import ingress
from support.matrix import Base, Expense

from trueline.instrumentation import ai_call, bind_identity, bind_message, propagate, propagating

_metadata = MetaData()
_parents = Table("guest_parents", _metadata, Column("id", Integer, primary_key=True))
_children = Table(
    "guest_children",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("parent", ForeignKey("guest_parents.id", deferrable=True, initially="DEFERRED")),
)
#: The driver of each workload, and whether it is an async one.
DRIVERS = {"pysqlite": False, "psycopg": False, "aiosqlite": True, "asyncpg": True}


class ApplicationError(Exception):
    """The application's own."""


class Seen(list[Any]):
    """What the application saw, in order."""

    def error(self, error: BaseException) -> None:
        """An exception: classes, arguments, its chain, and the frames from where it was raised."""
        chain: list[Any] = []
        current: BaseException | None = error
        while current is not None:
            chain.append(
                (type(current), [str(a) for a in current.args], current.__suppress_context__, frames(current))
            )
            current = current.__cause__ or current.__context__
        self.append(chain)


def frames(error: BaseException) -> list[str]:
    """Functions in the traceback, without ours that only pass on."""
    found = []
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not any(ours in code.co_filename for ours in ("trueline/instrumentation", "opentelemetry/")):
            found.append(code.co_qualname)
        traceback = traceback.tb_next
    return found


def work(url: Any, is_async: bool) -> Seen:
    """Do everything; the tables are made anew."""
    seen = Seen()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        if is_async:
            asyncio.run(_async_work(url, seen))
        else:
            _sync_work(url, seen)
        gc.collect()
    seen.append(sorted(str(w.message) for w in warned if "guest" not in str(w.message)))
    return seen


def _sync_work(url: Any, seen: Seen) -> None:
    # Looked up on the module, so that contrib's wrapper of the function is the one that is called.
    engine = sqlalchemy.create_engine(url)
    is_sqlite = engine.dialect.name == "sqlite"
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    _metadata.drop_all(engine)
    _metadata.create_all(engine)
    with bind_identity("7", entry="job"), bind_message("m-1"), Session(engine) as session:
        expense = Expense(user_id="7", message="first")
        session.add(expense)
        session.flush()
        expense.message = "once"  # by its key: the row tells whose it is
        session.commit()
        with ai_call("chat", model="small-1") as call:
            seen.append(list(session.scalars(select(Expense.user_id).where(Expense.user_id == "7"))))
            call.finish_reasons("stop")
        session.execute(insert(Expense).values(user_id="before-the-answer"))
        try:
            with ai_call("chat"):
                raise ApplicationError("no answer")
        except ApplicationError as error:
            seen.error(error)
            session.rollback()
        try:
            session.add(Expense(user_id="8", message="once"))
            session.commit()
        except SQLAlchemyError as error:
            seen.error(error)
            logging.getLogger("guest").warning("refused for %s", "8", exc_info=True, extra={"user_id": "8"})
            session.rollback()
        nested = session.begin_nested()
        session.execute(insert(Expense).values(user_id="9"))
        nested.rollback()
        with session.begin_nested():
            session.execute(insert(Expense).values(user_id="10"))
        session.commit()
        session.execute(update(Expense).where(Expense.user_id == "10").values(user_id="11"))
        # closed without a commit
    with engine.begin() as connection:
        connection.execute(insert(Expense), [{"user_id": f"many-{n}"} for n in range(3)])
        rows = connection.execute(insert(Expense).values(user_id="r").returning(Expense.user_id))
        seen.append(rows.all())
        connection.exec_driver_sql("UPDATE expenses SET user_id = 'driver' WHERE user_id = 'many-0'")
    _failures(engine, seen, is_sqlite)
    _bound(engine, seen)
    if is_sqlite:
        ingress(engine, seen)
    with engine.connect() as connection, connection.begin():
        streamed = connection.execution_options(stream_results=True).execute(select(Expense.user_id))
        seen.append(sorted(row.user_id for row in streamed.yield_per(2)))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(insert(Expense).values(user_id="auto"))
        try:
            batch = text("INSERT INTO expenses (user_id, message) VALUES (:user_id, 'halted')")
            connection.execute(batch, [{"user_id": "halted"}, {"user_id": "halted again"}])
        except SQLAlchemyError as error:
            seen.error(error)
    raw = engine.raw_connection()
    raw.cursor().execute("DELETE FROM expenses WHERE user_id = 'many-2'")
    raw.commit()
    raw.close()
    if not is_sqlite:
        with engine.connect() as connection:
            for ending in ("commit", "rollback"):
                prepared = connection.begin_twophase()
                connection.execute(insert(Expense).values(user_id=f"prepared-{ending}"))
                getattr(prepared, ending)()
                prepared = connection.begin_twophase()
                connection.execute(insert(Expense).values(user_id=f"truly-prepared-{ending}"))
                prepared.prepare()
                getattr(prepared, ending)()
    with engine.connect() as connection:
        connection.detach()
        connection.execute(insert(Expense).values(user_id="detached"))
        connection.commit()
        connection.execute(insert(Expense).values(user_id="detached and closed"))
    # refused by a COMMIT that is SQL text
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if is_sqlite:
            connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.exec_driver_sql("BEGIN")
        connection.execute(insert(_children).values(id=2, parent=404))
        try:
            connection.exec_driver_sql("COMMIT")
        except SQLAlchemyError as error:
            seen.error(error)
        connection.exec_driver_sql("ROLLBACK")
    # past SQLAlchemy
    with engine.connect() as connection:
        connection.execute(insert(Expense).values(user_id="committed by the driver"))
        driver = connection.connection.dbapi_connection
        assert driver is not None
        driver.commit()
        connection.rollback()
    # dropped with its transaction open: the pool finds it
    dropped = engine.connect()
    dropped.execute(insert(Expense).values(user_id="dropped"))
    del dropped
    gc.collect()
    with engine.connect() as connection:
        connection.execute(insert(Expense).values(user_id="lost"))
        connection.invalidate()
    with engine.connect() as connection:
        seen.append(sorted(connection.scalars(select(Expense.user_id))))
        seen.append(connection.scalars(select(_children.c.id)).all())
    engine.dispose()


def _bound(engine: Engine, seen: Seen) -> None:
    """Work of decorated functions of all kinds, and in a pool of threads."""

    @bind_identity(lambda user: user)
    def add(user: str) -> str:
        with engine.begin() as connection:
            connection.execute(insert(Expense).values(user_id=user))
        return user

    @bind_identity("many")
    def add_many(users: list[str]) -> Iterator[str]:
        for user in users:
            with engine.begin() as connection:
                connection.execute(insert(Expense).values(user_id=user))
            try:
                yield user
            except ApplicationError as error:
                yield f"{user} {error}"

    @bind_identity("refused")
    def refuse() -> None:
        raise ApplicationError("refused")

    seen.append(add("decorated"))
    seen.append(list(add_many(["one", "two"])))
    generator = add_many(["three", "four"])
    seen.append([next(generator), generator.throw(ApplicationError("thrown"))])  # type: ignore[attr-defined]
    generator.close()  # type: ignore[attr-defined]
    try:
        refuse()
    except ApplicationError as error:
        seen.error(error)
    nested = bind_identity("again")
    with nested, nested, propagating(ThreadPoolExecutor(1)) as pool:
        seen.append(pool.submit(add, "pooled").result())
        seen.append(list(pool.map(add, ["mapped"])))
        seen.append(propagate(add)("carried"))
        seen.append(pickle.loads(pickle.dumps(propagate(len)))("four"))


async def _bound_async(seen: Seen) -> None:
    """The same in a task."""

    @bind_identity(lambda user: user)
    async def one(user: str) -> str:
        await asyncio.sleep(0)
        return user

    @bind_identity("many")
    async def many(users: list[str]) -> AsyncIterator[str]:
        for user in users:
            await asyncio.sleep(0)
            yield user

    seen.append(await one("task"))
    seen.append([user async for user in many(["a", "b"])])
    async for _ in many(["c", "d"]):
        break
    with bind_identity("carried"):
        carried = propagate(one)
    seen.append(await carried("carried"))


def _failures(engine: Engine, seen: Seen, is_sqlite: bool) -> None:
    attempts: list[Callable[[Any], Any]] = [
        lambda connection: connection.execute(text("SELECT * FROM nowhere")),
        lambda connection: connection.execute(insert(Expense), [{"user_id": "x", "message": "twice"}] * 2),
        _raise,
        # refused by the COMMIT only
        lambda connection: connection.execute(insert(_children).values(id=1, parent=404)),
    ]
    for attempt in attempts:
        try:
            with engine.connect() as connection:
                if is_sqlite:
                    connection.exec_driver_sql("PRAGMA foreign_keys = ON")
                    connection.commit()
                with connection.begin():
                    connection.execute(insert(Expense).values(user_id="undone"))
                    attempt(connection)
        except (SQLAlchemyError, ApplicationError) as error:
            seen.error(error)
    # swallowed, then "committed": PostgreSQL rolls back, SQLite does not
    with engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="swallowed"))
        try:
            connection.execute(text("SELECT * FROM nowhere"))
        except SQLAlchemyError as error:
            seen.error(error)


def _raise(connection: Any) -> None:
    raise ApplicationError("changed my mind")


async def _async_work(url: Any, seen: Seen) -> None:
    engine = sqlalchemy.ext.asyncio.create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
        await connection.run_sync(Base.metadata.create_all)
        await connection.run_sync(_metadata.drop_all)
        await connection.run_sync(_metadata.create_all)
    await _bound_async(seen)
    async with bind_identity("7", entry="job"), AsyncSession(engine) as session:
        session.add(Expense(user_id="7", message="once"))
        await session.commit()
        async with ai_call("chat"):
            seen.append(list(await session.scalars(select(Expense.user_id))))
        try:
            session.add(Expense(user_id="8", message="once"))
            await session.commit()
        except SQLAlchemyError as error:
            seen.error(error)
            await session.rollback()
        try:
            async with session.begin_nested():
                await session.execute(insert(Expense).values(user_id="9"))
                raise ApplicationError("undo")
        except ApplicationError as error:
            seen.error(error)
        await session.commit()
    await _async_failures(engine, seen)
    async with engine.connect() as connection:
        streamed = await connection.stream(select(Expense.user_id))
        seen.append(sorted([row.user_id async for row in streamed]))
        await connection.rollback()
    try:
        async with asyncio.timeout(0.05), engine.begin() as connection:
            await connection.execute(insert(Expense).values(user_id="cancelled"))
            await asyncio.sleep(30)
    except TimeoutError:
        seen.append("timed out")
    async with engine.connect() as connection:
        await connection.execute(insert(Expense).values(user_id="lost"))
        await connection.invalidate()
    async with engine.connect() as connection:
        seen.append(sorted(await connection.scalars(select(Expense.user_id))))
    await engine.dispose()


async def _async_failures(engine: AsyncEngine, seen: Seen) -> None:
    for statement in (text("SELECT * FROM nowhere"), insert(_children).values(id=1, parent=404), None):
        try:
            async with engine.connect() as connection:
                if engine.dialect.name == "sqlite":
                    await connection.exec_driver_sql("PRAGMA foreign_keys = ON")
                    await connection.commit()
                async with connection.begin():
                    await connection.execute(insert(Expense).values(user_id="undone"))
                    if statement is None:
                        _raise(connection)
                    else:
                        await connection.execute(statement)
        except (SQLAlchemyError, ApplicationError) as error:
            seen.error(error)
