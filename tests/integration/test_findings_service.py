"""The rule service with its real threads and clock, on a real store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.engine_bench import RULE, empty_tables, schema_store

from trueline.monitor.engine.load import RuleFileError
from trueline.monitor.rule_service import RuleService
from trueline.monitor.store.client import Store

PATIENCE = 30.0


@dataclass(frozen=True)
class Settings:
    rules: tuple[Path, ...]
    rule_tick_seconds: float = 0.1
    evidence_limit: int = 50
    shipped_rules: bool = False


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_rule_service") as store:
        yield store


@pytest.fixture
def store(shared_store: Store) -> Store:
    empty_tables(shared_store)
    return shared_store


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes the test rule under another id, with pairs of old and new text, and returns the folder."""

    def write(rule_id: str, *changes: tuple[str, str]) -> Path:
        text = RULE.replace("lost_writes", rule_id)
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / f"{rule_id}.yaml").write_text(text, encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def start(store: Store) -> Iterator[Callable[..., RuleService]]:
    """Starts services, which are stopped at the end."""
    services = []

    def start(folder: Path) -> RuleService:
        service = RuleService(store, Settings((folder,)))
        services.append(service)
        service.start()
        return service

    yield start
    for service in services:
        service.stop(PATIENCE)


def lose(store: Store, number: int) -> None:
    now = datetime.now(UTC)
    row: dict[str, Any] = {
        "started_at": int((now - timedelta(milliseconds=5)).timestamp() * 1e9),
        "ended_at": int(now.timestamp() * 1e9),
        "trace_id": f"{number:032x}",
        "span_id": f"{number:016x}",
        "service": "web",
        "outcome": "rolled_back",
        "writes": 1,
    }
    store.insert("transactions", {name: [value] for name, value in row.items()})


def eventually(done: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def test_a_row_becomes_a_finding_by_itself(store: Store, write: Any, start: Any) -> None:
    service = start(write("lost_writes"))
    eventually(lambda: service.status()["states"]["lost_writes"]["covered_until"])
    lose(store, 1)
    eventually(lambda: service.findings.active())
    (finding,) = service.findings.active()
    assert (finding.rule, finding.count) == ("lost_writes", 1)
    status = service.status()
    assert (status["running"], status["rules"], status["problems"]) == (True, 1, [])


def test_a_slow_rule_does_not_hold_up_another(
    store: Store, write: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("slow_rule", ("1.0 AS value", "2.0 AS value"))
    folder = write("quick_rule")
    release, stuck = threading.Event(), threading.Event()
    query = Store.query_read_only

    def slow(self: Store, sql: str, *args: Any) -> Any:
        if "2.0 AS value" in sql:
            stuck.set()
            release.wait(PATIENCE)
        return query(self, sql, *args)

    monkeypatch.setattr(Store, "query_read_only", slow)
    lose(store, 1)
    service = start(folder)
    try:
        assert stuck.wait(PATIENCE)
        for number in (2, 3):
            lose(store, number)
            eventually(lambda: [one.count for one in service.findings.active("quick_rule")] == [number])  # noqa: B023
        assert not service.findings.active("slow_rule")
    finally:
        release.set()
    eventually(lambda: service.findings.active("slow_rule"))


def test_a_broken_query_shows_and_leaves_the_others_at_work(store: Store, write: Any, start: Any) -> None:
    write("broken_rule", ("min(started_at)", "min(no_such_column)"))
    service = start(write("lost_writes"))
    lose(store, 1)
    eventually(lambda: service.findings.active("lost_writes"))
    eventually(lambda: service.status()["states"]["broken_rule"]["state"] == "failing")
    (problem,) = service.status()["problems"]
    assert problem.startswith("Rule broken_rule fails: ")
    assert "no_such_column" in problem
    tried = "SELECT count() FROM rule_runs WHERE rule = 'broken_rule' AND result = 'error'"
    eventually(lambda: store.query(tried).scalar() > 0)


def test_a_rule_over_its_limits_is_an_error_and_no_silence(store: Store, write: Any, start: Any) -> None:
    heavy = "GROUP BY environment, application, service, number"
    folder = write(
        "heavy_rule",
        ("GROUP BY environment, application, service", heavy),
        ("FROM transactions", "FROM transactions ARRAY JOIN range(5000) AS number"),
    )
    service = start(folder)
    lose(store, 1)
    eventually(lambda: service.states["heavy_rule"].error)
    assert "limit of rows" in service.states["heavy_rule"].error
    assert not service.findings.active()


def test_the_service_ends_when_told_and_only_once(store: Store, write: Any) -> None:
    service = RuleService(store, Settings((write("lost_writes"),)))
    service.start()
    service.stop(PATIENCE)
    service.stop(PATIENCE)
    assert not service.status()["running"]
    assert service.status()["problems"] == ["The rules do not run."]


def test_an_unreadable_rule_that_was_asked_for_is_refused(store: Store, write: Any) -> None:
    folder = write("lost_writes", ("severity: error", "severity: awful"))
    with pytest.raises(RuleFileError, match=r"lost_writes\.yaml:5:11: severity: input should be"):
        RuleService(store, Settings((folder,)))


def test_experimental_rules_are_off(store: Store, write: Any) -> None:
    service = RuleService(
        store, Settings((write("lost_writes", ("type: event", "status: experimental\ntype: event")),))
    )
    assert service.status()["rules"] == 0
    assert [rule.id for rule in service.loaded.rules] == ["lost_writes"]
