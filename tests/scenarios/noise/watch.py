"""The real engine on a clock that obeys: what arrives is put into the store, then the rules that are due
judge it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from scenarios.noise.expand import Company, Span

from trueline.monitor.engine.finding import Finding
from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.schedule import Scheduler
from trueline.monitor.rule_service import LIMITS
from trueline.monitor.store.client import Limits, Store
from trueline.monitor.store.findings import StoredFindings
from trueline.monitor.store.gaps import StoredGaps
from trueline.monitor.store.ledger import StoredArrivals, StoredLedger

#: What a rule may use, but for the time: a busy machine makes no rule worse.
_PATIENT: Final = Limits(120, LIMITS.memory_bytes, LIMITS.rows, LIMITS.threads)
#: Judging goes on for so long after the last arrival: some rules look at a row again a minute later.
AFTERWARDS: Final = timedelta(minutes=2)


@dataclass
class Cost:
    """What a rule has cost. Seconds."""

    evaluations: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    slowest: float = 0.0


@dataclass
class Seen:
    """What a run has shown."""

    findings: list[Finding] = field(default_factory=list)
    costs: dict[str, Cost] = field(default_factory=lambda: defaultdict(Cost))
    errors: list[str] = field(default_factory=list)
    #: How often a rule reached a limit, by rule: such a window is judged again in halves.
    retried: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    withheld: int = 0
    statements: int = 0
    made_cpu: float = 0.0
    judged_cpu: float = 0.0
    wall: float = 0.0


class Watch:
    """Rules that watch a company."""

    def __init__(self, store: Store, rules: Sequence[Rule], start: datetime) -> None:
        self.store = store
        self.now = start
        self.passed = 0.0
        self.seen = Seen()
        self.findings = StoredFindings(store)
        self.ledger = StoredLedger(store)
        self.scheduler = Scheduler(
            *(rules, self.query, lambda: self.now, StoredArrivals(store), self.ledger, self.findings),
            gaps=StoredGaps(store),
            elapsed=lambda: self.passed,
        )
        self.scheduler.begin()

    def query(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """As the monitor asks, with more patience."""
        return self.store.query_read_only(sql, parameters, _PATIENT).dicts()

    def over(
        self,
        company: Company,
        span: Span,
        step: timedelta,
        progress: Callable[[float], None] = lambda share: None,
    ) -> Seen:
        """Let all the time pass in steps: arrivals, then judgement."""
        began = time.perf_counter()
        last = span.end + AFTERWARDS
        while self.now < last:
            until = min(self.now + step, last)
            cpu = time.process_time()
            if self.now < span.end + timedelta(minutes=1):
                company.arrive(self.now, until)
            made = time.process_time()
            self.passed += (until - self.now).total_seconds()
            self.now = until
            self.tick()
            self.seen.made_cpu += made - cpu
            self.seen.judged_cpu += time.process_time() - made
            progress((self.now - span.start) / (last - span.start))
        seen = self.seen
        seen.errors = [
            f"{name} has judged until {state.covered_until}: {state.error}"
            for name, state in self.scheduler.states.items()
            if state.covered_until is None or state.covered_until < span.end
        ]
        seen.findings = self.findings.select("1", {})
        seen.statements = int(self.store.query("SELECT count() FROM statements").scalar())
        seen.withheld = int(self.store.query("SELECT sum(withheld) FROM rule_runs").scalar())
        seen.wall = time.perf_counter() - began
        return seen

    def tick(self) -> None:
        """What the monitor does each second, until nothing is due."""
        for _ in range(2000):
            due = self.scheduler.due()
            if not due:
                return
            for state in due:
                cost = self.seen.costs[state.rule.id]
                wall, cpu = time.perf_counter(), time.process_time()
                self.scheduler.run(state)
                taken = time.perf_counter() - wall
                cost.evaluations += 1
                cost.wall += taken
                cost.cpu += time.process_time() - cpu
                cost.slowest = max(cost.slowest, taken)
                if state.error:
                    # The engine waits a while, then tries again in halves. No time passes here: at once.
                    self.seen.retried[state.rule.id] += 1
                    state.next_due = self.now
        raise AssertionError("some rule is always due")
