"""Databases of the matrix: one PostgreSQL database for all rows, a fresh SQLite file for each."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from conformance.databases import Database, PostgresDatabase, SQLiteDatabase
from conformance.servers import Driver
from sqlalchemy import URL


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> Iterator[None]:
    """Leave what is there already out of garbage collections: many applications here ask for one."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("conformance") / "template.db"
    SQLiteDatabase.make_template(path)
    return path


@pytest.fixture(scope="session")
def conformance_postgres(postgres_server: URL) -> Iterator[PostgresDatabase]:
    admin = postgres_server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS conformance")
        connection.execute("CREATE DATABASE conformance")
    database = PostgresDatabase(postgres_server.set(database="conformance"))
    database.make_tables()
    yield database
    database.close()


@pytest.fixture
def database_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Driver], Database]:
    """The database that a driver is tested on; PostgreSQL is started when it is first asked for."""

    def database_of(driver: Driver) -> Database:
        if driver.server.system == "sqlite":
            return SQLiteDatabase(tmp_path / "application.db", request.getfixturevalue("sqlite_template"))
        database: PostgresDatabase = request.getfixturevalue("conformance_postgres")
        return database

    return database_of
