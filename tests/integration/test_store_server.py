"""A ClickHouse server: its address, and the same client over its HTTP interface."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.clickhouse_http import serving
from support.monitor_process import MonitorProcess
from support.otlp import PROTOBUF, trace_request

from trueline.monitor.errors import (
    DataRefusedError,
    QueryError,
    SettingsError,
    StoreError,
    StoreUnavailableError,
)
from trueline.monitor.settings import StoreSettings
from trueline.monitor.store.client import Limits, Store, open_store
from trueline.monitor.store.journal import FOLDER
from trueline.monitor.store.server import parse_url

TLS = Path(__file__).parents[1] / "data" / "tls"


def test_a_full_url() -> None:
    address = parse_url("https://me:s%40crt@ch.example:9443/my_db")
    assert (address.secure, address.host, address.port) == (True, "ch.example", 9443)
    assert (address.user, address.password, address.database) == ("me", "s@crt", "my_db")
    assert address.description == "https://ch.example:9443"
    assert "crt" not in repr(address)


@pytest.mark.parametrize(
    ("url", "description"),
    [
        ("http://ch", "http://ch:8123"),
        ("https://ch/", "https://ch:8443"),
        ("http://[::1]:1/db", "http://[::1]:1"),
    ],
)
def test_the_usual_ports_are_filled_in(url: str, description: str) -> None:
    assert parse_url(url).description == description


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("clickhouse://localhost:9000", "has the scheme clickhouse"),
        ("localhost:8123", "has the scheme localhost"),
        ("ch", "has the scheme none"),
        ("http://", "names no host"),
        ("http://host:port/", "cannot be read"),
        ("http://host:99999/", "cannot be read"),
        ("http://host/a/b", "more than a database in its path"),
        ("http://host/db?user=x", "must not have a query"),
    ],
)
def test_anything_else_is_refused_with_an_example(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        parse_url(url)
    assert "http://host:8123/database" in str(caught.value)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.fixture
def store(server: str, tmp_path: Path) -> Iterator[Store]:
    settings = StoreSettings(tmp_path, clickhouse_url=f"{server}/some_db", clickhouse_password="pass")
    store = open_store(settings)
    store.command(
        "CREATE OR REPLACE TABLE t (at DateTime64(9), tags Map(LowCardinality(String), String), n Int64) "
        "ENGINE = MergeTree ORDER BY at"
    )
    yield store
    store.close()


def test_the_same_client_over_http(store: Store, server: str) -> None:
    assert (store.database, store.description) == ("some_db", server)
    moment = datetime(2025, 11, 20, 10, 53, 20, 123456, tzinfo=UTC)
    store.insert("t", {"at": [moment], "tags": [{"k": "v"}], "n": [1]})
    store.insert("t", {"at": [1_763_636_000_123_456_789], "tags": [{}], "n": [2]})
    rows = store.query("SELECT at, tags, toUnixTimestamp64Nano(at) AS ns FROM t ORDER BY at").dicts()
    assert rows[0] == {"at": moment, "tags": {"k": "v"}, "ns": 1_763_636_000_123_456_000}
    assert rows[1]["ns"] == 1_763_636_000_123_456_789
    bound = store.query("SELECT n FROM t WHERE at = {at:DateTime64(6)}", {"at": moment, "unused": 1})
    assert bound.rows == [(1,)]


def test_limits_and_refusals_over_http(store: Store) -> None:
    limits = Limits(seconds=1, memory_bytes=100 << 20, rows=10)
    endless = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"
    for sql, limit in (("SELECT number FROM numbers(11)", "rows"), (endless, "time")):
        with pytest.raises(QueryError, match=f"limit of {limit}") as caught:
            store.query_read_only(sql, limits=limits)
        assert caught.value.limit == limit
    for sql in ("DROP TABLE t", "INSERT INTO t (n) VALUES (1)", "SELECT 1 SETTINGS max_execution_time = 0"):
        with pytest.raises(QueryError, match="READONLY"):
            store.query_read_only(sql)
    with pytest.raises(QueryError, match=r"^Unknown expression identifier `nope`"):
        store.query("SELECT nope FROM t")
    with pytest.raises(DataRefusedError):
        store.insert("t", {"n": [2**63]})
    assert store.query("SELECT count() FROM t").scalar() == 0


def test_a_wrong_password(server: str, tmp_path: Path) -> None:
    settings = StoreSettings(tmp_path, clickhouse_url=server, clickhouse_password="wrong")
    with pytest.raises(StoreError, match=r"refused the user 'default' or its password.*PASSWORD"):
        open_store(settings)


def test_a_server_behind_tls(tmp_path: Path) -> None:
    """Its authority is named, or nobody's word is asked; a certificate that nobody vouches for is refused."""
    with serving(tmp_path / "engine", str(TLS)) as url:
        assert url.startswith("https://")

        def ask(**options: Any) -> Any:
            settings = StoreSettings(tmp_path, clickhouse_url=url, clickhouse_password="pass", **options)
            store = open_store(settings)
            try:
                return store.query("SELECT 40 + 2").scalar()
            finally:
                store.close()

        with pytest.raises(
            StoreError, match=r"is not trusted: name its authority with TRUELINE_CLICKHOUSE_CA_FILE"
        ):
            ask()
        assert ask(clickhouse_ca_file=TLS / "certificate.pem") == 42
        assert ask(clickhouse_verify=False) == 42
        with pytest.raises(SettingsError, match="cannot be read: check TRUELINE_CLICKHOUSE_CA_FILE"):
            ask(clickhouse_ca_file=tmp_path / "nothing.pem")
        with pytest.raises(StoreUnavailableError, match="No ClickHouse answers"):
            open_store(StoreSettings(tmp_path, clickhouse_url=url.replace("https", "http")))


def test_the_monitor_on_a_server(server: str, tmp_path: Path) -> None:
    monitor = MonitorProcess(
        tmp_path / "unused",
        *["--clickhouse-url", f"{server}/monitor_db"],
        environment={"TRUELINE_CLICKHOUSE_PASSWORD": "pass"},
    )
    body = trace_request(bytes(range(16))).SerializeToString()
    assert monitor.http.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 200
    assert len(monitor.trace(bytes(range(16)).hex())) == 1
    assert monitor.http.get("/readyz").status_code == 200
    assert server in monitor.next_line()
    assert monitor.end() == 0
    assert monitor.log.read_text() == ""
    assert [path.name for path in (tmp_path / "unused").iterdir()] == [FOLDER], "only the journal"
