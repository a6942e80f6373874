"""When did a rule watch? The coverage ledger as stretches of time, over the API and the command line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.api_client import ApiClient
from support.engine_bench import empty_tables, schema_store

from trueline.monitor.engine.ports import Result, RuleRun
from trueline.monitor.store.client import Store
from trueline.monitor.store.ledger import StoredLedger

MINIMAL = (Path(__file__).parents[1] / "data" / "rules" / "good" / "minimal.yaml").read_text(encoding="utf-8")
PATH = "/api/v1/rules/lost_writes/history"


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_rule_history") as store:
        yield store


@pytest.fixture(scope="module")
def client(shared_store: Store, tmp_path_factory: pytest.TempPathFactory) -> ApiClient:
    folder = tmp_path_factory.mktemp("rules")
    (folder / "a.yaml").write_text(MINIMAL)
    return ApiClient(shared_store, folder)


class Lines:
    """Writes lines of the ledger; times are seconds before ``now``."""

    def __init__(self, store: Store) -> None:
        self._ledger = StoredLedger(store)
        self.now = datetime.now(UTC).replace(microsecond=0)

    def add(self, start: int, end: int, result: Result = "ok", **more: Any) -> None:
        line = RuleRun(
            rule=more.pop("rule", "lost_writes"),
            version=1,
            revision=more.pop("revision", "r1"),
            start=self.now - timedelta(seconds=start),
            end=self.now - timedelta(seconds=end),
            result=result,
            rows=more.pop("rows", 0),
            milliseconds=5.0,
            message=more.pop("message", ""),
            at=self.now - timedelta(seconds=end),
            **more,
        )
        self._ledger.record(line)

    def told(self, items: list[dict[str, Any]]) -> list[tuple[str, int, int, int]]:
        """Result, start and end in seconds before now, runs: oldest first."""

        def before(text: str) -> int:
            return round((self.now - datetime.fromisoformat(text)).total_seconds())

        return [
            (one["result"], before(one["start"]), before(one["end"]), one["runs"]) for one in reversed(items)
        ]


@pytest.fixture
def lines(shared_store: Store) -> Lines:
    empty_tables(shared_store)
    return Lines(shared_store)


def test_windows_that_follow_each_other_are_one_stretch(lines: Lines, client: ApiClient) -> None:
    for start in range(60, 0, -2):
        lines.add(start, start - 2, rows=1 if start == 40 else 0)
    lines.add(60, 0, rule="another")
    answer = client.get(PATH).json()
    assert lines.told(answer["items"]) == [("ok", 60, 0, 30)]
    assert answer["items"][0]["rows"] == 1
    assert (answer["judged_seconds"], answer["skipped_seconds"], answer["errors"]) == (60.0, 0.0, 0)
    assert answer["seconds_spent"] == pytest.approx(0.15)


def test_what_did_not_go_well_stands_by_itself(lines: Lines, client: ApiClient) -> None:
    lines.add(100, 90)
    lines.add(90, 80, "error", message="over its limit of memory")
    lines.add(90, 80, "error", message="over its limit of memory")
    lines.add(90, 70)
    lines.add(70, 60, withheld=2, note="web lost spans")
    lines.add(60, 50, "skipped", note="too old")
    lines.add(40, 30)
    lines.add(30, 20, revision="r2")
    answer = client.get(PATH).json()
    assert lines.told(answer["items"]) == [
        ("ok", 100, 90, 1),
        ("error", 90, 80, 2),
        ("ok", 90, 70, 1),
        ("ok", 70, 60, 1),
        ("skipped", 60, 50, 1),
        ("none", 50, 40, 0),
        ("ok", 40, 30, 1),
        ("ok", 30, 20, 1),
    ]
    by_result = {one["result"]: one for one in answer["items"]}
    assert by_result["error"]["error"] == "over its limit of memory"
    assert answer["items"][4]["note"] == "web lost spans"
    assert (answer["judged_seconds"], answer["skipped_seconds"]) == (60.0, 10.0)
    assert (answer["errors"], answer["withheld"]) == (2, 2)
    only = client.get(PATH, {"result": "error"}).json()["items"]
    assert lines.told(only) == [("error", 90, 80, 2)]


def test_only_the_time_that_was_asked_for(lines: Lines, client: ApiClient) -> None:
    lines.add(4000, 3900)
    lines.add(1900, 1700)
    lines.add(1700, 1600, note="later")
    answer = client.get(PATH, {"since": "30m"}).json()
    assert lines.told(answer["items"]) == [("ok", 1900, 1700, 1), ("ok", 1700, 1600, 1)]
    asked = datetime.fromisoformat(answer["since"])
    assert answer["judged_seconds"] == pytest.approx((lines.now - asked).total_seconds() - 1600, abs=0.01)
    until = (lines.now - timedelta(seconds=1700)).isoformat()
    assert lines.told(client.get(PATH, {"until": until}).json()["items"])[-1] == ("ok", 1900, 1700, 1)


def test_pages_have_everything_once(lines: Lines, client: ApiClient) -> None:
    for number in range(9):
        lines.add(100 - number * 10, 95 - number * 10, note=str(number))
    whole = client.get(PATH).json()["items"]
    assert [one["result"] for one in whole] == ["ok", "none"] * 8 + ["ok"]
    cursor, seen = None, []
    for _ in range(10):
        page = client.get(PATH, {"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == whole


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"since": "yesterday"}, 400),
        ({"cursor": "WyJ4Il0"}, 400),
        ({"cursor": "nonsense"}, 400),
        ({"result": "none"}, 422),
        ({"since": "1m", "until": "2020-01-01"}, 400),
    ],
)
def test_what_cannot_be_answered_is_said(asked: dict[str, str], status: int, client: ApiClient) -> None:
    answer = client.get(PATH, asked)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_a_rule_that_is_gone_keeps_its_history(lines: Lines, client: ApiClient) -> None:
    lines.add(20, 10, rule="removed")
    assert lines.told(client.get("/api/v1/rules/removed/history").json()["items"]) == [("ok", 20, 10, 1)]
    answer = client.get("/api/v1/rules/never/history")
    assert answer.status_code == 404
    assert "lost_writes" in answer.json()["detail"]
    assert client.get(PATH).json()["items"] == []
