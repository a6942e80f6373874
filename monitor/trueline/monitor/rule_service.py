"""The rules at work in one process: loads them, runs them in threads against the store, tells how they do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from trueline.monitor.engine.load import RuleFileError, RuleSet, load_rules
from trueline.monitor.engine.schedule import RuleState, Scheduler
from trueline.monitor.errors import TruelineError
from trueline.monitor.resources import rule_paths
from trueline.monitor.store.client import Limits, Store
from trueline.monitor.store.findings import StoredArrivals, StoredFindings, StoredLedger

#: Rules evaluated at once: one that is slow leaves a place for the others.
CONCURRENCY: Final = 2
#: What one evaluation may use. Reaching a limit is an error of the rule, and is shown as one.
LIMITS: Final = Limits(seconds=10, memory_bytes=1 << 30, rows=1000)
#: Shortest pause between two looks at which rules are due, seconds.
MIN_PAUSE: Final = 0.05
_log = logging.getLogger(__name__)


class RuleSettings(Protocol):
    """The part of the monitor's settings that is needed here."""

    @property
    def rules(self) -> tuple[Path, ...]:
        """Folders of rule files; empty for the shipped ones."""

    @property
    def rule_tick_seconds(self) -> float:
        """How often it is looked which rules are due."""

    @property
    def evidence_limit(self) -> int:
        """Spans and logs kept with a finding, at most."""


class RuleService:
    """Runs the stable rules from :meth:`start` to :meth:`stop`."""

    def __init__(self, store: Store, settings: RuleSettings) -> None:
        """Load the rules.

        A file that was asked for and cannot be used raises RuleFileError; a broken one among the shipped
        rules only shows in :meth:`status`, so that the others still watch.
        """
        self.findings = StoredFindings(store, settings.evidence_limit)
        self.ledger = StoredLedger(store)
        self.loaded: RuleSet = load_rules(rule_paths(settings.rules))
        if settings.rules and self.loaded.problems:
            raise RuleFileError(list(self.loaded.problems))
        self._store = store
        self._tick_seconds = settings.rule_tick_seconds
        self._scheduler = Scheduler(
            rules=[rule for rule in self.loaded.rules if rule.definition.status == "stable"],
            query=self._query,
            clock=self._clock,
            arrivals=StoredArrivals(store),
            ledger=self.ledger,
            findings=self.findings,
        )
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._trouble = ""

    @property
    def states(self) -> Mapping[str, RuleState]:
        """What is known of each rule that runs, by its id."""
        return self._scheduler.states

    def start(self) -> None:
        """Begin to evaluate; returns at once. The store must have been migrated."""
        if self._thread is not None:
            raise RuntimeError("the rule service runs already")
        for problem in self.loaded.problems:
            _log.error("A rule file cannot be used: %s", problem)
        self._pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="trueline-rule")
        self._thread = threading.Thread(target=self._loop, name="trueline-rules", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End: evaluations under way are waited for. A second call does nothing."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def status(self) -> dict[str, Any]:
        """How the rules do, as JSON values.

        ``running`` tells whether they are looked at, ``rules`` how many run, ``problems`` what is wrong in
        sentences, ``states`` each rule's state.
        """
        alive = self._thread is not None and self._thread.is_alive()
        problems = [f"A rule file cannot be used: {problem}" for problem in self.loaded.problems]
        if not alive:
            problems.append("The rules do not run.")
        if self._trouble:
            problems.append(self._trouble)
        problems += [
            f"Rule {name} fails: {state.error}" for name, state in self.states.items() if state.error
        ]
        return {
            "running": alive,
            "rules": len(self.states),
            "problems": problems,
            "states": {name: rule_state(state) for name, state in self.states.items()},
        }

    def _loop(self) -> None:
        begun = False
        while not self._stopping.is_set():
            pause = self._tick_seconds
            try:
                if not begun:
                    self._scheduler.begin(complete=not self.loaded.problems)
                    begun = True
                for state in self._scheduler.due():
                    if self._pool is not None and not self._stopping.is_set():
                        self._pool.submit(self._scheduler.run, state)
                self._trouble = ""
                pause = self._scheduler.seconds_to_next()
            except TruelineError as error:
                # The store is away: the next tick tries again, and readiness tells meanwhile.
                if not self._trouble:
                    _log.warning("The rules wait: %s", error)
                self._trouble = f"The rules wait: {error}"
            self._stopping.wait(min(max(pause, MIN_PAUSE), self._tick_seconds))

    def _query(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._store.query_read_only(sql, parameters, LIMITS).dicts()

    def _clock(self) -> datetime:
        """The store's clock, which stamps arrivals: a server's may differ from this host's."""
        now: datetime = self._store.query("SELECT now64(3, 'UTC')").scalar()
        return now


def rule_state(state: RuleState) -> dict[str, Any]:
    """A rule's state as JSON values."""
    return {
        "state": "failing" if state.error else "running" if state.evaluations else "waiting",
        "error": state.error,
        "evaluations": state.evaluations,
        "sightings": state.sightings,
        "last_run": state.last_run.isoformat() if state.last_run else None,
        "covered_until": state.covered_until.isoformat() if state.covered_until else None,
        "milliseconds": round(state.milliseconds, 1),
    }
