"""The store's client on the real embedded engine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from trueline.monitor.errors import DataRefusedError, QueryError, SettingsError, StoreError
from trueline.monitor.settings import StoreSettings
from trueline.monitor.store.client import Limits, Store, open_store

NANOSECONDS = 1_763_636_000_123_456_789
MOMENT = datetime(2025, 11, 20, 10, 53, 20, 123456, tzinfo=UTC)


@pytest.fixture
def table(empty_store: Store) -> Store:
    empty_store.command(
        "CREATE TABLE t (at DateTime64(9), seen DateTime64(3) DEFAULT now64(3), "
        "tags Map(LowCardinality(String), String), n Int64, e Nested(at DateTime64(9), name String)) "
        "ENGINE = MergeTree ORDER BY at"
    )
    return empty_store


def test_rows_go_in_as_columns_and_come_back(table: Store) -> None:
    table.insert(
        "t",
        {
            "at": [NANOSECONDS, NANOSECONDS + 1],
            "tags": [{"k": "v <&>"}, {}],
            "e.at": [[NANOSECONDS], []],
            "e.name": [["x"], []],
        },
    )
    rows = table.query("SELECT *, toUnixTimestamp64Nano(at) AS ns FROM t ORDER BY at").dicts()
    assert [row["ns"] for row in rows] == [NANOSECONDS, NANOSECONDS + 1]
    assert rows[0]["at"] == MOMENT
    assert rows[0]["at"].tzinfo is not None
    assert rows[0]["tags"] == {"k": "v <&>"}
    assert rows[0]["e.at"] == [MOMENT]
    assert abs(rows[0]["seen"] - datetime.now(UTC)) < timedelta(minutes=5)
    assert table.query("SELECT count() FROM t").scalar() == 2


def test_parameters_are_bound_by_the_engine_and_times_mean_utc(table: Store) -> None:
    tokyo = MOMENT.astimezone(timezone(timedelta(hours=9)))
    row = table.query(
        "SELECT toString({t:DateTime64(6)}) AS t, {s:String} AS s, {a:Array(DateTime64(3))} AS a, '%d' AS p",
        {"t": tokyo, "s": "a'b\\c {x:String}", "a": [tokyo], "unused": 1},
    ).dicts()[0]
    assert row["t"] == "2025-11-20 10:53:20.123456"
    assert row["s"] == "a'b\\c {x:String}"
    assert row["a"] == [MOMENT.replace(microsecond=123000)]
    assert table.query("SELECT 'a' LIKE '%a%'", {"unused": 1}).scalar() == 1


def test_times_do_not_depend_on_the_zone_of_the_process(tmp_path: Path) -> None:
    script = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from trueline.monitor.settings import StoreSettings
from trueline.monitor.store.client import open_store
store = open_store(StoreSettings(data_dir=Path(sys.argv[1])))
columns = "at DateTime64(9), seen DateTime64(3) DEFAULT now64(3)"
store.command(f"CREATE TABLE t ({columns}) ENGINE = MergeTree ORDER BY at")
now = datetime.now(UTC)
store.insert("t", {"at": [now]})
stored, seen, text = store.query("SELECT at, seen, toString(at) FROM t").rows[0]
assert stored == now and stored.utcoffset().total_seconds() == 0, (stored, now)
assert abs((seen - now).total_seconds()) < 300, (seen, now)
assert text.startswith(now.strftime("%Y-%m-%d %H:%M:%S.%f")), text
assert store.query("SELECT count() FROM t WHERE at = {now:DateTime64(6)}", {"now": now}).scalar() == 1
store.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("sql", "limit"),
    [
        ("SELECT number FROM numbers(11)", "rows"),
        ("SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1", "time"),
        ("SELECT length(groupArray(number)) FROM numbers(100000000)", "memory"),
    ],
)
def test_each_limit_is_an_error_that_names_it(empty_store: Store, sql: str, limit: str) -> None:
    limits = Limits(seconds=1 if limit == "time" else 60, memory_bytes=100 << 20, rows=10)
    with pytest.raises(QueryError, match=f"limit of {limit}") as caught:
        empty_store.query_read_only(sql, limits=limits)
    assert caught.value.limit == limit
    assert "version" not in str(caught.value)
    assert len(empty_store.query_read_only("SELECT number FROM numbers(10)", limits=limits)) == 10


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t (n) VALUES (1)",
        "DROP TABLE t",
        "CREATE TABLE u (n Int8) ENGINE = Memory",
        "ALTER TABLE t DELETE WHERE 1",
        "SELECT 1 SETTINGS max_execution_time = 0",
        "SET readonly = 0",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
    ],
)
def test_a_read_only_query_can_change_and_reach_nothing(table: Store, sql: str) -> None:
    table.insert("t", {"n": [7]})
    with pytest.raises(QueryError, match="READONLY"):
        table.query_read_only(sql)
    assert table.query_read_only("SELECT n FROM t").rows == [(7,)]


def test_a_wrong_query_says_what_is_wrong(table: Store) -> None:
    with pytest.raises(QueryError, match=r"Unknown expression identifier `nope`") as caught:
        table.query("SELECT nope FROM t")
    assert caught.value.limit is None
    assert "Code:" not in str(caught.value)
    with pytest.raises(QueryError, match="UNKNOWN_QUERY_PARAMETER"):
        table.query("SELECT {a:UInt8}")


@pytest.mark.parametrize(
    "columns",
    [
        {"n": [2**63]},
        {"n": ["text"]},
        {"at": ["not a time"]},
        {"tags": ["not a map"]},
        {"tags": [{"k": 3}]},
        {"tags": [{"k": "\ud800"}]},
        {"no_such_column": [1]},
    ],
)
def test_rows_that_cannot_be_stored_are_refused(table: Store, columns: dict[str, list[object]]) -> None:
    with pytest.raises(DataRefusedError):
        table.insert("t", columns)
    table.insert("t", {"n": [1]})
    assert table.query("SELECT count() FROM t").scalar() == 1


def test_columns_of_unequal_length_are_a_mistake_of_the_caller(table: Store) -> None:
    with pytest.raises(ValueError, match="unequal length"):
        table.insert("t", {"n": [1, 2], "at": [1]})
    table.insert("t", {"n": []})
    table.insert("t", {})
    assert table.query("SELECT count() FROM t").scalar() == 0


def test_a_changed_table_is_noticed(table: Store) -> None:
    table.insert("t", {"n": [1]})
    table.command("ALTER TABLE t ADD COLUMN later String")
    table.insert("t", {"n": [2], "later": ["x"]})
    assert table.query("SELECT later FROM t ORDER BY n").rows == [("",), ("x",)]


def test_many_threads_write_and_read_at_once(table: Store) -> None:
    failures: list[BaseException] = []

    def work(start: int) -> None:
        try:
            for number in range(start, start + 20):
                table.insert("t", {"n": [number]})
                assert table.query("SELECT count() FROM t WHERE n = {n:Int64}", {"n": number}).scalar() == 1
                assert table.query_read_only("SELECT 1").scalar() == 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 240, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert table.query("SELECT uniqExact(n) FROM t").scalar() == 240


def test_two_stores_on_one_folder_see_their_own_database(store_folder: Path, table: Store) -> None:
    other = open_store(StoreSettings(data_dir=store_folder, database="another"))
    try:
        assert other.query("SELECT currentDatabase()").scalar() == "another"
        with pytest.raises(QueryError, match="UNKNOWN_TABLE"):
            other.query("SELECT * FROM t")
    finally:
        other.command("DROP DATABASE another")
        other.close()
    assert table.query("SELECT currentDatabase()").scalar() == table.database


def test_a_closed_store_says_so(store_folder: Path) -> None:
    store = open_store(StoreSettings(data_dir=store_folder, database="closed"))
    store.command("DROP DATABASE closed")
    store.close()
    store.close()
    with pytest.raises(StoreError, match="has been closed"):
        store.query("SELECT 1")


@pytest.mark.parametrize("name", ["", "a b", "1st", "a`; DROP DATABASE x", "x" * 64])
def test_a_name_that_cannot_be_a_database_is_refused(store_folder: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be a database's name"):
        open_store(StoreSettings(data_dir=store_folder, database=name))


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be made \(Not a directory\).*--data-dir"):
        open_store(StoreSettings(data_dir=tmp_path / "file" / "store"))


def test_a_forked_child_is_told_instead_of_hanging(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from trueline.monitor.errors import StoreError
from trueline.monitor.settings import StoreSettings
from trueline.monitor.store.client import open_store
store = open_store(StoreSettings(data_dir=Path(sys.argv[1])))
child = os.fork()
if child == 0:
    signal.alarm(20)
    try:
        store.query("SELECT 1")
    except StoreError as error:
        os._exit(7 if "forked" in str(error) else 1)
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert store.query("SELECT 1").scalar() == 1
store.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
