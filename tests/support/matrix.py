"""The combinations that every outcome must be right for: driver and span source, sync and async."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from support.postgres import Postgres
from support.recorder import Recorder

SYNC_DRIVERS = ("pysqlite", "psycopg", "psycopg2")
ASYNC_DRIVERS = ("aiosqlite", "psycopg", "asyncpg")
SPAN_SOURCES = ("own", "contrib")


class Base(DeclarativeBase):
    """Mapped classes of the tests."""


class Expense(Base):
    """A row whose owner is in ``user_id``; ``message`` is unique."""

    __tablename__ = "expenses"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64))
    message: Mapped[str | None] = mapped_column(String(64), unique=True)


#: Committed at the end of the transaction only: its violation is the COMMIT's.
deferred = MetaData()
parents = Table("parents", deferred, Column("id", Integer, primary_key=True))


def url_for(driver: str, request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if driver == "pysqlite":
        return f"sqlite:///{tmp_path}/application.db"
    if driver == "aiosqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/application.db"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.url(driver)


@pytest.fixture(params=SPAN_SOURCES)
def source(request: pytest.FixtureRequest, record: Callable[..., Recorder]) -> Recorder:
    """Trueline switched on, with each source of spans."""
    return record(logs=False, spans=request.param)


@pytest.fixture(params=SYNC_DRIVERS)
def engine(request: pytest.FixtureRequest, source: Recorder, tmp_path: Path) -> Iterator[Engine]:
    """An engine of each sync driver with the tables made; what that sent is forgotten."""
    # Looked up on the module, so that contrib's wrapper of the function is the one that is called.
    import sqlalchemy

    engine = sqlalchemy.create_engine(url_for(request.param, request, tmp_path))
    Base.metadata.create_all(engine)
    source.clear()
    yield engine
    engine.dispose()


@pytest.fixture(params=ASYNC_DRIVERS)
def async_engine(request: pytest.FixtureRequest, source: Recorder, tmp_path: Path) -> AsyncEngine:
    """Likewise for each async driver; each test runs it in one event loop and disposes of it there."""
    import sqlalchemy
    import sqlalchemy.ext.asyncio

    sync_url = url_for({"aiosqlite": "pysqlite"}.get(request.param, "psycopg"), request, tmp_path)
    maker = create_engine(sync_url)
    Base.metadata.create_all(maker)
    maker.dispose()
    source.clear()
    return sqlalchemy.ext.asyncio.create_async_engine(url_for(request.param, request, tmp_path))


__all__ = ["Base", "Expense", "async_engine", "create_async_engine", "engine", "event", "source"]
