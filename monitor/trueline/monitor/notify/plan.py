"""What has to be told now, given how things stand and what was told before. Pure.

What was told is a :class:`Told row <Line>` for each key: a webhook's keys are incidents, Alertmanager's are
findings. A line that is ``pending`` may or may not have arrived, so it is told again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from trueline.monitor.engine.finding import Finding
from trueline.monitor.engine.incident import Incident
from trueline.monitor.notify.messages import RESOLVED_FOR, Told, digest, is_firing, status
from trueline.monitor.notify.targets import Target

#: So long after it opened a finding waits for others of its incident, to be told of together.
GROUP_WAIT: Final = timedelta(seconds=5)
Result = Literal["pending", "sent", "refused"]


@dataclass(frozen=True, slots=True)
class Line:
    """What a target was told of one key. ``members``: the findings that it may know as firing."""

    key: str
    at: datetime
    status: str
    digest: str
    result: Result
    members: tuple[str, ...]
    answer: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """How things stand. ``silenced`` are ids of findings that are under a silence."""

    incidents: Sequence[Incident]
    silenced: frozenset[str]

    def find(self) -> dict[str, tuple[Finding, str]]:
        """Findings with their incident, by id."""
        return {one.id: (one, incident.id) for incident in self.incidents for one in incident.findings}


@dataclass(frozen=True, slots=True)
class Group:
    """One webhook message to be sent: the incident, and what is said of its findings."""

    key: str
    told: tuple[Told, ...]

    def line(self, now: datetime, result: Result, answer: str = "", before: Line | None = None) -> Line:
        """The line that remembers it. One that is pending keeps what the target knew before."""
        firing = tuple(one.finding.id for one in self.told if not one.resolved_at)
        if result != "sent" and before is not None:
            firing = tuple(dict.fromkeys([*firing, *before.members]))
        return Line(self.key, now, status(self.told), digest(self.told), result, firing, answer)


def groups(target: Target, view: View, lines: Mapping[str, Line], now: datetime) -> list[Group]:
    """Webhook messages that are due: of incidents that changed since they were told of."""
    due = []
    present = {incident.id for incident in view.incidents}
    for incident in view.incidents:
        line = lines.get(incident.id)
        known = set(line.members) if line else set()
        told = []
        for finding in incident.findings:
            if not target.wants(str(finding.severity), finding.environment):
                continue
            # A silence that begins says nothing to anybody: what was told of goes on until it is resolved.
            if is_firing(finding, finding.id in view.silenced and finding.id not in known):
                told.append(Told(finding, incident.id, None))
            elif finding.id in known:
                told.append(Told(finding, incident.id, finding.resolved_at or now))
        if not told or not _is_news(told, line):
            continue
        waiting = line is None and all(now - one.finding.opened_at < GROUP_WAIT for one in told)
        if not waiting:
            due.append(Group(incident.id, tuple(told)))
    findings = view.find()
    for key, line in lines.items():
        if key not in present and line.status == "firing" and line.result != "refused":
            # Merged into another incident, whose message tells of these findings from now on.
            over = [
                Told(findings[one][0], findings[one][1], findings[one][0].resolved_at or now)
                for one in line.members
                if one in findings
            ]
            if over:
                due.append(Group(key, tuple(over)))
    return due


def _is_news(told: Sequence[Told], line: Line | None) -> bool:
    if line is None:
        return status(told) == "firing"
    return line.result == "pending" or line.digest != digest(told)


def alerts(target: Target, view: View, lines: Mapping[str, Line], now: datetime) -> list[Told]:
    """All that Alertmanager is to be told just now: what goes on, and what was resolved a short while ago."""
    told = []
    for finding, incident in view.find().values():
        line = lines.get(finding.id)
        wanted = target.wants(str(finding.severity), finding.environment)
        if wanted and is_firing(finding, finding.id in view.silenced):
            told.append(Told(finding, incident, None))
        elif line is not None and (
            line.status == "firing" or line.result == "pending" or now - line.at < RESOLVED_FOR
        ):
            ended = finding.resolved_at or (now if line.status == "firing" else line.at)
            told.append(Told(finding, incident, ended))
    return told


def alert_lines(told: Sequence[Told], lines: Mapping[str, Line], now: datetime, result: Result) -> list[Line]:
    """Lines for those alerts that are not remembered so already."""
    changed = []
    for one in told:
        before = lines.get(one.finding.id)
        said = status([one])
        if before is None or (before.status, before.result) != (said, result):
            at = before.at if before is not None and before.status == said else now
            changed.append(
                Line(
                    one.finding.id,
                    at,
                    said,
                    digest([one]),
                    result,
                    () if one.resolved_at else (one.finding.id,),
                )
            )
    return changed
