"""When each rule runs, and what is remembered of it. Threads are the caller's; this only decides and does.

    for state in scheduler.due():      # called every second
        pool.submit(scheduler.run, state)

Each rule goes its own way: windows are contiguous by the ledger, an error leaves the window to be tried again
(later each time), and what was missed is caught up oldest first.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from trueline.monitor.engine.evaluate import apply, evaluate
from trueline.monitor.engine.finding import ENGINE, Cause, Event, Finding, resolve
from trueline.monitor.engine.ports import Arrivals, Clock, Findings, Ledger, Query, Result, RuleRun
from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.windows import Window, next_window, without_idle_time
from trueline.monitor.errors import TruelineError

_log = logging.getLogger(__name__)
#: Longest pause between attempts of a rule that fails.
MAX_BACKOFF: Final = timedelta(minutes=1)
#: How often findings are looked through for silence, and young evidence is completed.
UPKEEP_INTERVAL: Final = timedelta(seconds=10)
#: Time in which nothing arrived is written down in lines of this length, at least.
IDLE_LINE: Final = timedelta(minutes=1)
#: A rule rests this many times as long as its last evaluation took, so that a slow one leaves room.
REST: Final = 1
#: So long after a sighting, spans that ended later (the request around it) are still added to its evidence.
EVIDENCE_AGE: Final = timedelta(minutes=2)


@dataclass
class RuleState:
    """What the scheduler remembers of one rule since the process began; times are the store's."""

    rule: Rule
    covered_until: datetime | None = None
    recorded_until: datetime | None = None
    next_due: datetime | None = None
    running: bool = False
    failures: int = 0
    evaluations: int = 0
    sightings: int = 0
    error: str = ""
    last_run: datetime | None = None
    milliseconds: float = 0.0
    last_upkeep: datetime | None = None


@dataclass
class Scheduler:
    """Runs rules against a store. ``on_change`` is told of every finding that was opened or changed."""

    rules: Sequence[Rule]
    query: Query
    clock: Clock
    arrivals: Arrivals
    ledger: Ledger
    findings: Findings
    on_change: Callable[[Finding], None] = lambda finding: None
    states: dict[str, RuleState] = field(init=False)

    def __post_init__(self) -> None:
        self._guard = threading.Lock()
        self.states = {rule.id: RuleState(rule) for rule in self.rules}

    def begin(self, *, complete: bool = True) -> None:
        """Take up where the ledger ends, and resolve findings of rules that changed or are gone.

        ``complete`` is False where some rule files could not be read: then no rule is taken for gone.
        """
        for state in self.states.values():
            state.covered_until = self.ledger.covered_until(state.rule.id, state.rule.revision)
            state.recorded_until = state.covered_until
        now = self.clock()
        with self.findings.changing():
            changed: list[Finding] = []
            events: list[Event] = []
            for finding in self.findings.active():
                state_ = self.states.get(finding.rule)
                if state_ is None and complete:
                    why, cause = f"rule {finding.rule} is no longer loaded", Cause.RULE_REMOVED
                elif state_ is not None and finding.rule_revision != state_.rule.revision:
                    version = state_.rule.definition.version
                    why, cause = (
                        f"rule {finding.rule} was changed, now version {version}",
                        Cause.RULE_CHANGED,
                    )
                else:
                    continue
                resolved, made = resolve(finding, ENGINE, why, now, cause)
                changed.append(resolved)
                events.extend(made)
            self.findings.save(changed, events)

    def due(self) -> list[RuleState]:
        """Rules whose time has come, marked as running: each must be given to :meth:`run` once."""
        now = self.clock()
        with self._guard:
            ready = [
                state
                for state in self.states.values()
                if not state.running and (state.next_due is None or state.next_due <= now)
            ]
            ready.sort(key=lambda state: (state.next_due is not None, state.next_due or now))
            for state in ready:
                state.running = True
        return ready

    def seconds_to_next(self) -> float:
        """Seconds until a rule is due that does not run already; infinite if there is none."""
        now = self.clock()
        with self._guard:
            times = [state.next_due or now for state in self.states.values() if not state.running]
        return (min(times) - now).total_seconds() if times else math.inf

    def run(self, state: RuleState) -> None:
        """Judge the rule's next window. Never raises: what goes wrong is the state's ``error``."""
        try:
            now = self.clock()
            window = self._next(state, now)
            if window is not None and window.idle:
                self._pass_over(state, window)
            elif window is not None:
                self._judge(state, window, now)
            behind = window is not None and window.backlog
            rested = state.last_upkeep is None or now - state.last_upkeep >= UPKEEP_INTERVAL
            if rested and not behind and not state.error:
                state.last_upkeep = now
                self._upkeep(state, now)
            interval = state.rule.definition.interval
            if state.error:
                pause = min(interval * 2 ** min(state.failures, 10), max(MAX_BACKOFF, interval))
            else:
                taken = timedelta(milliseconds=state.milliseconds)
                pause = timedelta(0) if behind else max(interval, taken * REST)
            state.next_due = now + pause
        except TruelineError as error:
            # The clock, the ledger or the findings cannot be reached: the store's trouble, not the rule's.
            state.error = str(error)
            state.failures += 1
        except Exception as error:
            # One rule must not end the others' loop, whatever is wrong with it.
            state.error = f"internal error: {type(error).__name__}: {error}"
            state.failures += 1
            _log.exception("rule %s failed", state.rule.id)
        finally:
            state.running = False

    def _next(self, state: RuleState, now: datetime) -> Window | None:
        definition = state.rule.definition
        window = next_window(definition, state.covered_until, now, state.failures)
        if window is None:
            return None
        first = self.arrivals(state.rule.query.tables, window.query_start, window.settled)
        return without_idle_time(definition, window, first, state.failures)

    def _pass_over(self, state: RuleState, window: Window) -> None:
        """Nothing arrived: cover the window without asking, and write that down only now and then."""
        state.covered_until = window.end
        state.error, state.failures = "", 0
        if state.recorded_until is None or window.end - state.recorded_until >= IDLE_LINE:
            state.milliseconds = 0.0
            self._record(state, window, "ok", 0, "")

    def _judge(self, state: RuleState, window: Window, now: datetime) -> None:
        rule = state.rule
        began = time.perf_counter()
        error, rows = "", 0
        changed: list[Finding] = []
        try:
            sightings = evaluate(rule, window, self.query)
            rows = len(sightings)
            changed = apply(rule, sightings, window, self.findings, now)
        except TruelineError as failure:
            error = str(failure)
        state.milliseconds = (time.perf_counter() - began) * 1000
        state.last_run = now
        state.evaluations += 1
        state.sightings += rows
        state.error = error
        self._record(state, window, "error" if error else "ok", rows, error)
        if error:
            state.failures += 1
            return
        state.failures = 0
        state.covered_until = window.end
        for finding in changed:
            self.on_change(finding)

    def _record(self, state: RuleState, window: Window, result: Result, rows: int, message: str) -> None:
        """Write the window down, with the idle ones before it that were not, and with what was given up."""
        line = RuleRun(
            rule=state.rule.id,
            version=state.rule.definition.version,
            revision=state.rule.revision,
            start=window.start,
            end=window.end,
            result=result,
            rows=rows,
            milliseconds=state.milliseconds,
            message=message,
            at=self.clock(),
        )
        if result == "error":
            self.ledger.record(line)
            return
        if window.skipped_from is not None:
            why = "too old to be caught up"
            self.ledger.record(
                replace(
                    line,
                    start=state.recorded_until or window.skipped_from,
                    end=window.start,
                    result="skipped",
                    rows=0,
                    milliseconds=0.0,
                    message=why,
                )
            )
            state.recorded_until = window.start
        self.ledger.record(replace(line, start=state.recorded_until or window.start))
        state.recorded_until = window.end

    def _upkeep(self, state: RuleState, now: datetime) -> None:
        """Complete young evidence; resolve findings that have gone silent.

        Silence is counted in judged time, and only while the finding's environment was heard in the second
        half of it: neither a rule that could not run nor services that stopped sending mean that all is well.
        """
        after = state.rule.definition.resolve.after
        covered = state.covered_until
        active = self.findings.active(state.rule.id)
        self.findings.copy_evidence([one for one in active if now - one.updated_at <= EVIDENCE_AGE])
        if covered is None:
            return
        for candidate in active:
            if covered - candidate.last_arrival_at < after:
                continue
            if not self.findings.is_heard(candidate, covered - after / 2):
                continue
            with self.findings.changing():
                # Read again: somebody may have changed it, or it may have been seen meanwhile.
                current = self.findings.load([candidate.id]).get(candidate.id)
                if current is None or covered - current.last_arrival_at < after:
                    continue
                why = f"no new occurrence for {_spoken(after)}, while telemetry kept arriving"
                resolved, events = resolve(current, ENGINE, why, now, Cause.SILENCE)
                self.findings.save([resolved], events)
            self.on_change(resolved)


def _spoken(span: timedelta) -> str:
    seconds = span.total_seconds()
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            number = int(seconds // size)
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{seconds:g} seconds"
