"""GET /api/v1/coverage over a store: what no small service brings about, and hostile telemetry."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.api_client import ApiClient
from support.engine_bench import empty_tables, schema_store

from trueline.instrumentation import semconv
from trueline.monitor.store.client import Limits, Store
from trueline.monitor.store.coverage import MAX_LISTED

RULES = Path(__file__).parents[2] / "rules"
#: Rules with needs of each kind; what they say is told here in full.
COMPARED = ("constraint_violation_burst", "env_split", "key_mismatch", "rollback_after_ai_error")
IDENTITY: dict[str, Any] = {
    "identity_columns": ["expenses.user_id"],
    "identity_clauses": ["set"],
    "identity_encodings": ["raw"],
    "identity_values": ["ab" * 16],
    "identity_domains": ["user"],
}


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_coverage") as store:
        yield store


@pytest.fixture
def store(shared_store: Store) -> Store:
    empty_tables(shared_store)
    for table in ("otel_logs", "otel_traces"):
        shared_store.command(f"TRUNCATE TABLE {table}")
    return shared_store


@pytest.fixture(scope="module")
def api(shared_store: Store) -> ApiClient:
    return ApiClient(shared_store, RULES)


def write(store: Store, **columns: Any) -> None:
    """A write to expenses of one identity."""
    now = time.time_ns()
    row = {
        "started_at": now,
        "ended_at": now,
        "kind": "write",
        "tables": ["expenses"],
        "environment": "production",
        "service": "web",
        "process_kind": "web",
        "database": "aa" * 8,
        "database_rungs": ["endpoint:" + "bb" * 8, "system_identifier:" + "aa" * 8],
        "entry_name": "POST /expenses",
        "hash_key_id": "aaaa0000",
        "outcome": "committed",
        **IDENTITY,
        **columns,
    }
    store.insert("statements", {name: [value] for name, value in row.items()})


def tell(store: Store, event: str, *, named: bool = True, instance: str = "one", **attributes: Any) -> None:
    """One log event of ours."""
    said = {f"trueline.{name.replace('__', '.')}": str(value) for name, value in attributes.items()}
    row: dict[str, Any] = {
        "Timestamp": time.time_ns(),
        "ServiceName": "web",
        "ScopeName": semconv.SCOPE_NAME,
        "EventName": event if named else "",
        "ResourceAttributes": {"deployment.environment.name": "production", "service.instance.id": instance},
        "LogAttributes": said if named else {**said, "event.name": event},
    }
    store.insert("otel_logs", {name: [value] for name, value in row.items()})


def coverage(api: ApiClient, **params: str) -> list[dict[str, Any]]:
    response = api.get("/api/v1/coverage", params=params)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


def causes(item: dict[str, Any]) -> dict[str, list[str]]:
    found = {rule["rule"]: [why["cause"] for why in rule["reasons"]] for rule in item["rules"]}
    return {
        rule: said for rule, said in found.items() if rule in COMPARED and said and said != ["no_ai_call"]
    }


def test_a_service_that_is_seen_well(store: Store, api: ApiClient) -> None:
    write(store)
    (item,) = coverage(api)
    assert causes(item) == {}
    well = sum(rule["status"] == "ok" for rule in item["rules"])
    assert well >= len(COMPARED) - 1, "all but the one that needs calls of a model"
    assert item["sentence"] == f"100 % of 1 write carries an identity. {well} rules see it well."


def test_nothing_at_all(store: Store, api: ApiClient) -> None:
    assert coverage(api) == []


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"database_rungs": ["endpoint:" + "bb" * 8]}, {"env_split": ["weak_fingerprint"]}),
        ({"database_rungs": ["memory:" + "bb" * 8]}, {"env_split": ["memory_fingerprint"]}),
        ({"database": "", "database_rungs": []}, {"env_split": ["no_fingerprint"]}),
        (
            {"identity_values": [""]},
            {"env_split": ["hashes_left_out"], "key_mismatch": ["hashes_left_out"]},
        ),
        ({"sample_ratio": 0.1}, {"env_split": ["sampled"], "key_mismatch": ["sampled"]}),
        (
            {"process_kind": "test"},
            {rule: ["tests_ignored"] for rule in COMPARED},
        ),
    ],
)
def test_what_statements_show_by_themselves(
    store: Store, api: ApiClient, columns: dict[str, Any], expected: dict[str, list[str]]
) -> None:
    write(store, **columns)
    found = causes(coverage(api)[0])
    if columns.get("process_kind") != "test":
        found.pop("rollback_after_ai_error", None)
    assert found == expected


def test_two_secrets_in_one_service(store: Store, api: ApiClient) -> None:
    write(store)
    write(store, hash_key_id="bbbb0000")
    (item,) = coverage(api)
    assert item["key_ids"] == ["aaaa0000", "bbbb0000"]
    assert causes(item) == {"env_split": ["two_keys"], "key_mismatch": ["two_keys"]}


def test_keys_of_another_application_are_no_matter(store: Store, api: ApiClient) -> None:
    write(store, application="shop")
    write(store, application="bank", service="ledger", hash_key_id="bbbb0000")
    write(store, environment="staging", application="shop", hash_key_id="cccc0000")
    assert [causes(item) for item in coverage(api)] == [{}, {}, {}]


def test_the_order_of_rungs_in_the_store_says_nothing(store: Store, api: ApiClient) -> None:
    for rungs in (["memory:1", "configured:2"], ["configured:2", "memory:1"]):
        write(store, database_rungs=rungs)
    assert causes(coverage(api)[0]) == {}


def test_losses_are_added_up(store: Store, api: ApiClient) -> None:
    write(store)
    for count in (3, 4):
        tell(store, semconv.EVENT_EXPORT_LOSS, loss__reason="queue_full", loss__count=count)
    (item,) = coverage(api)
    assert item["lost"] == {"queue_full": 7}
    assert causes(item)["constraint_violation_burst"] == ["losses"]


@pytest.mark.parametrize("named", [True, False])
def test_an_inventory_is_read_in_either_form(store: Store, api: ApiClient, named: bool) -> None:
    write(store)
    tell(store, semconv.EVENT_INVENTORY, named=named, inventory__unseen__transactions=2)
    (item,) = coverage(api)
    assert (item["inventories"], item["unseen_transactions"]) == (1, 2)


def test_nonsense_in_inventories_is_left_out(store: Store, api: ApiClient) -> None:
    write(store, sample_ratio=0.5)
    names = [name.removeprefix("trueline.") for name in semconv.EVENTS[semconv.EVENT_INVENTORY].attributes]
    nonsense = (
        "",
        "x",
        "-1",
        "[",
        "{}",
        "[1]",
        '["a", null]',
        "1e400",
        "[[[]]]",
        "nan",
        "9" * 400,
        "[" * 9999,
    )
    for number, garbage in enumerate(nonsense):
        said: dict[str, Any] = {name.replace(".", "__"): garbage for name in names}
        tell(store, semconv.EVENT_INVENTORY, instance=str(number), **said)
    (item,) = coverage(api)
    assert item["inventories"] == len(nonsense)
    assert item["sample"] == 0.5


def test_lists_are_bounded(store: Store, api: ApiClient) -> None:
    tables = [f"table_{number}" for number in range(MAX_LISTED + 50)]
    write(
        store,
        kind="read",
        tables=tables,
        identity_columns=[f"{table}.user_id" for table in tables],
        **{name: values * len(tables) for name, values in IDENTITY.items() if name != "identity_columns"},
    )
    (item,) = coverage(api)
    assert (len(item["tables"]), len(item["columns"])) == (MAX_LISTED, MAX_LISTED)


def test_several_values_of_one_column_are_one_use(store: Store, api: ApiClient) -> None:
    thrice: dict[str, Any] = {name: values * 3 for name, values in IDENTITY.items()}
    write(store, **thrice)
    (item,) = coverage(api)
    assert [(one["column"], one["statements"]) for one in item["columns"]] == [("expenses.user_id", 1)]


def test_what_arrived_before_is_left_out(store: Store, api: ApiClient) -> None:
    write(store, received_at=datetime.now(UTC) - timedelta(hours=2))
    assert coverage(api) == []
    assert len(coverage(api, since="3h")) == 1


def test_no_environment_is_said(store: Store, api: ApiClient) -> None:
    write(store, environment="unset")
    (problem,) = api.get("/api/v1/coverage").json()["problems"]
    assert "Set OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=production" in problem


def test_too_much_to_count_says_what_to_ask_instead(
    store: Store, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store)
    small = functools.partial(store.query_read_only, limits=Limits(memory_bytes=1000))
    monkeypatch.setattr(store, "query_read_only", small)
    response = api.get("/api/v1/coverage")
    assert response.status_code == 503
    assert "Counting all since 1h reached the limit of memory: ask for one service" in response.text


def test_a_name_that_is_sql_is_a_name(store: Store, api: ApiClient) -> None:
    write(store)
    assert coverage(api, service="' OR 1 = 1 --", environment="{x:String}") == []
    assert "12345" not in json.dumps(coverage(api))
