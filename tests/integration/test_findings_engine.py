"""The engine against a real store: windows by the ledger, findings that count each occurrence once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trueline.monitor.engine.finding import Finding, State
from trueline.monitor.engine.load import load_rule
from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.schedule import Scheduler
from trueline.monitor.errors import QueryError
from trueline.monitor.store.client import Store
from trueline.monitor.store.findings import StoredFindings, StoredLedger

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RULE = """
id: lost_writes
version: 1
title: Writes are rolled back
severity: error
type: event
interval: 2s
window: 5m
lookback: 1h
params:
  least: {type: UInt32, default: 1, meaning: rolled back transactions}
group_by: [environment, application, service]
resolve: {after: 30m}
query: |
  SELECT
    environment, application, service,
    min(started_at) AS first_seen, max(ended_at) AS last_seen, count() AS count, 1.0 AS value,
    groupArray(50)(trace_id) AS trace_ids, groupArray(50)(span_id) AS span_ids,
    groupUniqArray(version) AS versions
  FROM transactions
  WHERE received_at >= {start:DateTime64(3)} AND received_at < {end:DateTime64(3)}
    AND outcome = 'rolled_back' AND writes > 0
  GROUP BY environment, application, service
  HAVING count() >= {least:UInt32}
summary: "{{ service }} lost {{ count | plural('write') }} since {{ first_seen | utc }}"
explanation: "{{ count }} of {{ versions | few }}"
remediation: {now: stop it, then: mend it, check: look at it}
"""


class FakeClock:
    """A clock that stands still until it is told."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> datetime:
        self.now += timedelta(**span)
        return self.now


class Bench:
    """A scheduler on a real store with a fake clock, and the rows that it is to judge."""

    def __init__(self, store: Store, rule: Rule) -> None:
        self.store = store
        self.rule = rule
        self.clock = FakeClock(NOON)
        self.findings = StoredFindings(store)
        self.ledger = StoredLedger(store)
        self.number = 0
        self.seen: list[dict[str, Any]] = []
        self.fail = False
        self.scheduler = self.restart()

    def restart(self) -> Scheduler:
        """A new process on the same store."""
        self.scheduler = Scheduler([self.rule], self.query, self.clock, self.ledger, self.findings)
        self.scheduler.begin()
        return self.scheduler

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        self.seen.append(dict(parameters))
        if self.fail:
            raise QueryError("out of memory", limit="memory")
        return self.store.query_read_only(sql, parameters).dicts()

    def lose(self, **columns: Any) -> None:
        """One rolled back transaction that arrives now."""
        self.number += 1
        row = {
            "received_at": self.clock.now,
            "started_at": int((self.clock.now - timedelta(milliseconds=20)).timestamp() * 1e9),
            "ended_at": int(self.clock.now.timestamp() * 1e9),
            "trace_id": f"{self.number:032x}",
            "span_id": f"{self.number:016x}",
            "service": "web",
            "application": "shop",
            "version": "1.0",
            "outcome": "rolled_back",
            "reason": "exception",
            "writes": 1,
            **columns,
        }
        self.store.insert("transactions", {name: [value] for name, value in row.items()})

    def tick(self) -> None:
        """What the service does each second, until nothing is due."""
        for _ in range(500):
            due = self.scheduler.due()
            if not due:
                return
            for state in due:
                self.scheduler.run(state)
        raise AssertionError("the rule is always due")

    def all(self) -> list[Finding]:
        return self.findings.select("1", {})

    def only(self) -> Finding:
        (finding,) = self.all()
        return finding

    def runs(self) -> list[tuple[datetime, datetime, str]]:
        return [
            (start, end, result)
            for start, end, result in self.store.query(
                "SELECT start, end, result FROM rule_runs ORDER BY at, end"
            )
        ]


@pytest.fixture
def make_rule(tmp_path: Path) -> Callable[..., Rule]:
    def make(**changes: str) -> Rule:
        text = RULE
        for old, new in changes.items():
            assert old in text
            text = text.replace(f"{old}: ", f"{new} #", 1) if new.endswith(":") else text.replace(old, new)
        path = tmp_path / f"rule{len(list(tmp_path.iterdir()))}.yaml"
        path.write_text(text, encoding="utf-8")
        return load_rule(path)

    return make


@pytest.fixture
def bench(store: Store, make_rule: Callable[..., Rule]) -> Bench:
    return Bench(store, make_rule())


def test_a_finding_opens_with_its_texts_and_one_event(bench: Bench) -> None:
    bench.lose()
    bench.clock.forward(seconds=1)
    bench.tick()
    finding = bench.only()
    assert (finding.state, finding.count, finding.service, finding.environment) == (
        State.OPEN,
        1,
        "web",
        "unset",
    )
    assert finding.texts.summary == "web lost 1 write since 2026-11-20 11:59:59 UTC"
    assert finding.texts.explanation == "1 of 1.0"
    assert finding.group == {"environment": "unset", "application": "shop", "service": "web"}
    assert [event["action"] for event in bench.findings.events(finding.id)] == ["opened"]
