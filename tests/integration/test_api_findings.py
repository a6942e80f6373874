"""The HTTP interface of findings, rules, traces, databases and status, over a real store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.api_client import ApiClient
from support.engine_bench import NOON, Bench, empty_tables, schema_store, write_rule

from trueline.monitor.engine.rule import Rule
from trueline.monitor.errors import QueryError, StoreError, StoreUnavailableError
from trueline.monitor.store.client import Store


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_api") as store:
        yield store


@pytest.fixture(scope="module")
def rule(tmp_path_factory: pytest.TempPathFactory) -> Rule:
    return write_rule(
        tmp_path_factory.mktemp("rules"), ("summary:", "false_positives: [a dry run]\nsummary:")
    )


@pytest.fixture
def bench(shared_store: Store, rule: Rule) -> Bench:
    empty_tables(shared_store)
    return Bench(shared_store, rule)


@pytest.fixture(scope="module")
def client(shared_store: Store, rule: Rule) -> ApiClient:
    """The real application, one for all: it keeps nothing that is not in the store. Its rules do not run."""
    return ApiClient(shared_store, rule.path.parent)


@pytest.fixture
def api(bench: Bench, client: ApiClient) -> ApiClient:
    return client


@pytest.fixture
def five(bench: Bench) -> Bench:
    """Five findings in two environments, a second apart, web0 the oldest."""
    for number in range(5):
        bench.lose(service=f"web{number}", environment="staging" if number == 4 else "production")
        bench.clock.forward(seconds=1)
    bench.tick()
    return bench


def get(api: ApiClient, path: str, **params: Any) -> Any:
    response = api.get(path, params=params)
    assert response.status_code == 200, response.text
    return response.json()


def services(page: dict[str, Any]) -> list[str]:
    return [item["service"] for item in page["items"]]


def test_the_list_has_what_an_item_needs(five: Bench, api: ApiClient) -> None:
    page = get(api, "/api/v1/findings")
    assert services(page) == ["web4", "web3", "web2", "web1", "web0"], "last seen first"
    assert page["next"] is None
    item = page["items"][0]
    assert (
        item.items()
        >= {
            "rule": "lost_writes",
            "rule_version": 1,
            "title": "Writes are rolled back",
            "state": "open",
            "severity": "error",
            "environment": "staging",
            "application": "shop",
            "count": 1,
            "versions": ["1.0"],
            "group": {"environment": "staging", "application": "shop", "service": "web4"},
            "evidence": [],
            "last_seen": "2026-11-20T12:00:04Z",
        }.items()
    )
    assert item["summary"].startswith("web4 lost 1 write since ")


def test_pages_hold_everything_once(five: Bench, api: ApiClient) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        page = get(api, "/api/v1/findings", limit=2, **cursor)
        seen += services(page)
        cursor = {"cursor": page["next"]}
    assert seen == ["web4", "web3", "web2", "web1", "web0"]
    assert page["next"] is None


def test_pages_hold_everything_once_where_times_are_equal(bench: Bench, api: ApiClient) -> None:
    for number in range(4):
        bench.lose(service=f"web{number}")
    bench.clock.forward(seconds=2)
    bench.tick()
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(4):
        page = get(api, "/api/v1/findings", limit=1, **cursor)
        seen += services(page)
        cursor = {"cursor": page["next"]}
    assert sorted(seen) == ["web0", "web1", "web2", "web3"]


FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"environment": "staging"}, ["web4"]),
    ({"service": "web2"}, ["web2"]),
    ({"rule": "lost_writes", "severity": "error"}, ["web4", "web3", "web2", "web1", "web0"]),
    ({"rule": "other"}, []),
    ({"severity": ["info", "warning"]}, []),
    ({"state": "resolved"}, []),
    ({"state": ["active"]}, ["web4", "web3", "web2", "web1", "web0"]),
    ({"since": (NOON + timedelta(seconds=3)).isoformat()}, ["web4", "web3"]),
    ({"since": "2026-11-20T12:00:04Z"}, ["web4"]),
    ({"environment": "x' OR 1 = 1 --"}, []),
]


def test_filters(five: Bench, api: ApiClient) -> None:
    for filters, found in FILTERS:
        assert services(get(api, "/api/v1/findings", **filters)) == found, filters


@pytest.mark.parametrize(
    ("path", "status", "named"),
    [
        ("/api/v1/findings?sevrity=error", 400, "There is no parameter 'sevrity': there are application, "),
        ("/api/v1/findings?state=broken", 422, "state: input should be 'open', 'acknowledged'"),
        ("/api/v1/findings?limit=0", 422, "limit: input should be greater than or equal to 1"),
        ("/api/v1/findings?since=yesterday", 400, "since='yesterday' is neither a time"),
        ("/api/v1/findings?cursor=%00%00", 400, "cursor is not one that this API gave"),
        ("/api/v1/findings?cursor=bm90aGluZw", 400, "cursor is not one that this API gave"),
        ("/api/v1/findings/nothing", 404, "There is no finding 'nothing'"),
        ("/api/v1/rules/nothing", 404, "There is no rule 'nothing'; there are lost_writes"),
        ("/api/v1/traces/abc", 400, "'abc' is not a trace id"),
        (f"/api/v1/traces/{'0' * 32}", 404, "No span or log record of trace"),
        ("/api/v1/status?x=1", 400, "There is no parameter 'x': there are none here."),
        ("/api/v1/nothing", 404, "There is nothing at /api/v1/nothing"),
    ],
)
def test_refusals_are_one_sentence(client: ApiClient, path: str, status: int, named: str) -> None:
    response = client.get(path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    error = response.json()
    assert error["status"] == status
    assert error["detail"].startswith(named)


def test_one_finding_in_full(bench: Bench, api: ApiClient) -> None:
    attributes = {
        "trueline.transaction.outcome": "rolled_back",
        "trueline.transaction.reason": "not_committed",
    }
    span = {
        "Timestamp": int(NOON.timestamp() * 1e9),
        "TraceId": f"{1:032x}",
        "SpanId": f"{1:016x}",
        "SpanName": "TRANSACTION shop",
        "ServiceName": "web",
        "SpanAttributes": attributes,
        "Duration": 20_000_000,
    }
    bench.store.insert("otel_traces", {name: [value] for name, value in span.items()})
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    finding = get(api, f"/api/v1/findings/{bench.only().id}")
    assert finding["explanation"] == "1 of 1.0"
    assert finding["remediation"] == {"now": "stop it", "then": "mend it", "check": "look at it"}
    assert finding["false_positives"] == ["a dry run"]
    assert (finding["trace_ids"], finding["span_ids"]) == ([f"{1:032x}"], [f"{1:016x}"])
    (item,) = finding["evidence"]
    assert item["text"] == "transaction with 0 writes: rolled back (nobody committed it)"
    assert (item["named"], item["duration_ms"], item["attributes"]) == (True, 20.0, attributes)
    assert [(event["action"], event["who"]) for event in finding["events"]] == [("opened", "trueline")]
    listed = get(api, "/api/v1/findings")["items"][0]["evidence"]
    assert listed == finding["evidence"]


def test_people_change_a_finding_and_the_audit_tells(bench: Bench, api: ApiClient) -> None:
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    path = f"/api/v1/findings/{bench.only().id}"
    for verb, why, state in [
        ("acknowledge", "on it", "acknowledged"),
        ("comment", "it is the new pool", "acknowledged"),
        ("resolve", "rolled back to 1.0", "resolved"),
        ("resolve", "again", "resolved"),
    ]:
        answer = api.post(f"{path}/{verb}", json={"who": "ann", "why": why})
        assert (answer.status_code, answer.json()["state"]) == (200, state)
    events = get(api, path)["events"]
    assert [(event["action"], event["who"], event["why"]) for event in events[1:]] == [
        ("acknowledged", "ann", "on it"),
        ("commented", "ann", "it is the new pool"),
        ("resolved", "ann", "rolled back to 1.0"),
    ]
    assert get(api, path)["resolved_by"] == "person"
    assert get(api, "/api/v1/findings", state="active")["items"] == []
    assert api.post(f"{path}/comment", json={"who": "ann"}).status_code == 422
    assert api.post(f"{path}/resolve", json={"because": "x"}).status_code == 422
    assert api.post("/api/v1/findings/nothing/resolve", json={}).status_code == 404


def test_rules_tell_how_they_do(five: Bench, api: ApiClient) -> None:
    (item,) = get(api, "/api/v1/rules")["items"]
    assert (item["id"], item["state"], item["active_findings"]) == ("lost_writes", "waiting", 5)
    rule = get(api, "/api/v1/rules/lost_writes")
    assert rule["definition"]["params"]["least"]["default"] == 1
    assert {run["result"] for run in rule["runs"]} == {"ok"}
    assert sum(run["rows"] for run in rule["runs"]) == 5


def test_a_trace_shows_spans_and_logs_in_order(bench: Bench, api: ApiClient) -> None:
    trace = "ab" * 16
    at = int(NOON.timestamp() * 1e9)
    spans = [
        {"SpanId": "01" * 8, "SpanName": "POST /x", "Timestamp": at, "StatusCode": "Ok"},
        {"SpanId": "02" * 8, "SpanName": "INSERT t", "Timestamp": at + 5, "StatusCode": "STATUS_CODE_ERROR"},
    ]
    for span in spans:
        bench.store.insert(
            "otel_traces", {"TraceId": [trace], **{key: [value] for key, value in span.items()}}
        )
    log = {"TraceId": trace, "Timestamp": at + 3, "Body": "\x1b[31mhello", "SeverityText": "WARN"}
    bench.store.insert("otel_logs", {key: [value] for key, value in log.items()})
    items = get(api, f"/api/v1/traces/{trace.upper()}")["items"]
    assert [(item["kind"], item["name"], item["status"]) for item in items] == [
        ("span", "POST /x", "ok"),
        ("log", "", "warn"),
        ("span", "INSERT t", "error"),
    ]


def test_databases_and_status(bench: Bench, api: ApiClient) -> None:
    row = {
        "kind": "write",
        "service": "web",
        "environment": "production",
        "database": "f1" * 8,
        "database_schema": "public",
        "database_url": "postgresql://db/shop",
        "started_at": int(NOON.timestamp() * 1e9),
        "ended_at": int(NOON.timestamp() * 1e9),
    }
    bench.store.insert("statements", {key: [value] for key, value in row.items()})
    (database,) = get(api, "/api/v1/databases")["items"]
    assert (database["service"], database["database"], database["writes"]) == ("web", "f1" * 8, 1)
    assert get(api, "/api/v1/databases", environment="staging")["items"] == []
    status = get(api, "/api/v1/status")
    assert status["problems"] == ["The rules do not run."]
    assert status["rules"]["lost_writes"]["state"] == "waiting"
    assert status["spans_last_5_minutes"] == 0


def test_a_store_that_is_away_is_503_and_never_500(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (StoreUnavailableError("gone"), StoreError("closed"), QueryError("slow", limit="time")):

        def fail(*_: Any, error: Exception = error, **__: Any) -> Any:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(Store, "query", fail)
            response = api.get("/api/v1/findings")
        assert response.status_code == 503
        assert "Retry-After" in response.headers
        assert str(error) in response.json()["detail"]


def test_every_route_is_described(api: ApiClient) -> None:
    paths = get(api, "/api/v1/openapi.json")["paths"]
    assert {path.removeprefix("/api/v1") for path in paths} >= {
        "/findings",
        "/findings/{finding_id}",
        "/findings/{finding_id}/acknowledge",
        "/findings/{finding_id}/resolve",
        "/findings/{finding_id}/comment",
        "/rules",
        "/rules/{rule_id}",
        "/traces/{trace_id}",
        "/databases",
        "/status",
        "/ops/last-write",
    }
