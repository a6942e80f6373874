"""One slow or failing rule never delays another: on a real store, with a rule that burns until its limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.engine_bench import write_rule

from trueline.monitor import rule_service
from trueline.monitor.engine import schedule
from trueline.monitor.rule_service import RuleService
from trueline.monitor.store.client import Limits, Rows, Store

PATIENCE = 180.0
#: Ten thousand million pairs of numbers for every transaction there is.
BURNING = """\
query: |
  WITH
      some AS (SELECT arrayJoin(range(100000)) AS number FROM transactions LIMIT 100000),
      burnt AS (SELECT sum(cityHash64(some.number, other.number)) AS hash FROM some CROSS JOIN some AS other)
  SELECT
    (SELECT hash FROM burnt) AS hash,"""


@dataclass(frozen=True)
class Settings:
    rules: tuple[Path, ...]
    rule_tick_seconds: float = 0.2
    evidence_limit: int = 50
    shipped_rules: bool = False


@pytest.fixture
def service(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RuleService]:
    # Burnt for less long: nothing depends on how long.
    monkeypatch.setattr(rule_service, "LIMITS", replace(rule_service.LIMITS, seconds=3))
    folder = tmp_path / "rules"
    folder.mkdir()
    write_rule(folder)
    write_rule(folder, ("lost_writes", "burning"), ("query: |\n  SELECT", BURNING))
    write_rule(
        folder,
        ("lost_writes", "failing"),
        ("1.0 AS value", "toFloat64(trace_id) AS value"),
        ("service,\n    min", "service, trace_id,\n    min"),
        (
            "GROUP BY environment, application, service",
            "GROUP BY environment, application, service, trace_id",
        ),
    )
    service = RuleService(store, Settings((folder,)))
    yield service
    service.stop(60)


def eventually(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def test_a_rule_that_burns_or_fails_delays_no_other(
    service: RuleService, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The burning rule's second question is held open, and the quick one goes on meanwhile."""
    # A busy machine must not make the quick one slow. What came to its limit of time is slow all the same.
    monkeypatch.setattr(schedule, "SLOW", timedelta(hours=1))
    hold, asked, let_go = threading.Event(), threading.Event(), threading.Event()
    answer = store.query_read_only

    def held(sql: str, parameters: Mapping[str, Any], limits: Limits) -> Rows:
        if "burnt" in sql and hold.is_set():
            asked.set()
            assert let_go.wait(PATIENCE)
        return answer(sql, parameters, limits)

    monkeypatch.setattr(store, "query_read_only", held)
    store.insert(
        "transactions",
        {"trace_id": ["t"], "span_id": ["s"], "outcome": ["rolled_back"], "writes": [1]},
    )
    try:
        service.start()
        quick, burning = service.states["lost_writes"], service.states["burning"]
        eventually(lambda: quick.evaluations > 0 and burning.evaluations > 0)
        assert burning.slow
        assert not quick.slow
        hold.set()
        assert asked.wait(PATIENCE)
        before, burnt = quick.evaluations, burning.evaluations
        eventually(lambda: quick.evaluations >= before + 2)
        assert burning.running
        assert burning.evaluations == burnt
        eventually(lambda: [one.rule for one in service.findings.select("1", {})] == ["lost_writes"])
    finally:
        let_go.set()
    eventually(lambda: "limit of time" in burning.error)
    assert burning.slow
    assert quick.error == ""
    assert "Cannot parse" in service.states["failing"].error
    # The line is written a moment after the error shows.
    eventually(lambda: "limit of time" in service.ledger.last("burning", 1)[0]["error"])
    assert service.ledger.last("burning", 1)[0]["result"] == "error"
    assert [one.rule for one in service.findings.select("1", {})] == ["lost_writes"]
