"""A finding ends when its rule sees that reads meet writes again, and not when somebody falls silent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engine_bench import Bench, empty_tables, schema_store
from support.telemetry import RULES, insert_telemetry

from trueline.monitor.engine.finding import Cause, State
from trueline.monitor.engine.load import load_rule
from trueline.monitor.store.client import Store

USER = "expenses.user_id"
WRITE = {
    "write": "expenses",
    "ids": [f"{USER} set integer user:u1"],
    "service": "web",
    "entry_name": "POST /",
}
#: What is wrong for each rule, and what is right.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "env_split": ({"database": "old", "ids": [f"{USER} where integer user:u1"]}, {"database": "main"}),
    "key_mismatch": (
        {"rows": 0, "ids": [f"{USER}_hash where sha256 user:u1"]},
        {"rows": 1, "ids": [f"{USER} where integer user:u1"]},
    ),
}


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_health") as store:
        yield store


@pytest.mark.parametrize("rule_id", sorted(CASES))
def test_reads_that_meet_writes_again_end_the_finding(shared_store: Store, rule_id: str) -> None:
    empty_tables(shared_store)
    bench = Bench(shared_store, load_rule(RULES / f"{rule_id}.yaml"))
    different, right = CASES[rule_id]
    wrong = {"read": "expenses", "service": "worker", "entry_name": "summary", "at": "-1s", **different}

    def arrives(*rows: dict[str, Any]) -> None:
        insert_telemetry(shared_store, now=bench.clock.now, statements=list(rows))

    def judged() -> State:
        bench.clock.forward(seconds=15)
        bench.tick()
        assert not bench.scheduler.states[rule_id].error
        return bench.only().state

    arrives({**WRITE, "at": "-400s", "received": "-2s"}, wrong)
    assert judged() is State.OPEN

    # Others read in the right place; the one that is wrong has fallen silent.
    bench.clock.forward(seconds=120)
    arrives({**wrong, **right, "service": "web", "entry_name": "GET /"})
    assert judged() is State.OPEN

    arrives({**wrong, **right, "instance": "mended"})
    assert judged() is State.RESOLVED
    assert bench.only().resolved_by is Cause.HEALTH
    (_, ended) = bench.findings.events(bench.only().id)
    assert "again, at 2026-11-20 12:02:" in ended["why"]

    # And it opens again by what is wrong later.
    bench.clock.forward(seconds=600)
    arrives({**wrong, "instance": "broken again"})
    assert judged() is State.REOPENED
