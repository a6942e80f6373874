"""What rule writers ask of a monitor: is the rule right, what would it have found, what does it cost?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.api_client import ApiClient
from support.engine_bench import empty_tables, schema_store
from support.telemetry import insert_telemetry

from trueline.monitor.store.client import Store
from trueline.monitor.store.ledger import StoredArrivals

MINIMAL = (Path(__file__).parents[1] / "data" / "rules" / "good" / "minimal.yaml").read_text(encoding="utf-8")
SHIPPED = Path(__file__).parents[2] / "rules"
NOW = datetime.now(UTC)
ROLLED_BACK = {"at": "-60s", "outcome": "rolled_back", "writes": 1}


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_rule_work") as store:
        yield store


@pytest.fixture
def store(shared_store: Store) -> Store:
    empty_tables(shared_store)
    return shared_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    (folder / "a.yaml").write_text(MINIMAL)
    (folder / "mine.yaml").write_text("override: lost_writes\nparams: {least: 4}\n")
    return folder


@pytest.fixture(scope="module")
def client(shared_store: Store, folder: Path) -> ApiClient:
    """One application for all: it keeps nothing that is not in the store."""
    return ApiClient(shared_store, folder)


@pytest.fixture
def api(store: Store, client: ApiClient) -> ApiClient:
    return client


def lose(store: Store, number: int) -> None:
    insert_telemetry(store, transactions=[{**ROLLED_BACK, "trace": f"t{at}"} for at in range(number)])


def test_an_installed_rule_is_tried_as_it_is_overridden(store: Store, api: ApiClient) -> None:
    lose(store, 3)
    assert api.post("/api/v1/rules/backtest", {"rule": "lost_writes"}).json()["total"] == 0

    lose(store, 1)
    answer = api.post("/api/v1/rules/backtest", {"rule": "lost_writes", "since": "1h"}).json()

    assert (answer["total"], answer["complete"], answer["errors"]) == (1, True, [])
    (finding,) = answer["findings"]
    assert finding["group"] == {"environment": "prod"}
    assert finding["count"] == 4
    assert finding["summary"] == "prod lost 4 writes"
    assert answer["windows"] == 1
    assert answer["slowest"]["rows"] == 4
    assert answer["slowest"]["memory_bytes"] > 0
    assert answer["absent"] == {"tables": [], "attributes": []}


def test_a_file_that_is_not_installed_is_tried_and_nothing_is_stored(store: Store, api: ApiClient) -> None:
    lose(store, 2)
    text = MINIMAL.replace("id: lost_writes", "id: not_installed").replace("default: 3", "default: 2")

    answer = api.post("/api/v1/rules/backtest", {"text": text}).json()

    assert answer["total"] == 1
    assert store.query("SELECT count() FROM findings").scalar() == 0
    assert store.query("SELECT count() FROM rule_runs").scalar() == 0
    assert [rule["id"] for rule in api.get("/api/v1/rules").json()["items"]] == ["lost_writes"]


def test_an_override_is_tried_before_it_is_installed(store: Store, api: ApiClient) -> None:
    lose(store, 2)
    text = (
        "override: lost_writes\nparams: {least: 2}\n"
        "exceptions: [{match: {environment: prod}, reason: we know}]\n"
    )

    answer = api.post("/api/v1/rules/backtest", {"text": text}).json()

    assert answer["total"] == 0
    assert answer["excepted"] == [{"rows": 1, "reason": "we know", "match": {"environment": "prod"}}]


def test_windows_that_fail_are_told(store: Store, api: ApiClient) -> None:
    lose(store, 5)
    text = MINIMAL.replace("1.0 AS value", "intDiv(1, count() - 5) AS value")

    answer = api.post("/api/v1/rules/backtest", {"text": text}).json()

    assert not answer["complete"]
    assert "DIVISION" in answer["errors"][0]


def test_what_an_evaluation_costs(store: Store, api: ApiClient) -> None:
    lose(store, 5)

    answer = api.post("/api/v1/rules/explain", {"rule": "lost_writes"}).json()

    assert answer["query"]["rows"] == 5
    assert answer["evaluations_a_day"] == 43_200
    assert answer["rows_a_day"] == 5 * 43_200
    assert answer["readings"][0]["table"] == "transactions"
    assert "received_at" in answer["readings"][0]["keys"]
    assert answer["sql"].startswith("SELECT environment, min(started_at) AS first_seen")


def test_a_rule_is_checked_by_the_engine_too(api: ApiClient) -> None:
    def check(*changes: tuple[str, str]) -> list[str]:
        text = MINIMAL
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        return list(api.post("/api/v1/rules/check", {"text": text}).json()["problems"])

    assert check() == []
    assert check(("severity: error", "severity: awful"))[0].startswith("4:11: severity: input should be")
    assert "lookback_at" in check(("max(ended_at)", "max(lookback_at)"))[0]
    assert check(("1.0 AS value", "'one' AS value"), ("count() AS count", "toString(count()) AS count")) == [
        "query: column count is String, but has to be a whole number (count(), toUInt64(x))",
        "query: column value is String, but has to be a Float64 (toFloat64(x))",
    ]


def test_a_rule_that_cannot_fire_is_pointed_out(store: Store, api: ApiClient) -> None:
    text = MINIMAL.replace(
        "interval:", "needs: {tables: [transactions], attributes: [trueline.transaction.outcome]}\ninterval:"
    )
    nothing = {"tables": ["transactions"], "attributes": ["trueline.transaction.outcome"]}

    assert api.post("/api/v1/rules/check", {"text": text}).json()["absent"] == nothing
    assert api.get("/api/v1/rules").json()["items"][0]["absent"] == ["transactions"]
    assert api.post("/api/v1/rules/explain", {"text": text}).json()["absent"] == nothing

    lose(store, 1)
    assert api.get("/api/v1/rules/lost_writes").json()["absent"] == []


@pytest.mark.parametrize("rule", ["env_split", "constraint_violation_burst"])
def test_a_shipped_rule_over_views_is_explained_and_its_arrivals_are_known(store: Store, rule: str) -> None:
    answer = ApiClient(store, SHIPPED).post("/api/v1/rules/explain", {"rule": rule})

    assert answer.status_code == 200, answer.text
    tables = answer.json()["tables"]
    assert set(tables) & {"access", "traffic", "violations"}
    assert StoredArrivals(store)(tables, NOW - timedelta(hours=1), NOW) is None


def test_the_list_says_what_is_overridden(api: ApiClient, folder: Path) -> None:
    (rule,) = api.get("/api/v1/rules").json()["items"]
    assert rule["parameters"] == {"least": 4}
    assert rule["overridden_in"] == str(folder / "mine.yaml")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "give either rule"),
        ({"rule": "lost_writes", "text": "x"}, 422, "give either rule"),
        ({"rule": "nothing"}, 404, "There is no rule 'nothing'; there are lost_writes."),
        ({"text": "id: ["}, 422, "not valid YAML"),
        (
            {"text": MINIMAL.replace("FROM transactions", "FROM url('http://169.254.169.254')")},
            422,
            "makes one",
        ),
        ({"text": "override: nothing\nenabled: true"}, 404, "There is no rule 'nothing'"),
        ({"text": "override: lost_writes\nparams: {most: 1}"}, 422, "it has least"),
        ({"rule": "lost_writes", "since": "yesterday"}, 400, "neither a time"),
        ({"rule": "lost_writes", "since": "1000d"}, 400, "90 days"),
        ({"rule": "lost_writes", "seconds": 1e9}, 422, "seconds"),
        ({"rule": "lost_writes", "severity": "x"}, 422, "severity"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_tried(client: ApiClient, body: dict[str, object], status: int, said: str) -> None:
    answer = client.post("/api/v1/rules/backtest", body)
    assert answer.status_code == status
    assert said in answer.text
