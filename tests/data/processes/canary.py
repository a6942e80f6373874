"""Puts one word wherever an application's data can be while Trueline watches.

    python canary.py ENDPOINT SOURCE POSTGRESQL_URL FOLDER

The word is in the environment (CANARY), in a number (CANARY_NUMBER), and in the password and the query string
of the PostgreSQL URL. Prints how many of the steps failed and how many ran, a failure being what most of them
are for.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy
import sqlalchemy.ext.asyncio
from sqlalchemy import (
    JSON,
    Column,
    DateTime,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    insert,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import TypeDecorator

from trueline.instrumentation import Domain, IdentityConfig, ai_call, bind_identity, bind_message, instrument

WORD, NUMBER = os.environ["CANARY"], os.environ["CANARY_NUMBER"]
ENDPOINT, SOURCE, POSTGRESQL, FOLDER = sys.argv[1:5]
CONTROL = os.environ.get("CANARY_CONTROL") == "1"
log = logging.getLogger("application")
counts = {"ran": 0, "failed": 0}


class Refuses(TypeDecorator[str]):
    """An application's type whose conversion fails with the value in its message."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        raise ValueError(f"cannot store {value}")


class Unknown:
    """What no driver can store."""

    def __repr__(self) -> str:
        return WORD


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(String(40), unique=True)
    email: Mapped[str | None] = mapped_column(String(40))
    note: Mapped[str] = mapped_column(default="")


facts = Table(
    "facts",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("data", JSON),
    Column("at", DateTime),
    Column("refused", Refuses),
)

# SQL with the word as a literal, in a comment, or where a message quotes it. Most of it is refused.
EVERYWHERE = [
    "SELECT * FROM people WHERE user_id = '{w}'",
    "SELECT'{w}'",
    "SELECT '{w}' AS x, {n} AS y",
    "VALUES ('{w}', {n})",
    "INSERT INTO people (user_id, email) VALUES ('{w}2', '{w}@example.com')",
    "INSERT INTO people (user_id) VALUES ('{w}2')",
    "UPDATE people SET note = 'it''s {w}' WHERE id = {n}",
    "/* {w} */ SELECT 1 -- {w}",
    "-- {w}\nSELECT 1",
    "/*{w}*/SELECT 1",
    "SELECT * FROM people WHERE user_id IN ('{w}', '{w}3') LIMIT {n}",
    "SELECT * FROM people WHERE user_id LIKE '%{w}%'",
    "CREATE TABLE t_{s} (x TEXT DEFAULT '{w}')",
    "SELEC '{w}'",
    "SELECT '{w}",
    "SELECT * FROM people WHERE user_id = '{w}' AND AND",
    "INSERT INTO checked (age) VALUES ({n})",
    "INSERT INTO checked (age, name) VALUES (NULL, '{w}')",
    "INSERT INTO checked (age, name) VALUES (-5, '{w}')",
]
POSTGRESQL_ONLY = [
    "SELECT $${w}$$, $tag${w}$tag$, E'\\'{w}', U&'{w}', X'00'",
    "SELECT CAST('{w}' AS integer)",
    "SELECT '{w}'::date",
    'SELECT \'{{"a": "{w}"\'::jsonb',
    "SELECT data ->> '{w}' FROM documents",
    "SELECT ARRAY['{w}'], '{{{w}}}'::text[]",
    "DO $$ BEGIN RAISE EXCEPTION 'no place for {w}'; END $$",
    "DO $$ BEGIN RAISE EXCEPTION '{w}' USING ERRCODE = '23505', DETAIL = 'Key (x)=({w})'; END $$",
    "SET application_name = '{w}'",
    "SET application_name = {w}",
    "SELECT set_config('app.user', '{w}', false)",
    "NOTIFY channel, '{w}'",
    "COMMENT ON TABLE people IS '{w}'",
    "COPY people FROM '/nowhere/{w}'",
    "ALTER ROLE postgres PASSWORD '{w}'",
    "PREPARE p{s} AS SELECT $1::text",
    "EXECUTE p{s}('{w}')",
    "INSERT INTO short (name) VALUES ('{w}{w}{w}')",
    "SELECT 1 /* one /* nested {w} */ {w} */",
]
SQLITE_ONLY = [
    'SELECT * FROM people WHERE user_id = "{w}"',
    'INSERT INTO people (user_id) VALUES ("{w}4")',
    "INSERT INTO guarded (name) VALUES ('{w}')",
    "ATTACH DATABASE '/nowhere/{w}' AS other",
    "PRAGMA user_version = {n}",
]


def step(name: str, action: Callable[[], Any]) -> None:
    """Run one step; what it raises is the application's, and logged as applications do."""
    counts["ran"] += 1
    try:
        action()
    except Exception as error:
        failed(name, error)


async def async_step(name: str, action: Callable[[], Any]) -> None:
    counts["ran"] += 1
    try:
        await action()
    except Exception as error:
        failed(name, error)


def failed(name: str, error: Exception) -> None:
    counts["failed"] += 1
    if os.environ.get("CANARY_EXPLAIN"):
        print(name, repr(error)[:150], file=sys.stderr)
    log.exception("failed: %s", name)
    log.error(error)
    log.warning("failed", exc_info=error)


def texts(dialect: str, style: str) -> list[str]:
    special = POSTGRESQL_ONLY if dialect == "postgresql" else SQLITE_ONLY
    filled = [one.format(w=WORD, n=NUMBER, s=style) for one in EVERYWHERE + special]
    # Drivers with %s parameters want a literal % doubled.
    return [one.replace("%", "%%") if style in ("psycopg", "psycopg2") else one for one in filled]


def people(connection: Any) -> None:
    """Statements of every parameter style, on a connection that is sync."""
    connection.execute(insert(Person), {"user_id": WORD, "email": f"{WORD}@example.com", "note": WORD})
    connection.execute(insert(Person), [{"user_id": f"{WORD}{n}", "note": WORD} for n in range(5, 9)])
    connection.execute(
        text("UPDATE people SET note = :note WHERE user_id = :user"), {"note": WORD, "user": WORD}
    )
    many = text("SELECT * FROM people WHERE user_id IN :users").bindparams(bindparam("users", expanding=True))
    connection.execute(many, {"users": [WORD, f"{WORD}5"]}).all()
    connection.execute(select(Person.id).where(Person.email.like(f"%{WORD}%"))).all()
    connection.execute(select(sqlalchemy.literal(WORD, literal_execute=True))).all()
    connection.execute(insert(facts), {"data": {WORD: [WORD, int(NUMBER)]}})


def failing(connection: Any, which: int) -> None:
    """One statement that fails with the word in its parameters."""
    dialect = connection.dialect.name
    statements = [
        lambda: connection.execute(insert(Person), {"user_id": WORD}),
        lambda: connection.execute(insert(facts), {"at": WORD}),
        lambda: connection.execute(insert(facts), {"refused": WORD}),
        lambda: connection.execute(text("SELECT CAST(:a AS integer) + :b"), {"a": WORD, "b": WORD}),
        lambda: connection.execute(text("SELECT :a"), {"a": Unknown()}),
        lambda: connection.execute(text(f"SELECT :{WORD}"), {}),
        lambda: connection.execute(text("SELECT :a"), {"a": f"{WORD}\0"}),
        lambda: connection.execute(
            text("INSERT INTO checked (age, name) VALUES (:a, :n)"), {"a": -1, "n": WORD}
        ),
        lambda: connection.execute(text("INSERT INTO people (id) VALUES (:a)"), {"a": WORD}),
        lambda: connection.execute(
            text("SELECT :a").bindparams(bindparam("a", [WORD], type_=ARRAY(Integer)))
            if dialect == "postgresql"
            else text("SELECT json(:a)").bindparams(a=WORD)
        ),
    ]
    statements[which]()


FAILING = range(10)


def application_error(connection: Any) -> None:
    connection.execute(insert(Person), {"user_id": f"{WORD}-rolled-back"})
    try:
        raise KeyError(WORD)
    except KeyError as error:
        raise LookupError(f"nothing known of {WORD}") from error


def model_error(connection: Any) -> None:
    connection.execute(select(Person.id)).all()
    with ai_call("chat", model="small-1"):
        raise RuntimeError(f"the model does not like {WORD}")


def tables(connection: Any) -> None:
    Base.metadata.create_all(connection)
    facts.metadata.create_all(connection)
    connection.execute(
        text("CREATE TABLE checked (age INTEGER NOT NULL CHECK (age > 0 AND age < 200), name TEXT)")
    )
    connection.execute(text("CREATE TABLE short (name VARCHAR(5))"))
    connection.execute(text("CREATE TABLE documents (data JSON)"))
    if connection.dialect.name == "sqlite":
        connection.execute(text("CREATE TABLE guarded (name TEXT)"))
        connection.execute(
            text(
                "CREATE TRIGGER guard BEFORE INSERT ON guarded "
                f"BEGIN SELECT RAISE(ABORT, 'no place for {WORD}'); END"
            )
        )


def clear(connection: Any) -> None:
    for name in ("people", "facts", "checked"):
        connection.execute(text(f"DELETE FROM {name}"))


def in_transaction(engine: Any, action: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    def run() -> None:
        with engine.begin() as connection:
            action(connection, *arguments)

    return run


def sync_driver(url: Any, style: str) -> None:
    engine = sqlalchemy.create_engine(url, echo="debug" if style == "pysqlite" else False)
    step("clear", in_transaction(engine, clear))
    step("people", in_transaction(engine, people))
    for which in FAILING:
        step(f"failing {which}", in_transaction(engine, failing, which))
    step("application", in_transaction(engine, application_error))
    step("model", in_transaction(engine, model_error))
    for one in texts(engine.dialect.name, style):
        step(one[:20], in_transaction(engine, lambda connection, sql: connection.exec_driver_sql(sql), one))

    def orm() -> None:
        with Session(engine) as session:
            session.add_all([Person(user_id=WORD), Person(user_id=f"{WORD}0")])
            session.commit()

    step("orm", orm)
    engine.dispose()


def async_driver(url: Any, style: str) -> None:
    async def work() -> None:
        engine = sqlalchemy.ext.asyncio.create_async_engine(url)

        def begun(action: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
            async def run() -> None:
                async with engine.begin() as connection:
                    await connection.run_sync(action, *arguments)

            return run

        await async_step("clear", begun(clear))
        await async_step("people", begun(people))
        for which in FAILING:
            await async_step(f"failing {which}", begun(failing, which))
        await async_step("application", begun(application_error))
        for one in texts(engine.dialect.name, style):
            await async_step(one[:20], begun(lambda connection, sql: connection.exec_driver_sql(sql), one))
        await engine.dispose()

    asyncio.run(work())


def logs() -> None:
    log.info("stored %s", WORD)
    log.info("stored %(word)s", {"word": WORD})
    log.info({"word": WORD})
    log.info("bound", extra={"user_id": WORD, "email": f"{WORD}@example.com", "details": {"word": WORD}})
    warnings.warn(f"beware of {WORD}", stacklevel=1)


def main() -> None:
    logging.captureWarnings(True)
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger().addHandler(logging.NullHandler())
    plain = IdentityConfig(domains={"user": Domain(plain=True)}) if CONTROL else None
    instrument("canary", endpoint=ENDPOINT, spans=SOURCE, identities=plain)
    postgresql = make_url(POSTGRESQL)
    setup = [sqlalchemy.create_engine(url) for url in (postgresql, f"sqlite:///{FOLDER}/canary.db")]
    for engine in setup:
        with engine.begin() as connection:
            tables(connection)
        engine.dispose()
    with bind_identity(WORD, entry="entry"), bind_message(f"{WORD}-1"):
        sync_driver(f"sqlite:///{FOLDER}/canary.db", "pysqlite")
        if CONTROL:
            print(json.dumps(counts))
            return
        async_driver(f"sqlite+aiosqlite:///{FOLDER}/canary.db", "aiosqlite")
        for driver in ("psycopg", "psycopg2"):
            sync_driver(postgresql.set(drivername=f"postgresql+{driver}"), driver)
        # asyncpg takes neither libpq's options nor its way to name a folder of sockets.
        async_driver(postgresql.set(drivername="postgresql+psycopg"), "psycopg")
        plain_query = {name: value for name, value in postgresql.query.items() if name == "host"}
        async_driver(postgresql.set(drivername="postgresql+asyncpg", query=plain_query), "asyncpg")
        unreachable = [
            postgresql.update_query_dict({WORD: WORD}),
            f"sqlite:////nowhere/application.db?{WORD}=1",
        ]
        if SOURCE == "own":
            # contrib's spans carry the user's name, as db.user
            unreachable.append(postgresql.set(username=WORD))
        for url in unreachable:
            step("connect", in_transaction(sqlalchemy.create_engine(url), people))
        logs()
    step("left with an error", lambda: bound_and_failing(WORD))
    print(json.dumps(counts))


@bind_identity(lambda user: user, entry="job")
def bound_and_failing(user: str) -> None:
    raise LookupError(f"nothing known of {datetime.now().year} {user}")  # noqa: DTZ005


main()
