"""What the telemetry does not show: spans that were lost, sampled away, or stamped by a clock that is wrong.

A rule that concludes from absence (nobody else writes there, no later commit) would take what it cannot see
for what did not happen. So its sightings are held against what is missing, and those that rest on it are
withheld; the coverage ledger says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from trueline.monitor.engine.finding import Sighting

#: What a rule concludes from absence. ``identities``: from what is missing among one identity's statements,
#: all or none of which are kept where services sample. ``anything``: from what is missing at all.
Absence = Literal["none", "identities", "anything"]
#: A span that ended this much after it arrived was stamped by a clock that is ahead.
AHEAD: Final = timedelta(seconds=5)
_MAX_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Loss:
    """Spans that a service made and that never arrived, some time from ``start`` until ``end`` (event time).

    ``told_at`` is when the service's word of it arrived, which is up to ten seconds or so later.
    """

    environment: str
    application: str
    service: str
    reason: str
    count: int
    start: datetime
    end: datetime
    told_at: datetime

    def concerns(self, environment: str, application: str) -> bool:
        """Whether it may lack spans of this application in this environment."""
        return self.environment == environment and self.application == application

    def __str__(self) -> str:
        return f"{self.service or 'a service'} in {self.environment} lost {self.count} spans ({self.reason})"


@dataclass(frozen=True, slots=True)
class Sampled:
    """A service that sends only this share of its identities' statements."""

    environment: str
    application: str
    service: str
    ratio: float

    def __str__(self) -> str:
        return f"{self.service or 'a service'} in {self.environment} sends {self.ratio:.6g} of its identities"


@dataclass(frozen=True, slots=True)
class Skew:
    """A service whose event times do not fit their time of arrival.

    ``ahead`` spans were stamped up to ``ahead_by`` later than they arrived, ``old`` ones lay before
    everything that the rule reads, by a clock that is behind or because they came so late.
    """

    environment: str
    service: str
    ahead: int
    ahead_by: timedelta
    old: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The sightings that stand, and what is to be said of the others and of the window as a whole."""

    sightings: list[Sighting]
    withheld: int
    notes: tuple[str, ...]


def judge(
    absence: Absence, sightings: Sequence[Sighting], losses: Sequence[Loss], sampled: Sequence[Sampled]
) -> Judged:
    """Leave out the sightings that rest on the absence of what may have been lost or sampled away."""
    if absence == "none" or not sightings:
        return Judged(list(sightings), 0, ())
    kept: list[Sighting] = []
    lost: list[Loss] = []
    thinned: list[Sampled] = []
    for one in sightings:
        where = str(one.facts.get("environment", "")), str(one.facts.get("application", ""))
        start, end = one.absent or (one.first_seen, one.last_seen)
        missing = [
            loss for loss in losses if loss.concerns(*where) and loss.start <= end and loss.end >= start
        ]
        share = [
            part
            for part in sampled
            if absence == "anything" and (part.environment, part.application) == where and part.ratio < 1
        ]
        if missing or share:
            lost += missing
            thinned += share
        else:
            kept.append(one)
    notes = []
    withheld = len(sightings) - len(kept)
    if withheld:
        why = _listed([*map(str, lost), *map(str, thinned)])
        notes.append(f"not judged: {withheld} of {len(sightings)} groups, since {why}")
    return Judged(kept, withheld, tuple(notes))


def spoken_skews(skews: Iterable[Skew], lookback: str) -> list[str]:
    """What clients' clocks do to a rule, in sentences for the ledger and the rule's health."""
    ahead, old = [], []
    for skew in skews:
        who = f"{skew.service or 'a service'} in {skew.environment}"
        if skew.ahead:
            ahead.append(f"{who} by {skew.ahead_by.total_seconds():.0f} s ({skew.ahead} spans)")
        if skew.old:
            old.append(f"{skew.old} spans of {who}")
    notes = []
    if ahead:
        notes.append(f"clocks ahead, read as the time of arrival: {_listed(ahead)}")
    if old:
        notes.append(f"not judged: older on arrival than the lookback of {lookback}: {_listed(old)}")
    return notes


def _listed(parts: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(parts))
    more = len(distinct) - _MAX_NAMED
    return ", ".join(distinct[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
