"""What was found against what had to be: missed, wrongly attributed, false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scenarios.noise.incidents import Expected, Incident
from scenarios.noise.watch import Seen

from trueline.monitor.engine.finding import Finding


@dataclass
class Verdict:
    """How a run went. It is right if nothing was missed, nothing is false and no rule failed."""

    found: dict[str, Finding] = field(default_factory=dict)
    missed: list[Incident] = field(default_factory=list)
    false: list[Finding] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def right(self) -> bool:
        """Whether all is as it has to be."""
        return not (self.missed or self.false or self.errors)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "right": self.right,
            "found": {name: one.texts.summary for name, one in self.found.items()},
            "missed": [one.name for one in self.missed],
            "false": [f"{one.rule}: {one.texts.summary}" for one in self.false],
            "errors": self.errors,
        }


def judge(seen: Seen, incidents: Sequence[Incident], experimental: Sequence[str] = ()) -> Verdict:
    """Each incident is found by a finding of its rule, in prod, naming its table, services and release."""
    verdict = Verdict(errors=list(seen.errors))
    rest = [one for one in seen.findings if one.rule not in experimental]
    for incident in incidents:
        found = [one for one in rest if fits(one, incident.expected) and one.environment == "prod"]
        if found:
            verdict.found[incident.name] = found[0]
        else:
            verdict.missed.append(incident)
        told = [one for one in rest if any(fits(one, other) for other in incident.also)]
        rest = [one for one in rest if one not in found and one not in told]
    verdict.false = rest
    return verdict


def fits(finding: Finding, expected: Expected) -> bool:
    """Whether a finding is the expected one, attributed to the right service, release and table."""
    release = f"{expected.services[0]} {expected.release}" if expected.services else ""
    return (
        finding.rule == expected.rule
        and all(finding.group.get(name) == value for name, value in expected.group.items())
        and set(expected.services) <= set(finding.services)
        and (not release or release in finding.versions)
    )
