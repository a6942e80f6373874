"""Jumps of the store's clock, which stamps arrivals: seen by a count of seconds that never jumps."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from trueline.monitor.engine.rule_state import RuleState
from trueline.monitor.engine.windows import OVERLAP, rewound

#: The store's clock and ours drift apart by so much before the difference is taken for a jump.
CLOCK_TOLERANCE: Final = OVERLAP


def look_at_clock(state: RuleState, now: datetime, elapsed: float) -> datetime | None:
    """Note a jump since the rule last looked; where judging goes on if the clock went back, else None.

    Back: rows are stamped again with times that have been judged, so these are to be judged again. Forward
    (or the process stood still): nobody was silent in the time that was left out.
    """
    before, passed = state.clock, timedelta(seconds=elapsed - state.elapsed)
    state.clock, state.elapsed = now, elapsed
    covered, definition = state.covered_until, state.rule.definition
    if before is not None and now - before - passed > CLOCK_TOLERANCE:
        state.quiet_since = now
        gone = (now - before - passed).total_seconds()
        state.clocks = f"the store's clock went {gone:.0f} s forward, or the process stood still"
    if covered is None:
        return None
    if before is None:
        # Whether it went back while no process watched is known only from coverage that lies ahead.
        back, since = covered + definition.delay - now, now - definition.window
    else:
        back, since = before + passed - now, now - passed - CLOCK_TOLERANCE
    if back <= CLOCK_TOLERANCE:
        return None
    start = rewound(definition, covered, since)
    state.clocks = (
        f"the store's clock went back by {back.total_seconds():.0f} s: arrivals from "
        f"{start:%Y-%m-%d %H:%M:%S} UTC on are judged again"
    )
    return start
