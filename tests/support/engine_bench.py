"""A scheduler on a real store with a clock that obeys, for tests of the engine and what is built on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from support.store_fixtures import create_schema, settings_of

from trueline.monitor.engine.finding import Finding
from trueline.monitor.engine.load import load_rule
from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.schedule import Scheduler
from trueline.monitor.errors import QueryError
from trueline.monitor.store.client import Limits, Store, open_store
from trueline.monitor.store.findings import StoredFindings
from trueline.monitor.store.gaps import StoredGaps
from trueline.monitor.store.ledger import StoredArrivals, StoredLedger

NOON: Final = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
#: A busy machine makes a rule no worse.
PATIENT: Final = Limits(seconds=120)
#: A rule on the typed tables, for any test.
RULE: Final = """
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
    """A clock that stands still until it is told: to go forward as time does, or to jump."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.passed = 0.0

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> datetime:
        self.passed += timedelta(**span).total_seconds()
        return self.jump(**span)

    def jump(self, **span: float) -> datetime:
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
        self.ledger = StoredLedger(self.store)
        self.scheduler = Scheduler(
            [self.rule],
            self.query,
            self.clock,
            StoredArrivals(self.store),
            self.ledger,
            self.findings,
            gaps=StoredGaps(self.store),
            elapsed=lambda: self.clock.passed,
        )
        self.scheduler.begin()
        return self.scheduler

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        self.seen.append(dict(parameters))
        if self.fail:
            raise QueryError("out of memory", limit="memory")
        return self.store.query_read_only(sql, parameters, PATIENT).dicts()

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


def write_rule(folder: Path, *changes: tuple[str, str]) -> Rule:
    """Write the rule above into a folder, with pairs of old and new text, and load it."""
    text = RULE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / f"rule{len(list(folder.iterdir()))}.yaml"
    path.write_text(text, encoding="utf-8")
    return load_rule(path)


@contextmanager
def schema_store(folder: Path, database: str) -> Iterator[Store]:
    """A store with the whole schema for all tests of a file; they empty it with :func:`empty_tables`."""
    store = open_store(settings_of(folder, database))
    create_schema(store)
    try:
        yield store
    finally:
        store.command(f"DROP DATABASE {store.database}")
        store.close()


def empty_tables(store: Store) -> None:
    """Empty every table of the store: quicker than making them again."""
    tables = store.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' "
        "AND total_rows > 0"
    )
    for (table,) in tables:
        store.command(f"TRUNCATE TABLE `{table}`")
