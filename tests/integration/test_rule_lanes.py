"""One slow or failing rule never delays another: on a real store, with a rule that burns until its limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.engine_bench import write_rule

from trueline.monitor import rule_service
from trueline.monitor.rule_service import RuleService
from trueline.monitor.store.client import Store

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


def test_a_rule_that_burns_or_fails_delays_no_other(service: RuleService, store: Store) -> None:
    service.start()
    quick, burning = service.states["lost_writes"], service.states["burning"]

    def lose(number: int) -> None:
        store.insert(
            "transactions",
            {
                "trace_id": [f"t{number}"],
                "span_id": [f"s{number}"],
                "outcome": ["rolled_back"],
                "writes": [1],
            },
        )

    lose(0)
    eventually(lambda: quick.evaluations > 0 and not quick.slow)
    # Whether the first look at the burning rule is over or not: it is at work again, and the quick one goes
    # on.
    met = 0
    number = 1
    deadline = time.monotonic() + PATIENCE
    while met < 2:
        assert time.monotonic() < deadline, "the quick rule waited for the burning one"
        lose(number)
        number += 1
        before, burnt, at_work = quick.evaluations, burning.evaluations, burning.running
        eventually(lambda before=before: quick.evaluations > before)  # type: ignore[misc]
        met += at_work and burning.running and burning.evaluations == burnt
    eventually(lambda: "limit of time" in burning.error)
    assert burning.slow
    assert quick.error == ""
    assert "Cannot parse" in service.states["failing"].error
    # The line is written a moment after the error shows.
    eventually(lambda: "limit of time" in service.ledger.last("burning", 1)[0]["error"])
    assert service.ledger.last("burning", 1)[0]["result"] == "error"
    assert [one.rule for one in service.findings.select("1", {})] == ["lost_writes"]
