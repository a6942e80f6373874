"""Migrations on the real embedded engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trueline.monitor.errors import MigrationError
from trueline.monitor.store.client import Store
from trueline.monitor.store.migrate import Migration, migrate, read_migrations

FIRST = Migration(1, "first", "CREATE TABLE IF NOT EXISTS a (n Int8) ENGINE = MergeTree ORDER BY n")
SECOND = Migration(2, "second", "ALTER TABLE a ADD COLUMN IF NOT EXISTS m Int8")


def test_each_migration_is_applied_once_and_in_order(empty_store: Store) -> None:
    assert migrate(empty_store, [FIRST]) == [FIRST]
    assert migrate(empty_store, [FIRST, SECOND]) == [SECOND]
    assert migrate(empty_store, [FIRST, SECOND]) == []
    empty_store.insert("a", {"n": [1], "m": [2]})
    ledger = empty_store.query("SELECT number, name, checksum FROM schema_migrations ORDER BY number").rows
    assert ledger == [(1, "first", FIRST.checksum), (2, "second", SECOND.checksum)]


def test_a_file_with_a_lower_number_that_came_later_is_applied(empty_store: Store) -> None:
    migrate(empty_store, [replace(SECOND, sql="SELECT 1")])
    assert migrate(empty_store, [FIRST, replace(SECOND, sql="SELECT 1")]) == [FIRST]


def test_a_death_between_statement_and_ledger_is_mended(empty_store: Store) -> None:
    empty_store.command(FIRST.sql)
    assert migrate(empty_store, [FIRST, SECOND]) == [FIRST, SECOND]


def test_an_edited_file_is_refused_before_anything_changes(empty_store: Store) -> None:
    migrate(empty_store, [FIRST])
    with pytest.raises(MigrationError, match=r"0001_first\.sql is not the one that was applied"):
        migrate(empty_store, [replace(FIRST, sql=FIRST.sql + " "), SECOND])
    assert empty_store.query("SELECT max(number) FROM schema_migrations").scalar() == 1


def test_a_store_of_a_newer_release_is_refused(empty_store: Store) -> None:
    migrate(empty_store, [FIRST, SECOND])
    with pytest.raises(MigrationError, match=r"newer release .*0002_second .*upgrade trueline"):
        migrate(empty_store, [FIRST])


def test_a_statement_that_fails_is_named_and_the_earlier_ones_stay(empty_store: Store) -> None:
    broken = Migration(3, "broken", "ALTER TABLE missing ADD COLUMN x Int8")
    with pytest.raises(MigrationError, match=r"0003_broken\.sql failed: .*missing"):
        migrate(empty_store, [FIRST, SECOND, broken])
    assert migrate(empty_store, [FIRST, SECOND]) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1_a.sql"], "not named NNNN_name.sql"),
        (["0001_a.sql", "0001_b.sql"], "0001_a.sql and 0001_b.sql have the same number"),
    ],
)
def test_bad_file_names_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match=message):
        read_migrations(tmp_path)


def test_the_shipped_schema_applies_twice(empty_store: Store) -> None:
    shipped = read_migrations()
    assert migrate(empty_store) == shipped
    for migration in shipped:
        empty_store.command(migration.sql)
    assert migrate(empty_store) == []
