"""Whether the monitor found what it was to find, and nothing else. Pure: no process, no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Finding = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a finding points. None matches everything; ``table`` is looked up in the finding's group."""

    rule: str
    application: str
    environment: str = "production"
    table: str | None = None

    def holds(self, finding: Finding) -> bool:
        """Whether the finding points here."""
        return (
            finding["rule"] == self.rule
            and finding["application"] == self.application
            and finding["environment"] == self.environment
            and (self.table is None or finding["group"].get("table") == self.table)
        )


@dataclass(frozen=True, slots=True)
class IncidentResult:
    """One incident: the finding's id, and seconds from the last request to it; None where none came.

    ``consequences`` are the ids and rules of what the monitor tells of as following from it.
    """

    place: Place
    title: str
    finding: str | None
    seconds: float | None
    consequences: tuple[tuple[str, str], ...] = ()

    @property
    def right(self) -> bool:
        """It was found."""
        return self.finding is not None


@dataclass(frozen=True, slots=True)
class TwinResult:
    """One benign look-alike: ids of the findings that were raised on it, which is none if all is right."""

    place: Place
    title: str
    why: str
    findings: tuple[str, ...]

    @property
    def right(self) -> bool:
        """It stayed silent."""
        return not self.findings


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole comparison. ``unexpected`` are findings on neither an incident nor a twin."""

    incidents: tuple[IncidentResult, ...]
    twins: tuple[TwinResult, ...]
    unexpected: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Every incident was found, and nothing else."""
        incidents = all(result.right for result in self.incidents)
        return incidents and all(result.right for result in self.twins) and not self.unexpected

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "ok": self.right,
            "incidents": [
                {
                    "incident": result.place.rule,
                    "application": result.place.application,
                    "title": result.title,
                    "expected": result.place.rule,
                    "found": result.finding is not None,
                    "finding": result.finding,
                    "seconds": result.seconds,
                    "consequences": [
                        {"finding": finding, "rule": rule} for finding, rule in result.consequences
                    ],
                }
                for result in self.incidents
            ],
            "twins": [
                {
                    "incident": result.place.rule,
                    "application": result.place.application,
                    "title": result.title,
                    "expected": None,
                    "why": result.why,
                    "findings": list(result.findings),
                }
                for result in self.twins
            ],
            "unexpected": list(self.unexpected),
        }


def judge(
    incidents: Iterable[tuple[Place, str, float | None]],
    twins: Iterable[tuple[Place, str, str]],
    findings: Sequence[Finding],
    together: Iterable[Sequence[str]] = (),
) -> Verdict:
    """Compare.

    ``incidents`` are (place, title, seconds until it was first seen), ``twins`` (place, title, why it is
    benign), ``findings`` all that the monitor has, ``together`` the ids of those that it tells of as one,
    the likely cause first. Each incident is one finding, and what the monitor says follows from it: a second
    one on its place, or one whose cause it sees elsewhere, is unexpected. Twins that share a place share the
    blame.
    """
    left = list(findings)

    def take(place: Place, most: int | None = None) -> tuple[str, ...]:
        taken = [finding for finding in left if place.holds(finding)][:most]
        left[:] = [finding for finding in left if finding not in taken]
        return tuple(finding["id"] for finding in taken)

    found = [
        IncidentResult(place, title, next(iter(take(place, most=1)), None), seconds)
        for place, title, seconds in incidents
    ]
    # The most particular twin first, so that a finding is not booked on a neighbour.
    silent: dict[Place, tuple[str, ...]] = {}
    listed = list(twins)
    for place, _, _ in sorted(listed, key=lambda twin: twin[0].table is None):
        silent.setdefault(place, take(place))
    follows = {one: ids[0] for ids in together for one in ids[1:]}
    places = {result.place for result in found}

    def consequences(cause: str | None) -> tuple[tuple[str, str], ...]:
        taken = [
            finding
            for finding in left
            if cause is not None
            and follows.get(finding["id"]) == cause
            and not any(place.holds(finding) for place in places)
        ]
        left[:] = [finding for finding in left if finding not in taken]
        return tuple((finding["id"], finding["rule"]) for finding in taken)

    found = [replace(result, consequences=consequences(result.finding)) for result in found]
    return Verdict(
        tuple(found),
        tuple(TwinResult(place, title, why, silent[place]) for place, title, why in listed),
        tuple(finding["id"] for finding in left),
    )
