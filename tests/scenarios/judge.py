"""Whether the monitor found what it was to find in one scenario, and nothing else. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scenarios.scenario import Expected, Scenario

Finding = Mapping[str, Any]
#: What a finding says of itself, in which ``Expected.tells`` is looked for.
TEXTS = ("summary", "explanation", "remediation")


def matches(expected: Expected, finding: Finding) -> bool:
    """Whether this is the finding that is expected: rule, group, services, versions and words."""
    said = [*finding["services"], *finding["versions"]]
    versions = {word.rpartition(" ")[2] for word in finding["versions"]}
    texts = " ".join(str(finding.get(name, "")) for name in TEXTS)
    return (
        finding["rule"] == expected.rule
        and all(finding["group"].get(key) == value for key, value in expected.group.items())
        and all(service in said for service in expected.services)
        and all(version in versions for version in expected.versions)
        and all(word in texts for word in expected.tells)
    )


def near(expected: Expected, findings: Iterable[Finding]) -> str:
    """Why a finding of the right rule is not the one that is expected, for people."""
    for finding in findings:
        if finding["rule"] == expected.rule:
            return (
                f"{expected.rule} came with group {dict(finding['group'])}, services {finding['services']}, "
                f"versions {finding['versions']}; expected {asdict(expected)}"
            )
    return ""


@dataclass(frozen=True, slots=True)
class Result:
    """One scenario's.

    ``seconds`` from the end of the play to the last of the expected findings, None where one is missing.
    ``missed`` are rules without their finding, ``false`` findings that nobody expected (rule, id and
    summary); ``consequences`` are rules that the scenario names in ``also``, ``remarks`` findings of
    experimental rules on scenarios of others, which prove nothing. ``incidents`` are the rules of each
    incident, the likely cause first. ``trouble``: the scenario itself could not be played.
    """

    scenario: Scenario
    seconds: float | None = None
    missed: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    consequences: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    verdict: str | None = None
    incidents: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def verdict_is_right(self) -> bool:
        """The diagnosis said what it should, where one was asked for."""
        return self.scenario.verdict is None or self.verdict == self.scenario.verdict

    @property
    def cause_is_first(self) -> bool:
        """There is one incident, and its likely cause is what the scenario is about."""
        if not self.scenario.expected:
            return True
        return len(self.incidents) == 1 and self.incidents[0][0] == self.scenario.first

    @property
    def right(self) -> bool:
        """All of it."""
        return (
            not self.trouble
            and not self.missed
            and not self.false
            and self.verdict_is_right
            and self.cause_is_first
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        one = self.scenario
        return {
            "scenario": one.name,
            "about": one.about,
            "kind": one.kind,
            "title": one.title,
            "database": one.database,
            "expected": [expected.rule for expected in one.expected],
            "right": self.right,
            "seconds": None if self.seconds is None else round(self.seconds, 2),
            "missed": list(self.missed),
            "false": list(self.false),
            "consequences": list(self.consequences),
            "remarks": list(self.remarks),
            "verdict": self.verdict,
            "expected_verdict": one.verdict,
            "incidents": [list(rules) for rules in self.incidents],
            "notes": list(self.notes),
            "trouble": self.trouble,
        }


def judge(
    scenario: Scenario,
    findings: Sequence[Finding],
    seen: Mapping[str, float],
    played: float,
    *,
    verdict: str | None,
    incidents: Sequence[Sequence[str]] = (),
    on_trial: Collection[str] = (),
) -> Result:
    """Compare.

    ``findings`` are in full where words of theirs are expected; ``seen`` is when each was first there, and
    ``played`` the end of the play, on one clock. ``incidents`` are the rules of each incident, ``on_trial``
    the experimental rules.
    """
    left = list(findings)
    missed: list[str] = []
    notes: list[str] = []
    seconds = 0.0
    for expected in scenario.expected:
        found = next((finding for finding in left if matches(expected, finding)), None)
        if found is None:
            missed.append(expected.rule)
            notes += filter(None, [near(expected, left)])
        else:
            left.remove(found)
            seconds = max(seconds, seen.get(found["id"], played) - played)
    others = set(on_trial) - {expected.rule for expected in scenario.expected} - {scenario.about}
    consequences = [one for one in left if one["rule"] in scenario.also]
    remarks = [one for one in left if one not in consequences and one["rule"] in others]
    false = [one for one in left if one not in consequences and one not in remarks]
    judged = (tuple(rule for rule in rules if rule not in others) for rules in incidents)
    return Result(
        scenario,
        seconds=None if missed or not scenario.expected else seconds,
        missed=tuple(missed),
        false=tuple(map(_line, false)),
        consequences=tuple(sorted({finding["rule"] for finding in consequences})),
        remarks=tuple(map(_line, remarks)),
        verdict=verdict,
        incidents=tuple(rules for rules in judged if rules),
        notes=tuple(notes),
    )


def _line(finding: Finding) -> str:
    return f"{finding['rule']} {finding['id']}: {finding['summary']}"
