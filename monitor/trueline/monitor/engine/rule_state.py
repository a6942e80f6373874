"""What is remembered of one rule while the process runs. What must survive it is in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from trueline.monitor.engine.rule import Rule

#: Groups that are counted for one exception: more are as good as all.
MAX_EXCEPTED: Final = 1000


@dataclass
class RuleState:
    """What the scheduler remembers of one rule since the process began; times are the store's.

    ``slow`` rules (at first all of them: nobody knows yet) must not take the place of others. ``note`` is
    what the last judgement could not be sure of. Silence is counted from ``quiet_since`` at the earliest.
    ``excepted`` are, by exception, ids of findings that it has kept from being made, MAX_EXCEPTED at most.
    """

    rule: Rule
    covered_until: datetime | None = None
    recorded_until: datetime | None = None
    next_due: datetime | None = None
    pause: timedelta = timedelta(0)
    running: bool = False
    slow: bool = True
    note: str = ""
    clocks: str = ""
    clock: datetime | None = None
    elapsed: float = 0.0
    quiet_since: datetime | None = None
    failures: int = 0
    evaluations: int = 0
    sightings: int = 0
    error: str = ""
    last_run: datetime | None = None
    milliseconds: float = 0.0
    last_upkeep: datetime | None = None
    proved_until: datetime | None = None
    excepted: dict[int, set[str]] = field(default_factory=dict)

    def count_excepted(self, taken: Mapping[int, frozenset[str]]) -> None:
        """Remember what exceptions took, each group once."""
        for number, ids in taken.items():
            known = self.excepted.setdefault(number, set())
            known.update(list(ids - known)[: MAX_EXCEPTED - len(known)])
