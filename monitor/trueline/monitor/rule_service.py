"""The rules at work in one process: loads them, runs them in threads against the store, tells how they do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from trueline.monitor.engine.load import RuleFileError, RuleSet
from trueline.monitor.engine.rule_state import RuleState
from trueline.monitor.engine.schedule import Scheduler
from trueline.monitor.errors import TruelineError
from trueline.monitor.resources import rule_paths, shipped
from trueline.monitor.rule_folder import RuleFolder
from trueline.monitor.store.client import Limits, Store
from trueline.monitor.store.findings import StoredFindings
from trueline.monitor.store.gaps import StoredGaps
from trueline.monitor.store.ledger import StoredArrivals, StoredLedger

#: Quick rules evaluated at once.
QUICK_PLACES: Final = 2
#: Slow rules evaluated at once, and those of which nobody knows yet: they never take a quick rule's place.
SLOW_PLACES: Final = 1
#: What one query may use. Reaching a limit is an error of the rule, and is shown as one. One core only: a
#: query that burns until its limit leaves the others to the quick rules and to what arrives.
LIMITS: Final = Limits(seconds=10, memory_bytes=1 << 30, rows=1000, threads=1)
#: Seconds between two looks at the rule files.
RELOAD_SECONDS: Final = 2.0
#: Shortest pause between two looks at which rules are due, seconds.
MIN_PAUSE: Final = 0.05
_log = logging.getLogger(__name__)


class RuleSettings(Protocol):
    """The part of the monitor's settings that is needed here."""

    @property
    def rules(self) -> tuple[Path, ...]:
        """Files and folders of rules beside the shipped ones."""

    @property
    def shipped_rules(self) -> bool:
        """Whether the shipped ones are loaded."""

    @property
    def rule_tick_seconds(self) -> float:
        """How often it is looked which rules are due."""

    @property
    def evidence_limit(self) -> int:
        """Spans and logs kept with a finding, at most."""


class Source(Protocol):
    """Where rules come from while the monitor runs."""

    def refresh(self) -> RuleSet:
        """The rules as their files are now; of a file that cannot be used, the last version that could."""


class RuleService:
    """Runs the stable rules from :meth:`start` to :meth:`stop`."""

    def __init__(self, store: Store, settings: RuleSettings, source: Source | None = None) -> None:
        """Load the rules, from their files or from ``source``, which is asked for changes every two seconds.

        A file that was asked for and cannot be used raises RuleFileError; a broken one among the shipped
        rules only shows in :meth:`status`, so that the others still watch.
        """
        self.findings = StoredFindings(store, settings.evidence_limit)
        self.ledger = StoredLedger(store)
        self._source: Source = source or RuleFolder(
            rule_paths(settings.rules, settings.shipped_rules), shipped("rules")
        )
        self.loaded: RuleSet = self._source.refresh()
        if settings.rules and self.loaded.problems:
            raise RuleFileError(list(self.loaded.problems))
        self._store = store
        self._tick_seconds = settings.rule_tick_seconds
        self._looked_at = time.monotonic()
        self._scheduler = Scheduler(
            rules=self.loaded.enabled,
            query=self._query,
            clock=self._clock,
            arrivals=StoredArrivals(store),
            ledger=self.ledger,
            findings=self.findings,
            gaps=StoredGaps(store),
        )
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._pools: dict[bool, ThreadPoolExecutor] = {}
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
        for slow, places in ((False, QUICK_PLACES), (True, SLOW_PLACES)):
            self._pools[slow] = ThreadPoolExecutor(places, thread_name_prefix="trueline-rule")
        self._thread = threading.Thread(target=self._loop, name="trueline-rules", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """End: evaluations under way are waited for. A second call does nothing."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout)
        while self._pools:
            _, pool = self._pools.popitem()
            pool.shutdown(wait=True, cancel_futures=True)

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
                self._reload()
                for state in self._scheduler.due():
                    pool = self._pools.get(state.slow)
                    if pool is not None and not self._stopping.is_set():
                        pool.submit(self._scheduler.run, state)
                self._trouble = ""
                pause = self._scheduler.seconds_to_next()
            except TruelineError as error:
                # The store is away: the next tick tries again, and readiness tells meanwhile.
                if not self._trouble:
                    _log.warning("The rules wait: %s", error)
                self._trouble = f"The rules wait: {error}"
            self._stopping.wait(min(max(pause, MIN_PAUSE), self._tick_seconds))

    def _reload(self) -> None:
        """Go on with the rule files as they are now. Texts may change while the rule's meaning stays."""
        if time.monotonic() - self._looked_at < RELOAD_SECONDS:
            return
        self._looked_at = time.monotonic()
        fresh = self._source.refresh()
        if fresh is self.loaded:
            return
        self._scheduler.replace(fresh.enabled, complete=not fresh.problems)
        self.loaded = fresh
        for problem in fresh.problems:
            _log.error("A rule file cannot be used: %s", problem)

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
        "note": state.note,
        "excepted": sum(map(len, state.excepted.values())),
    }
