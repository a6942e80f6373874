"""A real store for tests: the embedded engine in a temporary folder.

The engine is started once, and so is the schema made: both take longer than most tests. With
TRUELINE_TEST_CLICKHOUSE_URL=http://user:password@host:8123 the same tests run on that server, in databases
that are dropped at the end.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trueline.monitor.settings import StoreSettings
from trueline.monitor.store import generate
from trueline.monitor.store.client import Store, open_store

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one folder of the embedded engine: a process can open one only."""
    return tmp_path_factory.mktemp("store")


def settings_of(folder: Path, database: str) -> StoreSettings:
    """Where tests have their rows: a database of the embedded engine, or of the server that is named."""
    if url := os.environ.get("TRUELINE_TEST_CLICKHOUSE_URL"):
        return StoreSettings(data_dir=folder, clickhouse_url=url, database=f"{database}_{os.getpid()}")
    return StoreSettings(data_dir=folder, database=database)


def create_schema(store: Store) -> None:
    """Run every schema file in order."""
    for path in sorted(generate.SCHEMA_FOLDER.glob("*.sql")):
        store.command(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def shared_store(store_folder: Path) -> Iterator[Store]:
    """A store with the whole schema, for as long as the tests run: while it is open the engine stays."""
    store = open_store(settings_of(store_folder, "shared"))
    try:
        create_schema(store)
        yield store
    finally:
        store.command(f"DROP DATABASE {store.database}")
        store.close()


@pytest.fixture
def store(shared_store: Store) -> Store:
    """A store with the whole schema and no rows."""
    tables = shared_store.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
    )
    for (table,) in tables:
        shared_store.command(f"TRUNCATE TABLE {table}")
    return shared_store


@pytest.fixture
def empty_store(shared_store: Store, store_folder: Path) -> Iterator[Store]:
    """A store without any table, in a database of its own."""
    store = open_store(settings_of(store_folder, f"empty_{next(_numbers)}"))
    try:
        yield store
    finally:
        store.command(f"DROP DATABASE {store.database}")
        store.close()
