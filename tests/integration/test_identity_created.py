"""Keys that the database makes: the new row's own is an identity of the INSERT once it was read back."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine, ForeignKey, String, event, insert, select, text
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import TypeDecorator
from support.postgres import Postgres
from support.recorder import Recorder

from trueline.instrumentation import IdentityConfig, semconv
from trueline.instrumentation.identity import IdentityHasher, canonicalize

pytestmark = pytest.mark.sqlalchemy_matrix


class Base(DeclarativeBase):
    pass


class Member(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    nick: Mapped[str] = mapped_column(default="")


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"))


class Page(Base):
    """Belongs to nobody, unless the configuration says what a page is."""

    __tablename__ = "pages"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(default="")


def value(person: object, domain: str = "user") -> str:
    return IdentityHasher("").export(domain, canonicalize(person))


def inserted(recorder: Recorder, table: str) -> list[list[tuple[str, ...]]]:
    """Column, clause, value and domain of each identity, of each INSERT into a table."""
    found = []
    for one in recorder.statements():
        if one.get(semconv.DB_OPERATION_NAME) == "INSERT" and one[semconv.STATEMENT_TABLES][0] == table:
            names = [
                one.get(name, ())
                for name in (
                    semconv.IDENTITY_COLUMNS,
                    semconv.IDENTITY_CLAUSES,
                    semconv.IDENTITY_VALUES,
                    semconv.IDENTITY_DOMAINS,
                )
            ]
            found.append(list(zip(*names, strict=True)))
    return found


def made(key: object, table: str = "users", domain: str = "user") -> tuple[str, ...]:
    return (f"{table}.id", "set", value(key, domain), domain)


@pytest.fixture(params=["sqlite", "psycopg", "psycopg2"])
def engine(source: Recorder, request: pytest.FixtureRequest) -> Any:
    if request.param == "sqlite":
        url: Any = "sqlite://"
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.url(request.param)
    # Looked up on the module, so that contrib's wrapper of the function is the one that is called.
    engine = sqlalchemy.create_engine(url)
    Base.metadata.create_all(engine)
    source.clear()
    yield engine
    engine.dispose()


def test_one_row_of_the_orm_and_of_core(source: Recorder, engine: Engine) -> None:
    with Session(engine) as session:
        member = Member(nick="ada")
        session.add(member)
        session.flush()
        first = member.id
        session.commit()
    with engine.begin() as connection:
        result = connection.execute(insert(Member).values(nick="bob"))
        second = next(iter(result.inserted_primary_key or ()))
    assert inserted(source, "users") == [[made(first)], [made(second)]]


@pytest.mark.parametrize("engine", ["psycopg", "psycopg2"], indirect=True)
def test_each_batch_of_many_rows_has_its_own_keys(source: Recorder, engine: Engine) -> None:
    paged = engine.execution_options(insertmanyvalues_page_size=5)
    with Session(paged) as session:
        members = [Member(nick=str(number)) for number in range(12)]
        session.add_all(members)
        session.commit()
        keys = [member.id for member in members]
    statements = inserted(source, "users")
    assert len(statements) == 3
    assert [sorted(one) for one in statements] == [
        sorted(made(key) for key in keys[start : start + 5]) for start in (0, 5, 10)
    ]


@pytest.mark.parametrize("engine", ["psycopg"], indirect=True)
def test_more_keys_than_are_listed_are_counted(source: Recorder, engine: Engine) -> None:
    with Session(engine) as session:
        session.add_all([Member() for _ in range(40)])
        session.commit()
    statements = [one for one in source.statements() if one.get(semconv.DB_OPERATION_NAME) == "INSERT"]
    assert [len(one[semconv.IDENTITY_COLUMNS]) for one in statements] == [16]
    assert [one[semconv.IDENTITY_COUNT] for one in statements] == [40]


def test_a_key_that_the_application_chose_is_said_once(source: Recorder, engine: Engine) -> None:
    with Session(engine) as session:
        session.add(Member(id=7))
        session.commit()
    assert inserted(source, "users") == [[made(7)]]


def test_rows_that_the_application_fetches_are_its_own(source: Recorder, engine: Engine) -> None:
    with engine.begin() as connection:
        rows = connection.execute(
            insert(Member).returning(Member.id, Member.nick), [{"nick": "a"}, {"nick": "b"}]
        )
        assert sorted(row.nick for row in rows) == ["a", "b"]
        connection.execute(text("INSERT INTO users (nick) VALUES ('c')"))
        assert connection.scalar(select(sqlalchemy.func.count()).select_from(Member)) == 3
    assert inserted(source, "users") == [[], []]


@pytest.mark.parametrize("declared", [False, True])
def test_a_table_of_nobody_until_it_is_declared(record: Callable[..., Recorder], declared: bool) -> None:
    columns = {"pages.id": "page"} if declared else {}
    recorder = record(identities=IdentityConfig(columns=columns))
    engine = sqlalchemy.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Page(title="a"))
        session.commit()
    assert inserted(recorder, "pages") == [[made(1, "pages", "page")] if declared else []]
    engine.dispose()


def test_an_insert_that_fails_and_one_whose_result_fails(source: Recorder) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    Base.metadata.create_all(engine)

    @event.listens_for(engine, "after_cursor_execute")
    def refuse(*arguments: Any) -> None:
        raise RuntimeError("a listener of the application's")

    with engine.connect() as connection, pytest.raises(RuntimeError, match="of the application's"):
        connection.execute(insert(Member).values(nick="x"))
    event.remove(engine, "after_cursor_execute", refuse)
    with engine.begin() as connection:
        connection.execute(insert(Member).values(nick="y"))
    assert inserted(source, "users") == [[], [made(1)]]
    engine.dispose()


def test_nothing_is_kept_alive(source: Recorder) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    gc.disable()
    try:
        connection = engine.connect()
        result = connection.execute(insert(Member).values(nick="x"))
        context = weakref.ref(result.context)
        del result
        assert context() is None, "the execution context goes when SQLAlchemy lets it go"
        connection.close()
    finally:
        gc.enable()
    engine.dispose()


def test_asynchronously(source: Recorder) -> None:
    pytest.importorskip("aiosqlite")

    async def main() -> int:
        engine = sqlalchemy_asyncio.create_async_engine("sqlite+aiosqlite://")
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with sqlalchemy_asyncio.AsyncSession(engine) as session:
            member = Member(nick="ada")
            session.add(member)
            await session.flush()
            key = member.id
            await session.commit()
        await engine.dispose()
        return key

    key = asyncio.run(main())
    assert inserted(source, "users") == [[made(key)]]


class Backwards(TypeDecorator[str]):
    """A key that the application reads otherwise than it is stored."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value[::-1]

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return None if value is None else value[::-1]


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[str] = mapped_column(Backwards(), primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str] = mapped_column(default="")


def test_a_row_whose_key_has_a_type_of_the_applications(source: Recorder, engine: Engine) -> None:
    with Session(engine) as session:
        session.add(Member(id=7))
        session.flush()
        session.add(Note(id="abc", user_id=7))
        session.commit()
        note = session.get_one(Note, "abc")
        assert note.user_id == 7
        source.clear()
        note.title = "changed"
        session.commit()
    (update,) = [one for one in source.statements() if one.get(semconv.DB_OPERATION_NAME) == "UPDATE"]
    assert tuple(update[semconv.IDENTITY_ROW]) == (f"user:{value(7)}",)
