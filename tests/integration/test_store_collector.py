"""Tables that the Collector's ClickHouse exporter made are taken as they are, and their rows feed everything.

The columns are those of its published DDL (exporter/clickhouseexporter/internal/sqltemplates), kept as data
in trueline.monitor.store.collector; its key and partitions are repeated here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from trueline.monitor.errors import MigrationError
from trueline.monitor.store.client import Store
from trueline.monitor.store.collector import LOGS, TRACES, adopt
from trueline.monitor.store.migrate import migrate

NOW = datetime.now(UTC).replace(microsecond=0)
NOW_NS = int(NOW.timestamp()) * 10**9
STATEMENT = {
    "trueline.statement.kind": "write",
    "trueline.statement.tables": '["expenses"]',
    "trueline.identity.columns": '["expenses.user_id"]',
    "trueline.identity.clauses": '["set"]',
    "trueline.identity.encodings": '["integer"]',
    "trueline.identity.values": '["0123456789abcdef0123456789abcdef"]',
    "trueline.identity.domains": '["user"]',
    "trueline.transaction.outcome": "committed",
    "trueline.database.fingerprint": "feedfacefeedface",
}
TRACES_END = (
    "ENGINE = MergeTree PARTITION BY toDate(Timestamp)"
    " PRIMARY KEY (ServiceName, SpanName, toDateTime(Timestamp))"
    " ORDER BY (ServiceName, SpanName, toDateTime(Timestamp), Timestamp) SETTINGS ttl_only_drop_parts = 1"
)
LOGS_END = (
    "ENGINE = MergeTree PARTITION BY toDate(Timestamp)"
    " ORDER BY (toStartOfFiveMinutes(Timestamp), ServiceName, Timestamp) SETTINGS ttl_only_drop_parts = 1"
)


def create(store: Store, table: str, columns: dict[str, str], end: str) -> None:
    body = ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
    store.command(f"CREATE TABLE {table} ({body}) {end}")


def insert(store: Store, table: str, columns: dict[str, str], **values: Any) -> None:
    """As the exporter inserts: its own columns, every one of them, none of ours."""
    empty: dict[str, Any] = {"Map": {}, "Arr": [], "UIn": 0, "Dat": NOW_NS}
    row = {name: empty.get(kind[:3], "") for name, kind in columns.items()} | values
    store.insert(table, {name: [value] for name, value in row.items()})


def test_our_own_tables_have_the_exporters_columns_and_types(store: Store) -> None:
    for table, columns in (("otel_traces", TRACES), ("otel_logs", LOGS)):
        ours = {name: kind for name, kind, *_ in store.query(f"DESCRIBE TABLE {table}")}
        assert {name: ours.pop(name, None) for name in columns} == columns
        assert list(ours) == ["received_at", "request_hash"]


def test_the_collectors_rows_feed_everything(empty_store: Store) -> None:
    store = empty_store
    create(store, "otel_traces", TRACES, TRACES_END)
    create(store, "otel_logs", {name: kind for name, kind in LOGS.items() if name != "EventName"}, LOGS_END)
    before = {
        "TraceId": "0AF7651916CD43DD8448EB211C80319C",
        "SpanId": "A1",
        "Timestamp": NOW_NS - 86_400 * 10**9,
    }
    insert(store, "otel_traces", TRACES, **before)
    migrate(store)
    assert migrate(store) == []

    key = store.query(
        "SELECT sorting_key FROM system.tables WHERE database = currentDatabase() AND name = 'otel_traces'"
    ).scalar()
    assert key.startswith("ServiceName, SpanName")
    old = "SELECT received_at = toDateTime64(Timestamp, 3), request_hash = toFixedString('', 16)"
    assert store.query(f"{old} FROM otel_traces").rows == [(1, 1)]

    resource = {"service.name": "web", "deployment.environment": "prod"}
    common: dict[str, Any] = {
        "TraceId": "0AF7651916CD43DD8448EB211C80319C",
        "ServiceName": "web",
        "ResourceAttributes": resource,
        "Duration": 5_000_000,
        "StatusCode": "STATUS_CODE_UNSET",
    }
    insert(
        store,
        "otel_traces",
        TRACES,
        **common,
        SpanId="B7AD6B7169203331",
        ParentSpanId="00F067AA0BA902B7",
        SpanKind="SPAN_KIND_CLIENT",
        SpanAttributes=STATEMENT,
    )
    insert(
        store,
        "otel_traces",
        TRACES,
        **(common | {"StatusCode": "STATUS_CODE_ERROR"}),
        SpanId="00F067AA0BA902B7",
        SpanKind="SPAN_KIND_SERVER",
        SpanAttributes={"http.response.status_code": "500"},
        **{
            "Events.Timestamp": [NOW_NS, NOW_NS],
            "Events.Name": ["exception", "other"],
            "Events.Attributes": [{"exception.type": "ValueError", "exception.message": "no"}, {}],
        },
    )
    insert(
        store,
        "otel_logs",
        LOGS,
        ServiceName="web",
        ResourceAttributes=resource,
        LogAttributes={"exception.type": "KeyError", "event.name": "x"},
    )
    statement = store.query("SELECT * FROM statements_resolved").dicts()[0]
    assert (statement["trace_id"], statement["span_id"]) == (common["TraceId"].lower(), "b7ad6b7169203331")
    assert (statement["span_kind"], statement["status"]) == ("client", "unset")
    assert (statement["started_at"], statement["environment"]) == (NOW, "prod")
    entry = store.query("SELECT * FROM entries").dicts()[0]
    assert (entry["span_kind"], entry["status"], entry["failed"]) == ("server", "error", True)
    for view, count in (("identity_uses", 1), ("access", 1), ("databases", 1)):
        assert store.query(f"SELECT count() FROM {view}").scalar() == count, view
    exceptions = store.query(
        "SELECT source, exception_type, environment FROM exceptions ORDER BY source"
    ).rows
    assert exceptions == [("log", "KeyError", "prod"), ("span", "ValueError", "prod")]
    arrived = "countIf(abs(dateDiff('second', received_at, now64(3))) < 3600)"
    assert store.query(f"SELECT {arrived}, count() FROM otel_traces").rows == [(2, 3)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"SpanAttributes": "JSON"},
            "its column SpanAttributes has the type JSON.*json: true is not supported",
        ),
        ({"Duration": None}, "its column Duration is missing.*--database"),
        ({"TraceId": "UUID"}, "its column TraceId has the type UUID, not String"),
    ],
)
def test_another_table_of_that_name_is_refused(
    empty_store: Store, change: dict[str, str | None], said: str
) -> None:
    columns = {name: change.get(name, kind) for name, kind in TRACES.items()}
    create(empty_store, "otel_traces", {name: kind for name, kind in columns.items() if kind}, TRACES_END)
    with pytest.raises(MigrationError, match=said):
        migrate(empty_store)
    tables = {name for (name,) in empty_store.query("SHOW TABLES")}
    assert tables == {"otel_traces", "schema_migrations"}


def test_nothing_is_added_to_our_own_tables(store: Store) -> None:
    assert adopt(store) == []
