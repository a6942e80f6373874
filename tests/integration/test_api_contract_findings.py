"""Findings, incidents, silences, rules, targets and status as a contract: stable JSON, true examples."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.api_client import ApiClient
from support.api_examples import check_example, settled
from support.engine_bench import NOON, Bench, empty_tables, schema_store, write_rule
from support.telemetry import RULES, insert_telemetry

from trueline.monitor.api.context import Context
from trueline.monitor.engine.load import load_rule
from trueline.monitor.store.client import Store

NOW = NOON + timedelta(minutes=10)
WRITE = {
    "at": "-60s",
    "write": "expenses",
    "ids": ["expenses.user_id set integer user:u1"],
    "trace": "t-write",
    "service": "web",
    "process_kind": "web",
    "version": "1.4",
    "entry_name": "POST /webhook",
    "database_url": "postgresql://db/expenses_main",
    "database_url_variable": "DATABASE_URL",
    "db_namespace": "expenses_main",
}
READ = {
    **{name: value for name, value in WRITE.items() if name != "write"},
    "at": "-30s",
    "read": "expenses",
    "ids": ["expenses.user_id where integer user:u1"],
    "database": "old",
    "trace": "t-read",
    "service": "worker",
    "process_kind": "worker",
    "entry_name": "summary",
    "database_url": "postgresql://db/expenses_old",
    "db_namespace": "expenses_old",
}


@pytest.fixture(scope="module")
def store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_contract_findings") as store:
        empty_tables(store)
        yield store


@pytest.fixture(scope="module")
def api(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiClient]:
    """A worker that reads another database, and in the same trace a write that was rolled back."""
    folder = tmp_path_factory.mktemp("rules")
    shutil.copy(RULES / "env_split.yaml", folder)
    split = Bench(store, load_rule(folder / "env_split.yaml"))
    insert_telemetry(store, now=NOON + timedelta(minutes=2), statements=[WRITE, READ])
    (trace,) = {row[0] for row in store.query("SELECT trace_id FROM statements WHERE service = 'worker'")}
    lost = Bench(store, write_rule(folder))
    lost.lose(service="worker", trace_id=trace, environment="prod")
    for bench in (split, lost):
        bench.clock.forward(minutes=9)
        bench.tick()
    targets = folder.parent / "notify.yaml"
    targets.write_text("targets: [{name: oncall, type: webhook, urls: ['https://chat.example.com/x']}]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Context, "now", lambda self: NOW)
        yield ApiClient(store, folder, notify=targets, external_url="https://trueline.example.com")


def ask(api: ApiClient, method: str, path: str, body: Any = None) -> Any:
    response = api.get(path) if method == "GET" else api.send(method, path, body)
    assert response.status_code in (200, 201), response.text
    return response.json()


SILENCE = {
    "id": "ops-42",
    "matchers": [{"label": "service", "op": "=", "value": "worker"}],
    "ends_at": "2026-11-20T14:00:00Z",
    "author": "ann",
    "reason": "moving the database, OPS-42",
}
NOTE = {"who": "ann", "why": "on it", "request_id": "5b2c", "if_state": "open"}
#: In this order: what is done to the findings shows in what is asked afterwards.
CALLS: list[tuple[str, str, Any]] = [
    ("GET", "findings", None),
    ("POST", "findings/{finding_id}/acknowledge", NOTE),
    ("POST", "findings/{finding_id}/comment", {"who": "bob", "why": "it is the new pool"}),
    ("POST", "findings/{finding_id}/resolve", {"who": "ann", "why": "rolled back to 1.3"}),
    ("POST", "findings/{finding_id}/reopen", {"who": "bob", "why": "it is there again"}),
    ("POST", "silences/preview", SILENCE),
    ("POST", "silences", SILENCE),
    ("GET", "findings/{finding_id}", None),
    ("GET", "findings/{finding_id}/history", None),
    ("GET", "incidents", None),
    ("GET", "incidents/{incident_id}", None),
    ("GET", "silences", None),
    ("PATCH", "silences/{silence_id}", {"ends_at": "2026-11-20T15:00:00Z", "who": "bob"}),
    ("GET", "silences/{silence_id}", None),
    ("POST", "silences/{silence_id}/end", {"who": "bob"}),
    ("GET", "rules", None),
    ("GET", "rules/{rule_id}", None),
    ("GET", "rules/{rule_id}/history", None),
    ("POST", "rules/check", {"text": "id: lost_writes\nseverity: awful\n"}),
    ("GET", "notify", None),
    ("GET", "status", None),
]
#: What differs from run to run, whatever it is.
VARYING: dict[str, Any] = {
    "ms": 12.5,
    "data": "ClickHouse embedded in this process (/var/lib/trueline)",
    "version": "1.4",
    "spans_last_5_minutes": 0,
}


def test_answers_are_as_the_examples_say(api: ApiClient) -> None:
    (split,) = ask(api, "GET", "/api/v1/findings?rule=env_split")["items"]
    named = {
        "finding_id": split["id"],
        "incident_id": split["incident"],
        "silence_id": "ops-42",
        "rule_id": "lost_writes",
    }
    for method, route, body in CALLS:
        answer = ask(api, method, f"/api/v1/{route.format_map(named)}", body)
        check_example(method, f"/api/v1/{route}", body, settled(answer, **VARYING))


def test_the_two_findings_are_one_incident(api: ApiClient) -> None:
    (incident,) = ask(api, "GET", "/api/v1/incidents")["items"]
    assert incident["rules"] == ["env_split", "lost_writes"]
    assert incident["links"] == ["they share traces"]


def test_every_route_of_these_has_its_example(api: ApiClient) -> None:
    document = ask(api, "GET", "/api/v1/openapi.json")
    tried = {"/api/v1/rules/backtest", "/api/v1/rules/explain", "/api/v1/notify/test"}
    for path, operations in document["paths"].items():
        if not re.match("/api/v1/(findings|incidents|silences|rules|notify|status)", path):
            continue
        for method, operation in operations.items():
            done = next(one for status, one in operation["responses"].items() if status.startswith("2"))
            there = "example" in done["content"]["application/json"]
            assert there or path in tried or path.endswith("/timeline"), (method, path)
