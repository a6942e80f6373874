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
from trueline.monitor.engine.finding import ENGINE, Action, Event, Finding, Sighting
from trueline.monitor.engine.gaps import Judged, Loss, judge, spoken_skews
from trueline.monitor.engine.jumps import CLOCK_TOLERANCE, look_at_clock
from trueline.monitor.engine.ports import Arrivals, Clock, Findings, Gaps, Ledger, Query, Result, RuleRun
from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.rule_state import RuleState
from trueline.monitor.engine.upkeep import resolve_orphans, spoken, tend
from trueline.monitor.engine.windows import Window, next_window, without_idle_time
from trueline.monitor.errors import QueryError, TruelineError

_log = logging.getLogger(__name__)
#: Longest pause between attempts of a rule that fails.
MAX_BACKOFF: Final = timedelta(minutes=1)
#: How often findings are looked through for silence, and young evidence is completed.
UPKEEP_INTERVAL: Final = timedelta(seconds=10)
#: Time in which nothing arrived is written down in lines of this length, at least.
IDLE_LINE: Final = timedelta(minutes=1)
#: A rule rests this many times as long as its last evaluation took, so that a slow one leaves room.
REST: Final = 1
#: An evaluation that took longer makes the rule a slow one, which runs where it keeps no other waiting.
SLOW: Final = timedelta(seconds=1)


@dataclass
class Scheduler:
    """Runs rules against a store. ``on_change`` is told of every finding that was opened or changed.

    ``elapsed`` counts seconds and never jumps: by it the jumps of the store's clock are known.
    """

    rules: Sequence[Rule]
    query: Query
    clock: Clock
    arrivals: Arrivals
    ledger: Ledger
    findings: Findings
    on_change: Callable[[Finding], None] = lambda finding: None
    gaps: Gaps | None = None
    elapsed: Callable[[], float] = time.monotonic
    states: dict[str, RuleState] = field(init=False)

    def __post_init__(self) -> None:
        self._guard = threading.Lock()
        self.states = {rule.id: RuleState(rule) for rule in self.rules}

    def begin(self, *, complete: bool = True) -> None:
        """Take up where the ledger ends, and resolve findings of rules that changed or are gone.

        ``complete`` is False where some rule files could not be read: then no rule is taken for gone.
        """
        for state in self.states.values():
            self._take_up(state)
        self._resolve_orphans(complete=complete)

    def replace(self, rules: Sequence[Rule], *, complete: bool = True) -> None:
        """Go on with these rules. One whose meaning is unchanged keeps its state, whatever its texts say now.

        ``complete`` as in :meth:`begin`. An evaluation under way of a rule that is no longer there may
        finish.
        """
        states: dict[str, RuleState] = {}
        for rule in rules:
            state = self.states.get(rule.id)
            if state is None or state.rule.revision != rule.revision:
                state = RuleState(rule)
                self._take_up(state)
            state.rule = rule
            states[rule.id] = state
        with self._guard:
            self.rules, self.states = rules, states
        self._resolve_orphans(complete=complete)

    def _take_up(self, state: RuleState) -> None:
        state.covered_until = self.ledger.covered_until(state.rule.id, state.rule.revision)
        state.recorded_until = state.covered_until

    def _resolve_orphans(self, *, complete: bool) -> None:
        loaded = {rule.id: rule for rule in self.rules}
        resolve_orphans(loaded, self.findings, self.clock(), complete=complete)

    def due(self) -> list[RuleState]:
        """Rules whose time has come, marked as running: each must be given to :meth:`run` once."""
        now = self.clock()
        with self._guard:
            ready = [
                state for state in self.states.values() if not state.running and self._is_due(state, now)
            ]
            ready.sort(key=lambda state: (state.next_due is not None, state.next_due or now))
            for state in ready:
                state.running = True
        return ready

    def _is_due(self, state: RuleState, now: datetime) -> bool:
        """Also where the clock went back so far that its time would not come for long."""
        if state.next_due is None:
            return True
        return not now < state.next_due <= now + state.pause + CLOCK_TOLERANCE

    def seconds_to_next(self) -> float:
        """Seconds until a rule is due that does not run already; infinite if there is none."""
        now = self.clock()
        with self._guard:
            times = [state.next_due or now for state in self.states.values() if not state.running]
        return (min(times) - now).total_seconds() if times else math.inf

    def run(self, state: RuleState) -> None:
        """Judge the rule's next window. Never raises: what goes wrong is the state's ``error``."""
        try:
            now = self._now(state)
            window = self._next(state, now)
            if window is not None and window.idle:
                self._pass_over(state, window)
            elif window is not None:
                self._judge(state, window, now)
            behind = window is not None and window.backlog
            rested = state.last_upkeep is None or now - state.last_upkeep >= UPKEEP_INTERVAL
            if rested and not behind and not state.error:
                self._look_at_clocks(state, now)
                state.last_upkeep = now
                for finding in tend(state, self.findings, self.query, now):
                    self.on_change(finding)
            interval = state.rule.definition.interval
            if state.error:
                state.pause = min(interval * 2 ** min(state.failures, 10), max(MAX_BACKOFF, interval))
            else:
                taken = timedelta(milliseconds=state.milliseconds)
                state.pause = timedelta(0) if behind else max(interval, taken * REST)
            state.next_due = now + state.pause
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

    def _now(self, state: RuleState) -> datetime:
        """The store's clock, once it is seen whether it has jumped since the rule last looked."""
        now, covered = self.clock(), state.covered_until
        start = look_at_clock(state, now, self.elapsed())
        if start is not None:
            self.ledger.record(self._line(state, start, start, "clock", note=state.clocks))
            state.covered_until = state.recorded_until = start
            state.last_upkeep = None
            _log.warning("rule %s: %s (it had judged until %s)", state.rule.id, state.clocks, covered)
        return now

    def _look_at_clocks(self, state: RuleState, now: datetime) -> None:
        """Which services' clocks do not fit, among what arrived since this was last asked."""
        if self.gaps is None:
            return
        lookback = state.rule.definition.lookback
        since = state.last_upkeep or now - UPKEEP_INTERVAL
        skews = self.gaps.skews(since, now, lookback)
        state.clocks = "; ".join(spoken_skews(skews, spoken(lookback)))

    def _next(self, state: RuleState, now: datetime) -> Window | None:
        definition = state.rule.definition
        window = next_window(definition, state.covered_until, now, state.failures)
        if window is None:
            return None
        first = self._first_arrival(state.rule, window)
        return without_idle_time(definition, window, first, state.failures)

    def _first_arrival(self, rule: Rule, window: Window) -> datetime | None:
        """When there was first something to judge: an arrival, or one that is due to be looked at again."""
        tables = rule.query.tables
        first = self.arrivals(tables, window.query_start, window.settled)
        if first is not None and first < window.end:
            return first
        found = [first] if first is not None else []
        for wait in rule.definition.revisit:
            before = self.arrivals(tables, window.query_start - wait, window.settled - wait)
            if before is not None:
                found.append(before + wait)
        return min(found, default=None)

    def _pass_over(self, state: RuleState, window: Window) -> None:
        """Nothing arrived: cover the window without asking, and write that down only now and then."""
        state.covered_until = window.end
        state.error, state.failures = "", 0
        if state.recorded_until is None or window.end - state.recorded_until >= IDLE_LINE:
            state.milliseconds = 0.0
            state.note = state.clocks
            self._record(state, window, "ok", 0, "")

    def _judge(self, state: RuleState, window: Window, now: datetime) -> None:
        rule = state.rule
        began = self.elapsed()
        error, rows, withheld, over_time = "", 0, 0, False
        notes: tuple[str, ...] = ()
        changed: list[Finding] = []
        try:
            evaluation = evaluate(rule, window, self.query)
            sightings, rows = evaluation.sightings, len(evaluation.sightings)
            state.count_excepted(evaluation.excepted)
            judged = self._sure(rule, window, sightings)
            withheld, notes = judged.withheld, judged.notes
            changed = apply(rule, judged.sightings, window, self.findings, now)
            notes += self._told_later(rule, window, now)
        except TruelineError as failure:
            error = str(failure)
            over_time = isinstance(failure, QueryError) and failure.limit == "time"
        state.milliseconds = (self.elapsed() - began) * 1000
        state.slow = over_time or timedelta(milliseconds=state.milliseconds) > SLOW
        state.last_run = now
        state.evaluations += 1
        state.sightings += rows
        state.error = error
        state.note = "; ".join([*notes, state.clocks] if state.clocks else notes)
        self._record(state, window, "error" if error else "ok", rows, error, withheld)
        if error:
            state.failures += 1
            return
        state.failures = 0
        state.covered_until = window.end
        for finding in changed:
            self.on_change(finding)

    def _sure(self, rule: Rule, window: Window, sightings: Sequence[Sighting]) -> Judged:
        """Without the sightings that conclude from the absence of what may have been lost."""
        absence = rule.definition.absence
        if self.gaps is None or absence == "none" or not sightings:
            return Judged(list(sightings), 0, ())
        times = [one.absent or (one.first_seen, one.last_seen) for one in sightings]
        losses = self.gaps.losses(min(start for start, _ in times), max(end for _, end in times))
        sampled = self.gaps.sampled(window.query_start, window.end) if absence == "anything" else []
        return judge(absence, sightings, losses, sampled)

    def _told_later(self, rule: Rule, window: Window, now: datetime) -> tuple[str, ...]:
        """Losses told after their time was judged: the findings of that time get a remark."""
        if self.gaps is None or rule.definition.absence == "none":
            return ()
        losses = self.gaps.losses_told(window.start, window.end)
        if not losses:
            return ()
        with self.findings.changing():
            events = [
                Event(finding.id, now, Action.COMMENTED, ENGINE, _doubt(loss), finding.state)
                for finding in self.findings.active(rule.id)
                for loss in losses
                if loss.concerns(finding.environment, finding.application)
                and loss.start <= finding.last_seen
                and loss.end >= finding.first_seen
            ]
            if events:
                self.findings.save([], events)
        return (f"told after their time was judged: {'; '.join(sorted({str(loss) for loss in losses})[:3])}",)

    def _line(
        self, state: RuleState, start: datetime, end: datetime, result: Result, *, note: str = ""
    ) -> RuleRun:
        return RuleRun(
            rule=state.rule.id,
            version=state.rule.definition.version,
            revision=state.rule.revision,
            start=start,
            end=end,
            result=result,
            rows=0,
            milliseconds=0.0,
            message="",
            at=state.clock or self.clock(),
            note=note,
        )

    def _record(
        self, state: RuleState, window: Window, result: Result, rows: int, message: str, withheld: int = 0
    ) -> None:
        """Write the window down, with the idle ones before it that were not, and with what was given up."""
        line = replace(
            self._line(state, window.start, window.end, result, note=state.note),
            rows=rows,
            milliseconds=state.milliseconds,
            message=message,
            withheld=withheld,
        )
        if result == "error":
            self.ledger.record(line)
            return
        if window.skipped_from is not None:
            start = state.recorded_until or window.skipped_from
            skipped = self._line(state, start, window.start, "skipped", note=state.clocks)
            self.ledger.record(replace(skipped, message="too old or too many to be caught up"))
            state.recorded_until = window.start
        self.ledger.record(replace(line, start=state.recorded_until or window.start))
        state.recorded_until = window.end


def _doubt(loss: Loss) -> str:
    return (
        f"{loss} from {loss.start:%Y-%m-%d %H:%M:%S} to {loss.end:%H:%M:%S} UTC, told after this was judged: "
        "what is taken for absent here may only not have arrived"
    )
