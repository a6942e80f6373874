"""Migrations on the real embedded engine."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from support.store_fixtures import settings_of
from support.telemetry import insert_telemetry

from trueline.monitor.errors import MigrationError
from trueline.monitor.store.client import Store, open_store
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


def structure(store: Store) -> list[tuple[str, ...]]:
    """Every column of every table and view, and what tables and views are made of."""
    columns = store.query(
        "SELECT table, name, type, default_expression, compression_codec FROM system.columns"
        " WHERE database = currentDatabase() ORDER BY table, position"
    ).rows
    made = store.query(
        "SELECT name, replaceAll(create_table_query, currentDatabase(), 'here') FROM system.tables"
        " WHERE database = currentDatabase() ORDER BY name"
    ).rows
    return [*columns, *made]


def insert_what_there_is(store: Store) -> None:
    """A row into each table that exists so far."""
    tables = {name for (name,) in store.query("SHOW TABLES")}
    if "otel_traces" in tables:
        store.insert("otel_traces", {"Timestamp": [1_763_636_000 * 10**9], "TraceId": ["a1"]})
    if "statements" in tables:
        insert_telemetry(store, statements=[{"write": "t", "ids": ["t.user_id set integer user:u1"]}])
    if "transactions" in tables:
        insert_telemetry(store, transactions=[{"outcome": "committed", "open_statements": 1}])


SHIPPED = read_migrations()
#: Each number in the nightly run; every seventh otherwise, since each state costs a second or more.
STATES = [
    pytest.param(number, marks=[] if number % 7 == 0 else [pytest.mark.nightly])
    for number in range(len(SHIPPED))
]


@pytest.mark.parametrize("applied", STATES)
def test_an_upgrade_from_every_earlier_state_keeps_the_rows(
    empty_store: Store, shared_store: Store, applied: int
) -> None:
    migrate(empty_store, SHIPPED[:applied])
    insert_what_there_is(empty_store)
    counts = (
        "SELECT name, total_rows FROM system.tables WHERE database = currentDatabase() AND total_rows > 0"
    )
    before = {name: rows for name, rows in empty_store.query(counts) if name != "schema_migrations"}
    assert migrate(empty_store) == SHIPPED[applied:]
    after = dict(empty_store.query(counts).rows)
    assert {name: after.get(name) for name in before} == before
    fresh = [row for row in structure(shared_store) if row[0] != "schema_migrations"]
    assert [row for row in structure(empty_store) if row[0] != "schema_migrations"] == fresh
    insert_what_there_is(empty_store)
    assert empty_store.query("SELECT sum(uses) FROM access").scalar() >= 1


def test_two_may_migrate_at_once(empty_store: Store, store_folder: Path) -> None:
    other = open_store(replace(settings_of(store_folder, ""), database=empty_store.database))
    failures: list[BaseException] = []
    together = threading.Barrier(2)

    def run(store: Store) -> None:
        try:
            together.wait(60)
            migrate(store)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(store,)) for store in (empty_store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert not failures
    assert migrate(empty_store) == []
    assert empty_store.query("SELECT uniqExact(number) FROM schema_migrations").scalar() == len(SHIPPED)
