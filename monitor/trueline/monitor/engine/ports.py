"""What the engine asks of the world. Everything it reads, writes or waits for comes in through these."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from trueline.monitor.engine.finding import Event, Finding, Since
from trueline.monitor.engine.gaps import Loss, Sampled, Skew

#: How an evaluation went. ``skipped`` arrivals were too old or too many to be judged when their turn came;
#: ``clock``: the store's clock went back, and what follows from the line's end on is judged again.
Result = Literal["ok", "error", "skipped", "clock"]


class Query(Protocol):
    """Runs a fenced query read-only and under limits; raises TruelineError where it fails."""

    def __call__(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Rows as mappings from column to value; times are timezone-aware UTC."""


class Clock(Protocol):
    """The clock by which rows are stamped on arrival: the store's."""

    def __call__(self) -> datetime:
        """Now, timezone-aware UTC."""


class Arrivals(Protocol):
    """Knows when rows arrived."""

    def __call__(self, tables: Collection[str], start: datetime, end: datetime) -> datetime | None:
        """When the first row of the tables arrived, from ``start`` until before ``end``."""


class Gaps(Protocol):
    """Knows what the telemetry does not show."""

    def losses(self, start: datetime, end: datetime) -> list[Loss]:
        """Spans lost some time from ``start`` until ``end`` (event time), as far as is known by now."""

    def losses_told(self, start: datetime, end: datetime) -> list[Loss]:
        """Losses of which the word arrived from ``start`` until before ``end``."""

    def sampled(self, start: datetime, end: datetime) -> list[Sampled]:
        """Services that sample, among those whose statements arrived from ``start`` until before ``end``."""

    def skews(self, start: datetime, end: datetime, lookback: timedelta) -> list[Skew]:
        """Services whose event times do not fit, among the same: older than ``lookback`` or in the future."""


@dataclass(frozen=True, slots=True)
class RuleRun:
    """One line of the coverage ledger: the arrivals from ``start`` until before ``end``, and how it went.

    ``rows`` are the groups that were found; ``withheld`` those of them that rest on the absence of what may
    have been lost or sampled away; ``note`` says that and whatever else makes the judgement less than sure.
    """

    rule: str
    version: int
    revision: str
    start: datetime
    end: datetime
    result: Result
    rows: int
    milliseconds: float
    message: str
    at: datetime
    withheld: int = 0
    note: str = ""


class Ledger(Protocol):
    """Which arrivals each rule has judged. Survives restarts."""

    def covered_until(self, rule: str, revision: str) -> datetime | None:
        """Where the last line of this revision ends that is no error; None if it never ran."""

    def record(self, run: RuleRun) -> None:
        """Add a line."""


class Findings(Protocol):
    """The findings and what belongs to them. Survives restarts."""

    def changing(self) -> AbstractContextManager[object]:
        """Held from loading findings to saving them, since the engine and people change the same ones."""

    def load(self, ids: Collection[str]) -> dict[str, Finding]:
        """Those of the findings that exist."""

    def active(self, rule: str | None = None) -> list[Finding]:
        """Findings that are not resolved, of one rule or of all."""

    def unseen(self, occurrences: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
        """For each finding's id, those of the occurrences that it does not have yet."""

    def occurrence_counts(self, ids: Collection[str]) -> dict[str, int]:
        """How many distinct occurrences each finding has; those without any are left out."""

    def add_occurrences(self, occurrences: Mapping[str, Collection[str]]) -> None:
        """Add occurrences to findings; adding one again changes nothing."""

    def save(self, findings: Sequence[Finding], events: Sequence[Event]) -> None:
        """Store findings in their new form, and the events that led there."""

    def copy_evidence(self, findings: Sequence[Finding]) -> None:
        """Copy what the findings' traces show, beside what was copied before."""

    def since(self, finding: Finding) -> Since | None:
        """With which deploy a finding that is about to open began; None where that is not known."""

    def is_heard(self, finding: Finding, since: datetime) -> bool:
        """Whether telemetry of the finding's environment and application arrived after ``since``."""
