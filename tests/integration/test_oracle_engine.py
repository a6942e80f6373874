"""Whatever the order of arrival, the batches, duplicates and restarts: the engine ends with the oracle's
findings.

Cases of all core rules are put into one store, each in an application of its own, and arrive as chance has
it: up to a second early or late (which is what the rules' delays are for), some rows twice, with pauses of
the rules, and with the monitor's process replaced now and then.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.engine_bench import FakeClock
from support.oracle import BEYOND, ORACLES
from support.telemetry import PATIENT, RULES, clear_telemetry

from trueline.monitor.engine.load import load_rule
from trueline.monitor.engine.rule import RuleTest
from trueline.monitor.engine.rule_rows import Row, insert_rows, parse_offset, span_rows
from trueline.monitor.engine.schedule import Scheduler
from trueline.monitor.store.client import Store
from trueline.monitor.store.findings import StoredFindings
from trueline.monitor.store.gaps import StoredGaps
from trueline.monitor.store.ledger import StoredArrivals, StoredLedger

#: Cases that lie further back would take the clock hours to play.
REACH = timedelta(minutes=5)
RULE = {rule: load_rule(RULES / f"{rule}.yaml") for rule in ORACLES}


def reaches(test: RuleTest) -> timedelta:
    rows = [row for listed in (test.model_extra or {})["rows"].values() for row in listed]
    return max(-parse_offset(row.get("at", "-10s")) for row in rows)


#: The database sightings of a case are made from its statements here.
CASES = [
    (rule, test)
    for rule in ORACLES
    for test in RULE[rule].definition.tests
    if reaches(test) <= REACH
    and "databases" not in (test.model_extra or {})["rows"]
    and (rule, test.name) not in BEYOND
]


def tables_of(number: int, test: RuleTest, now: datetime) -> dict[str, list[Row]]:
    """The rows of a case, apart from those of all others."""
    tables = {}
    for name, compact in (test.model_extra or {})["rows"].items():
        if name == "logs":
            rows = span_rows(name, compact, now=now, seed=f"{number}/{test.name}")
            apart = {"service.namespace": f"{number}~"}
            tables[name] = [
                {**row, "ResourceAttributes": {**row["ResourceAttributes"], **apart}} for row in rows
            ]
            continue
        tables[name] = [
            row
            | {"application": f"{number}~{row.get('application', '')}"}
            | {key: f"{number}~{row[key]}" for key in ("trace_id", "transaction_id") if key in row}
            for row in span_rows(name, compact, now=now, seed=f"{number}/{test.name}")
        ]
    return tables


def groups(rule: str, found: Sequence[tuple[Any, ...]]) -> set[tuple[str, ...]]:
    return {(rule, *map(str, group)) for group in found}


def play(store: Store, numbers: Sequence[int], chance: random.Random) -> tuple[set[Any], set[Any]]:
    """The findings of the engine and of the oracle."""
    now = datetime.now(UTC)
    expected: set[tuple[str, ...]] = set()
    arriving: list[tuple[datetime, str, Row]] = []
    for number in numbers:
        tables = tables_of(number, CASES[number][1], now)
        for each in ORACLES:
            expected |= groups(each, list(ORACLES[each](tables)))
        for name, rows in tables.items():
            for row in rows:
                for _ in range(1 + (chance.random() < 0.2)):
                    late = timedelta(seconds=chance.random())
                    arriving.append((row["received_at"] + late, name, row))
    arriving.sort(key=lambda item: item[0])

    clear_telemetry(store)
    for table in ("findings", "finding_occurrences", "finding_events", "finding_evidence", "rule_runs"):
        store.command(f"TRUNCATE TABLE {table}")
    clock = FakeClock(arriving[0][0] - timedelta(seconds=1))
    findings = StoredFindings(store)

    def process() -> Scheduler:
        scheduler = Scheduler(
            list(RULE.values()),
            lambda sql, parameters: store.query_read_only(sql, parameters, PATIENT).dicts(),
            clock,
            StoredArrivals(store),
            StoredLedger(store),
            findings,
            gaps=StoredGaps(store),
            elapsed=lambda: clock.passed,
        )
        scheduler.begin()
        return scheduler

    def tick(scheduler: Scheduler) -> None:
        while due := scheduler.due():
            for state in due:
                scheduler.run(state)
                assert not state.error, state.error

    scheduler = process()
    while arriving:
        cut = arriving[0][0] + timedelta(seconds=chance.choice((0.05, 0.5, 1)))
        batch = [item for item in arriving if item[0] <= cut]
        arriving = arriving[len(batch) :]
        clock.forward(seconds=max(0.0, (cut - clock.now).total_seconds()))
        for name in dict.fromkeys(name for _, name, _ in batch):
            rows = [{**row, "received_at": clock.now} for _, of, row in batch if of == name]
            insert_rows(store.insert, name, rows)
        if chance.random() < 0.2:
            scheduler = process()
        if chance.random() < 0.5:
            tick(scheduler)
    for _ in range(3):
        clock.forward(seconds=15)
        tick(scheduler)
    found = {
        (one.rule, *(str(one.group[name]) for name in RULE[one.rule].definition.group_by))
        for one in findings.select("1", {})
    }
    return found, expected


@pytest.mark.parametrize(("examples", "cases"), [(1, 4), pytest.param(40, 24, marks=pytest.mark.nightly)])
def test_chance_never_changes_the_findings(store: Store, examples: int, cases: int) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        # A seed cannot be made simpler.
        phases=[Phase.generate],
    )
    @given(st.integers(0, 1 << 32))
    def judge(seed: int) -> None:
        chance = random.Random(seed)
        numbers = chance.sample(range(len(CASES)), cases)
        found, expected = play(store, numbers, chance)
        names = {number: CASES[number][1].name for number in numbers}
        assert found == expected, (found - expected, expected - found, names)

    judge()
