"""OTEL_TRACES_EXPORTER=clickhouse and OTEL_LOGS_EXPORTER=clickhouse against the real engine over HTTP."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags
from support.clickhouse_http import serving
from support.monitor_process import PATIENCE, clean_environment

from trueline.instrumentation.clickhouse import inserter
from trueline.instrumentation.clickhouse.logs import ClickHouseLogExporter
from trueline.instrumentation.clickhouse.settings import ClickHouseSettingsError, read_settings
from trueline.instrumentation.clickhouse.spans import ClickHouseSpanExporter
from trueline.instrumentation.losses import EXPORT_FAILED
from trueline.monitor.settings import StoreSettings
from trueline.monitor.store.client import Store, open_store
from trueline.monitor.store.migrate import migrate

SERVICE = Path(__file__).parents[1] / "data" / "processes" / "direct.py"
TLS = Path(__file__).parents[1] / "data" / "tls"
RESOURCE = Resource({"service.name": "direct"})


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("direct")) as url:
        yield url


@pytest.fixture(scope="module")
def migrated(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("unused")
    store = open_store(StoreSettings(folder, clickhouse_url=url, clickhouse_password="pass"))
    migrate(store)
    yield store
    store.close()


@pytest.fixture
def store(migrated: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    for table in ("otel_traces", "otel_logs", "statements"):
        migrated.command(f"TRUNCATE TABLE {table}")
    monkeypatch.setenv("TRUELINE_CLICKHOUSE_URL", url)
    monkeypatch.setenv("TRUELINE_CLICKHOUSE_PASSWORD", "pass")
    return migrated


@pytest.fixture
def exporter() -> Iterator[ClickHouseSpanExporter]:
    exporter = ClickHouseSpanExporter()
    yield exporter
    exporter.shutdown()


def span(number: int) -> ReadableSpan:
    now = time.time_ns()
    context = SpanContext(number, number, False, TraceFlags(1))
    return ReadableSpan("s", context, resource=RESOURCE, start_time=now - 1000, end_time=now)


def misbehave(url: str, how: str) -> list[str]:
    """Make it misbehave at the next insert; the tokens of the inserts so far."""
    with urllib.request.urlopen(f"{url}/misbehave?how={how}", data=b"") as answer:
        tokens: list[str] = json.load(answer)
        return tokens


def stored(store: Store) -> list[int]:
    return [int(row[0], 16) for row in store.query("SELECT SpanId FROM otel_traces ORDER BY SpanId")]


def run_service(url: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SERVICE), *arguments],
        env=clean_environment(
            {
                "OTEL_TRACES_EXPORTER": "clickhouse",
                "OTEL_LOGS_EXPORTER": "clickhouse",
                "TRUELINE_CLICKHOUSE_URL": url,
                "TRUELINE_CLICKHOUSE_PASSWORD": "pass",
                **environment,
            }
        ),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_service_fills_the_tables_and_what_is_made_of_them(store: Store, url: str) -> None:
    """A fork amid it: the child has a connection of its own, nothing is stored twice or by the wrong one."""
    done = run_service(url, "fork", TRUELINE_EXIT_WAIT="60")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "trueline: " not in done.stderr, done.stderr
    writes = store.query(
        "SELECT entry_name, outcome, identity_columns, tables FROM statements "
        "WHERE operation = 'INSERT' ORDER BY started_at"
    ).rows
    assert sorted(row[0] for row in writes) == [
        "job child",
        "job parent",
        "job parent again",
        "job parent at last",
    ]
    assert {row[1] for row in writes} == {"committed"}
    assert {str(row[2:]) for row in writes} == {"(['expenses.user_id'], ['expenses'])"}
    lines = store.query("SELECT Body, TraceId != '' FROM otel_logs WHERE Body LIKE 'written by%'").rows
    assert len(lines) == 4
    assert all(traced for _, traced in lines)
    counts = store.query("SELECT count(), uniqExact(SpanId) FROM otel_traces").rows[0]
    assert counts[0] == counts[1]


def test_an_insert_whose_answer_was_lost_is_repeated_and_stored_once(
    store: Store, url: str, exporter: ClickHouseSpanExporter
) -> None:
    # More often than the driver itself tries.
    before = misbehave(url, "lose")
    misbehave(url, "lose")
    misbehave(url, "lose")
    assert exporter.export([span(1), span(2)]) is SpanExportResult.SUCCESS
    assert stored(store) == [1, 2]
    first, *again = misbehave(url, "none")[len(before) :]
    assert first
    assert again
    assert set(again) == {first}
    assert exporter.losses.total == {}


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_a_server_behind_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its authority is named, or nobody is asked; where nobody vouches for the server nothing is sent."""
    monkeypatch.setenv("TRUELINE_CLICKHOUSE_PASSWORD", "pass")
    with serving(tmp_path / "engine", TLS) as url:
        settings = StoreSettings(
            tmp_path,
            clickhouse_url=url,
            clickhouse_password="pass",
            clickhouse_ca_file=TLS / "certificate.pem",
        )
        store = open_store(settings)
        migrate(store)
        monkeypatch.setenv("TRUELINE_CLICKHOUSE_URL", url)

        def export(number: int, **environment: str) -> SpanExportResult:
            with monkeypatch.context() as context:
                for name, value in environment.items():
                    context.setenv(f"TRUELINE_CLICKHOUSE_{name}", value)
                exporter = ClickHouseSpanExporter()
                try:
                    return exporter.export([span(number)])
                finally:
                    exporter.shutdown()

        monkeypatch.setattr(inserter, "EXPORT_SECONDS", 2.0)
        assert export(1) is SpanExportResult.FAILURE
        assert "is not trusted: name its authority in TRUELINE_CLICKHOUSE_CA_FILE" in caplog.text
        assert export(2, CA_FILE=str(TLS / "certificate.pem")) is SpanExportResult.SUCCESS
        assert export(3, VERIFY="false") is SpanExportResult.SUCCESS
        assert export(4, URL=url.replace("https", "http")) is SpanExportResult.FAILURE
        assert stored(store) == [2, 3]
        store.close()


def test_a_busy_server_is_asked_again(store: Store, url: str, exporter: ClickHouseSpanExporter) -> None:
    misbehave(url, "busy")
    misbehave(url, "busy")
    assert exporter.export([span(3)]) is SpanExportResult.SUCCESS
    assert stored(store) == [3]


def test_equal_batches_are_two_batches(store: Store, exporter: ClickHouseSpanExporter) -> None:
    one = span(4)
    assert exporter.export([one]) is exporter.export([one]) is SpanExportResult.SUCCESS
    assert stored(store) == [4, 4]


def test_a_server_that_is_away_costs_the_batch_and_nothing_else(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inserter, "EXPORT_SECONDS", 1.0)
    monkeypatch.setenv("TRUELINE_CLICKHOUSE_URL", "http://me:s3cret@127.0.0.1:9")
    exporter = ClickHouseSpanExporter()
    with caplog.at_level(logging.WARNING, "trueline"):
        assert exporter.export([span(5), span(6)]) is SpanExportResult.FAILURE
        assert exporter.export([span(7)]) is SpanExportResult.FAILURE
    assert exporter.losses.total == {EXPORT_FAILED: 3}
    [said] = caplog.messages
    assert "http://127.0.0.1:9" in said
    assert "no answer" in said
    assert "s3cret" not in said
    exporter.shutdown()


def test_a_wrong_password_is_said_and_mended_by_its_file(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("wrong\n")
    monkeypatch.delenv("TRUELINE_CLICKHOUSE_PASSWORD")
    monkeypatch.setenv("TRUELINE_CLICKHOUSE_PASSWORD_FILE", str(file))
    exporter = ClickHouseSpanExporter()
    with caplog.at_level(logging.WARNING, "trueline"):
        assert exporter.export([span(8)]) is SpanExportResult.FAILURE
    assert "AUTHENTICATION_FAILED" in caplog.text
    assert "wrong" not in caplog.text
    file.write_text("pass\n")
    assert exporter.export([span(9)]) is SpanExportResult.SUCCESS
    assert stored(store) == [9]
    exporter.shutdown()


def test_the_end_does_not_wait_for_tries(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inserter, "EXPORT_SECONDS", 3600.0)
    monkeypatch.setenv("TRUELINE_CLICKHOUSE_URL", "http://127.0.0.1:9")
    exporter = ClickHouseSpanExporter()
    results: list[SpanExportResult] = []
    thread = threading.Thread(target=lambda: results.append(exporter.export([span(10)])))
    thread.start()
    time.sleep(0.5)
    exporter.shutdown()
    thread.join(PATIENCE)
    assert results == [SpanExportResult.FAILURE]


def test_a_process_ends_though_the_server_never_answers(store: Store, url: str) -> None:
    for _ in range(8):
        misbehave(url, "hang")
    try:
        began = time.monotonic()
        done = run_service(url, TRUELINE_EXIT_WAIT="1")
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - began < 60
        assert "Traceback" not in done.stderr
    finally:
        misbehave(url, "clear")


def test_records_are_stored_or_counted(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = ClickHouseLogExporter()
    record = ReadableLogRecord(LogRecord(timestamp=time.time_ns(), body={"a": [1]}), RESOURCE)
    assert exporter.export([record]) is LogRecordExportResult.SUCCESS
    assert store.query("SELECT Body, ServiceName FROM otel_logs").rows == [('{"a":[1]}', "direct")]
    exporter.shutdown()
    assert exporter.export([record]) is LogRecordExportResult.FAILURE
    assert exporter.dropped == {EXPORT_FAILED: 1}


def test_a_table_without_newer_columns_is_taken_as_it_is(store: Store, url: str) -> None:
    store.command("CREATE DATABASE IF NOT EXISTS older")
    store.command(
        "CREATE TABLE older.otel_logs (Timestamp DateTime64(9), Body String) "
        "ENGINE = MergeTree ORDER BY Timestamp"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRUELINE_CLICKHOUSE_URL", f"{url}/older")
        exporter = ClickHouseLogExporter()
    record = ReadableLogRecord(LogRecord(timestamp=5, body="line"), RESOURCE)
    assert exporter.export([record]) is LogRecordExportResult.SUCCESS
    assert store.query("SELECT Body FROM older.otel_logs").rows == [("line",)]
    exporter.shutdown()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"TRUELINE_CLICKHOUSE_URL": "clickhouse://me:s3cret@h:9000"}, "TRUELINE_CLICKHOUSE_URL"),
        ({"TRUELINE_CLICKHOUSE_URL": "http://me:s3cret@h:99999"}, "TRUELINE_CLICKHOUSE_URL"),
        ({"TRUELINE_CLICKHOUSE_URL": "http://h/a/b"}, "TRUELINE_CLICKHOUSE_URL"),
        ({"TRUELINE_CLICKHOUSE_CA_FILE": "/nowhere/s3cret.pem"}, "TRUELINE_CLICKHOUSE_CA_FILE"),
    ],
)
def test_what_has_no_meaning_is_said_and_costs_the_telemetry_only(
    variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.WARNING, "trueline"):
        exporter = ClickHouseSpanExporter()
    assert said in caplog.text
    assert "s3cret" not in caplog.text
    assert exporter.export([span(11)]) is SpanExportResult.FAILURE
    assert exporter.losses.total == {EXPORT_FAILED: 1}


def test_settings() -> None:
    full = read_settings({"TRUELINE_CLICKHOUSE_URL": "https://me:s%40crt@ch.example/my_db"})
    assert (full.endpoint, full.database) == ("https://ch.example:8443", "my_db")
    assert (full.user, full.read_password()) == ("me", "s@crt")
    assert "crt" not in repr(full)
    assert read_settings({}).endpoint == "http://localhost:8123"
    missing = read_settings({"TRUELINE_CLICKHOUSE_PASSWORD_FILE": "/nowhere"})
    with pytest.raises(ClickHouseSettingsError, match="PASSWORD_FILE"):
        missing.read_password()


def test_nothing_of_it_is_loaded_unless_it_is_chosen() -> None:
    program = (
        "import sys; from trueline.instrumentation import instrument; instrument('x')\n"
        "print([name for name in sys.modules if 'clickhouse' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment({"TRUELINE_EXIT_WAIT": "0", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stdout.strip() == "[]"
