"""Raw spans and logs become typed rows, in whatever spelling and order they come."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.telemetry import insert_telemetry

from trueline.monitor.store.client import Store

NOW = datetime.now(UTC).replace(microsecond=0)
NOW_NS = int(NOW.timestamp()) * 10**9


def insert_span(store: Store, attributes: Mapping[str, str] | None = None, **columns: Any) -> None:
    row: dict[str, Any] = {
        "Timestamp": NOW_NS,
        "TraceId": "0af7651916cd43dd8448eb211c80319c",
        "SpanId": "b7ad6b7169203331",
        "ParentSpanId": "00f067aa0ba902b7",
        "SpanName": "span",
        "SpanKind": "Client",
        "ServiceName": "web",
        "ResourceAttributes": {"service.name": "web"},
        "SpanAttributes": dict(attributes or {}),
        "Duration": 5_000_000,
        "StatusCode": "Unset",
        "StatusMessage": "",
    } | columns
    store.insert("otel_traces", {name: [value] for name, value in row.items()})


def one(store: Store, table: str) -> dict[str, Any]:
    rows = store.query(f"SELECT * FROM {table}").dicts()
    assert len(rows) == 1, rows
    return rows[0]


STATEMENT = {
    "trueline.statement.kind": "write",
    "trueline.statement.tables": '["expenses"]',
    "trueline.statement.rows": "2",
    "trueline.identity.columns": '["expenses.user_id"]',
    "trueline.identity.clauses": '["set"]',
    "trueline.identity.encodings": '["integer"]',
    "trueline.identity.values": '["0123456789abcdef0123456789abcdef"]',
    "trueline.identity.domains": '["user"]',
    "trueline.transaction.id": "00000000000000aa",
    "trueline.transaction.outcome": "committed",
    "trueline.transaction.autocommit": "true",
    "trueline.database.fingerprint": "feedfacefeedface",
    "trueline.database.fingerprints": '["system_identifier:feedfacefeedface"]',
    "db.system.name": "postgresql",
}


def test_a_statement_span_becomes_a_row(store: Store) -> None:
    insert_span(
        store,
        STATEMENT,
        ResourceAttributes={
            "service.name": "web",
            "service.namespace": "shop",
            "service.version": "1.2",
            "deployment.environment.name": "prod",
            "trueline.process.kind": "web",
        },
    )
    row = one(store, "statements")
    assert row["started_at"] == NOW
    assert row["ended_at"] == NOW + timedelta(milliseconds=5)
    assert (row["environment"], row["application"], row["service"]) == ("prod", "shop", "web")
    assert (row["version"], row["process_kind"]) == ("1.2", "web")
    assert (row["kind"], row["tables"], row["rows"]) == ("write", ["expenses"], 2)
    assert (row["outcome"], row["autocommit"], row["status"]) == ("committed", True, "unset")
    assert row["database_rungs"] == ["system_identifier:feedfacefeedface"]
    assert store.query("SELECT count() FROM entries").scalar() == 0
    assert store.query("SELECT count() FROM transactions").scalar() == 0
    use = one(store, "identity_uses")
    assert (use["table"], use["column"], use["access"]) == ("expenses", "expenses.user_id", "write")
    assert (use["identity"], use["domain"]) == ("0123456789abcdef0123456789abcdef", "user")
    assert use["set_keys"] == ["expenses.user_id integer"]


def test_missing_attributes_have_their_missing_values(store: Store) -> None:
    insert_span(store, {"trueline.statement.kind": "read"})
    row = one(store, "statements")
    assert (row["rows"], row["environment"], row["application"]) == (-1, "unset", "")
    assert (row["tables"], row["autocommit"], row["batch_size"]) == ([], False, 0)


@pytest.mark.parametrize(
    ("older", "column", "value"),
    [
        ("db.system", "db_system", "mysql"),
        ("db.name", "db_namespace", "shop"),
        ("net.peer.name", "server_address", "db"),
    ],
)
def test_older_names_fill_the_same_column(store: Store, older: str, column: str, value: str) -> None:
    insert_span(store, {"trueline.statement.kind": "read", older: value})
    assert one(store, "statements")[column] == value


def test_the_stable_name_wins_over_the_older_one(store: Store) -> None:
    insert_span(
        store, {"trueline.statement.kind": "read", "db.system": "other_sql", "db.system.name": "sqlite"}
    )
    assert one(store, "statements")["db_system"] == "sqlite"


@pytest.mark.parametrize(
    ("kind", "code", "span_kind", "status"),
    [
        ("Server", "Error", "server", "error"),
        ("SPAN_KIND_SERVER", "STATUS_CODE_ERROR", "server", "error"),
        ("SPAN_KIND_CONSUMER", "STATUS_CODE_OK", "consumer", "ok"),
        ("Consumer", "Ok", "consumer", "ok"),
    ],
)
def test_both_spellings_of_kind_and_status(
    store: Store, kind: str, code: str, span_kind: str, status: str
) -> None:
    insert_span(store, {"http.response.status_code": "200"}, SpanKind=kind, StatusCode=code)
    row = one(store, "entries")
    assert (row["span_kind"], row["status"], row["failed"]) == (span_kind, status, status == "error")
    assert row["http_status"] == 200


def test_a_local_root_is_an_entry_and_an_inner_span_is_none(store: Store) -> None:
    insert_span(store, SpanKind="Internal")
    assert store.query("SELECT count() FROM entries").scalar() == 0
    insert_span(store, SpanKind="Internal", ParentSpanId="")
    assert one(store, "entries")["parent_span_id"] == ""


def test_a_transaction_span_is_no_statement(store: Store) -> None:
    insert_span(
        store,
        {
            "trueline.transaction.id": "00000000000000aa",
            "trueline.transaction.outcome": "rolled_back",
            "trueline.transaction.reason": "exception",
            "trueline.transaction.error_chain": '["app.A","openai.\\u003cB\\u003e"]',
            "trueline.transaction.ai.wait_ms": "12.5",
            "trueline.transaction.writes": "3",
        },
        SpanKind="Internal",
    )
    row = one(store, "transactions")
    assert (row["outcome"], row["reason"], row["writes"]) == ("rolled_back", "exception", 3)
    assert row["error_chain"] == ["app.A", "openai.<B>"]
    assert row["ai_wait_ms"] == 12.5
    assert store.query("SELECT count() FROM statements").scalar() == 0


@pytest.mark.parametrize(
    ("attributes", "kind", "expected"),
    [
        ({"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}, "Client", ("chat", "m")),
        ({"gen_ai.system": "openai"}, "Internal", ("", "")),
        ({"openinference.span.kind": "LLM", "llm.model_name": "m"}, "Internal", ("LLM", "m")),
        ({"llm.request.type": "completion"}, "Client", ("completion", "")),
        ({"http.request.method": "POST", "server.address": "api.openai.com"}, "Client", ("", "")),
        (
            {"http.method": "POST", "http.url": "https://api.anthropic.com/v1/messages"},
            "SPAN_KIND_CLIENT",
            ("", ""),
        ),
        ({"http.request.method": "POST", "server.address": "my-llm.openai.azure.com"}, "Client", ("", "")),
    ],
)
def test_ai_calls_of_every_convention(
    store: Store, attributes: dict[str, str], kind: str, expected: tuple[str, str]
) -> None:
    insert_span(store, attributes, SpanKind=kind)
    row = one(store, "ai_calls")
    assert (row["operation"], row["model"], row["failed"]) == (*expected, False)


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"gen_ai.operation.name": "execute_tool", "gen_ai.system": "openai"}, "Internal"),
        ({"gen_ai.operation.name": "invoke_agent"}, "Internal"),
        ({"openinference.span.kind": "TOOL"}, "Internal"),
        ({"http.request.method": "POST", "server.address": "api.openai.com.example.org"}, "Client"),
        ({"http.request.method": "POST", "server.address": "api.openai.com"}, "Server"),
        ({"trueline.statement.kind": "write", "gen_ai.system": "openai"}, "Client"),
    ],
)
def test_what_is_no_call_of_a_model(store: Store, attributes: dict[str, str], kind: str) -> None:
    insert_span(store, attributes, SpanKind=kind)
    assert store.query("SELECT count() FROM ai_calls").scalar() == 0


@pytest.mark.parametrize(
    ("attributes", "columns"),
    [
        ({}, {"StatusCode": "STATUS_CODE_ERROR"}),
        ({"error.type": "timeout"}, {}),
        ({"http.response.status_code": "429"}, {}),
        ({"gen_ai.response.finish_reasons": '["stop","content_filter"]'}, {}),
        (
            {},
            {
                "Events.Timestamp": [NOW_NS],
                "Events.Name": ["exception"],
                "Events.Attributes": [{"exception.type": "openai.APIError", "exception.message": "no"}],
            },
        ),
    ],
)
def test_ways_in_which_an_ai_call_fails(
    store: Store, attributes: dict[str, str], columns: dict[str, Any]
) -> None:
    insert_span(store, {"gen_ai.operation.name": "chat", **attributes}, **columns)
    row = one(store, "ai_calls")
    assert row["failed"] is True
    if "Events.Name" in columns:
        assert (row["exception_type"], row["exception_message"]) == ("openai.APIError", "no")


@pytest.mark.parametrize(
    "hostile",
    [
        {"trueline.statement.tables": '["unterminated'},
        {"trueline.statement.tables": "expenses"},
        {"trueline.statement.tables": '{"a": 1}'},
        {"trueline.statement.tables": json.dumps([1, [2], None])},
        {"trueline.statement.rows": "many"},
        {"trueline.statement.rows": "9" * 40},
        {"trueline.identity.columns": '["a.b","c.d"]', "trueline.identity.values": '["x"]'},
        {"trueline.identity.bound": '["nocolon",":","user:"]', "trueline.statement.tables": "[]"},
        {"http.response.status_code": "-1e99"},
    ],
)
def test_nothing_that_a_client_sends_makes_a_view_fail(store: Store, hostile: dict[str, str]) -> None:
    insert_span(store, {"trueline.statement.kind": "write", **hostile})
    insert_span(
        store, {"gen_ai.system": "x", "trueline.transaction.outcome": "open", **hostile}, SpanKind="Server"
    )
    assert store.query("SELECT count() FROM statements").scalar() == 1
    assert store.query("SELECT count() FROM entries").scalar() == 1


@pytest.mark.parametrize("timestamp", [0, 1, 2**63 - 1, -(2**61)])
@pytest.mark.parametrize("duration", [0, 2**64 - 1])
def test_no_clock_makes_a_view_fail(store: Store, timestamp: int, duration: int) -> None:
    insert_span(store, STATEMENT, Timestamp=timestamp, Duration=duration)
    assert store.query("SELECT count() FROM statements").scalar() == 1


def test_databases_from_statements_and_from_the_first_connection(store: Store) -> None:
    for attributes in (STATEMENT, {**STATEMENT, "trueline.statement.kind": "read"}):
        insert_span(store, attributes)
    row = one(store, "databases")
    assert (row["database"], row["reads"], row["writes"]) == ("feedfacefeedface", 1, 1)
    assert row["database_rungs"] == ["system_identifier:feedfacefeedface"]

    log = {
        "Timestamp": NOW_NS,
        "ServiceName": "worker",
        "EventName": "trueline.database.connected",
        "ResourceAttributes": {"deployment.environment": "prod", "trueline.process.kind": "worker"},
        "LogAttributes": {
            "trueline.database.fingerprint": "0123456789abcdef",
            "trueline.database.fingerprints": '["file:0123456789abcdef"]',
            "trueline.database.url_variable": "DATABASE_URL",
        },
    }
    store.insert("otel_logs", {name: [value] for name, value in log.items()})
    connected = store.query("SELECT * FROM databases WHERE service = 'worker'").dicts()[0]
    assert (connected["environment"], connected["process_kind"]) == ("prod", "worker")
    assert (connected["database_url_variable"], connected["reads"]) == ("DATABASE_URL", 0)
    assert connected["first_seen"] == NOW


def test_other_log_records_are_no_databases(store: Store) -> None:
    log = {
        "Timestamp": NOW_NS,
        "EventName": "other",
        "LogAttributes": {"trueline.database.fingerprint": "aa"},
    }
    store.insert("otel_logs", {name: [value] for name, value in log.items()})
    assert store.query("SELECT count() FROM databases").scalar() == 0


def test_who_is_bound_stands_in_where_no_column_names_anybody(store: Store) -> None:
    insert_telemetry(
        store,
        statements=[
            {"write": "expenses", "ids": [], "bound": ["user:u1", "message:m1"], "span_id": "a1"},
            {
                "write": "jobs",
                "ids": ["jobs.user_id set integer user:u2"],
                "bound": ["user:u1"],
                "span_id": "a2",
            },
            {"kind": "write", "tables": ["a", "b"], "ids": ["b.user_id where raw user:u3"], "span_id": "a3"},
        ],
    )
    uses = store.query(
        "SELECT span_id, table, clause, concat(domain, ':', identity) AS who, access"
        " FROM identity_uses ORDER BY ALL"
    ).rows
    assert uses == [
        ("a1", "expenses", "bound", "message:m1", "write"),
        ("a1", "expenses", "bound", "user:u1", "write"),
        ("a2", "jobs", "set", "user:u2", "write"),
        ("a3", "b", "where", "user:u3", "read"),
    ]


def test_the_owner_of_the_row_goes_before_the_bound_identity(store: Store) -> None:
    insert_telemetry(
        store,
        statements=[
            # an administrator works on somebody else's row
            {
                "write": "expenses",
                "ids": [],
                "identity_row": ["user:u1"],
                "bound": ["user:admin", "message:m1"],
                "span_id": "a1",
            },
            {
                "kind": "read",
                "tables": ["items", "orders"],
                "ids": [],
                "identity_row": ["user:u2"],
                "span_id": "a2",
            },
        ],
    )
    uses = store.query(
        "SELECT span_id, table, clause, concat(domain, ':', identity) AS who, access"
        " FROM identity_uses ORDER BY ALL"
    ).rows
    assert uses == [
        ("a1", "expenses", "bound", "message:m1", "write"),
        ("a1", "expenses", "row", "user:u1", "write"),
        ("a2", "items", "row", "user:u2", "read"),
    ]


def test_every_row_knows_the_request_that_brought_it(store: Store) -> None:
    request = bytes(range(16))
    insert_span(store, STATEMENT, request_hash=request)
    insert_span(
        store,
        {**STATEMENT, "trueline.statement.kind": "", "trueline.transaction.open_statements": "1"},
        request_hash=request,
        ParentSpanId="",
    )
    insert_span(store, {"gen_ai.operation.name": "chat"}, request_hash=request)
    tables = ("statements", "transactions", "entries", "ai_calls", "settlements", "identity_statements")
    for table in tables:
        assert one(store, table)["request_hash"] == request, table
    insert_span(store)
    elsewhere = "SELECT count() FROM otel_traces WHERE request_hash = toFixedString('', 16)"
    assert store.query(elsewhere).scalar() == 1
