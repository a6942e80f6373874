"""A real store for tests: the embedded engine in a temporary folder, a database of its own for each test."""

from __future__ import annotations

import itertools
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


@pytest.fixture
def empty_store(store_folder: Path) -> Iterator[Store]:
    """A store without any table."""
    store = open_store(StoreSettings(data_dir=store_folder, database=f"test_{next(_numbers)}"))
    try:
        yield store
    finally:
        store.command(f"DROP DATABASE {store.database}")
        store.close()


def create_schema(store: Store) -> None:
    """Run every schema file in order."""
    for path in sorted(generate.SCHEMA_FOLDER.glob("*.sql")):
        store.command(path.read_text(encoding="utf-8"))


@pytest.fixture
def store(empty_store: Store) -> Store:
    """A store with the whole schema."""
    create_schema(empty_store)
    return empty_store
