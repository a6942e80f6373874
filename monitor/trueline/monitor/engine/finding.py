"""A finding's life, as pure functions: what a sighting, a person, silence or a rule's change make of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

#: Ids of traces and spans that a finding itself keeps; its evidence and its occurrences are kept apart.
MAX_IDS: Final = 50
#: Who acts when nobody does.
ENGINE: Final = "trueline"


class State(StrEnum):
    """Where a finding is in its life."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    REOPENED = "reopened"


class Action(StrEnum):
    """What happened to a finding."""

    OPENED = "opened"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    COMMENTED = "commented"
    NEW_VERSION = "new_version"


class Cause(StrEnum):
    """Why a finding was resolved."""

    PERSON = "person"
    SILENCE = "silence"
    RULE_CHANGED = "rule_changed"
    RULE_REMOVED = "rule_removed"


@dataclass(frozen=True, slots=True)
class Texts:
    """What people read, rendered when the finding was last seen."""

    summary: str
    explanation: str
    now: str
    then: str
    check: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """One result row of a rule, checked and rendered. Times are event times, timezone-aware UTC.

    ``occurrences`` are the ids by which the same occurrence is known again.
    """

    finding_id: str
    group: Mapping[str, Any]
    first_seen: datetime
    last_seen: datetime
    count: int
    value: float
    trace_ids: tuple[str, ...]
    span_ids: tuple[str, ...]
    occurrences: tuple[str, ...]
    services: tuple[str, ...]
    versions: tuple[str, ...]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding as it stands. ``group`` and ``facts`` hold JSON values only."""

    id: str
    rule: str
    rule_version: int
    rule_revision: str
    title: str
    severity: str
    state: State
    environment: str
    application: str
    service: str
    services: tuple[str, ...]
    versions: tuple[str, ...]
    group: Mapping[str, Any]
    facts: Mapping[str, Any]
    texts: Texts
    first_seen: datetime
    last_seen: datetime
    opened_at: datetime
    #: When its newest occurrence arrived: silence is counted from here.
    last_arrival_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    resolved_by: Cause | None
    count: int
    value: float
    trace_ids: tuple[str, ...]
    span_ids: tuple[str, ...]

    @property
    def is_active(self) -> bool:
        """Not resolved."""
        return self.state is not State.RESOLVED


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one finding: who did what, when and why."""

    finding_id: str
    at: datetime
    action: Action
    who: str
    why: str
    state: State


def finding_id(rule: str, group: Mapping[str, Any]) -> str:
    """16 hex digits, the same for the same rule and group for ever."""
    text = json.dumps([rule, dict(group)], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def opened(finding: Finding) -> Event:
    """The event with which a finding begins."""
    return Event(
        finding.id,
        finding.opened_at,
        Action.OPENED,
        ENGINE,
        "seen for the first time",
        finding.state,
    )


def merge(known: Finding, seen: Finding, *, fresh: bool, total: int) -> tuple[Finding, list[Event]]:
    """Join a finding with a new sighting of it.

    ``seen`` is the finding as the sighting alone would make it, ``fresh`` whether the sighting holds an
    occurrence that was not known, ``total`` the number of distinct occurrences known by now. A resolved
    finding reopens when something happened after it was resolved, or when it was the rule that had changed.
    """
    if not fresh and known.resolved_by not in (Cause.RULE_CHANGED, Cause.RULE_REMOVED):
        return known, []
    merged = replace(
        seen,
        state=known.state,
        resolved_at=known.resolved_at,
        resolved_by=known.resolved_by,
        first_seen=min(known.first_seen, seen.first_seen),
        last_seen=max(known.last_seen, seen.last_seen),
        opened_at=known.opened_at,
        last_arrival_at=max(known.last_arrival_at, seen.last_arrival_at),
        count=max(known.count, seen.count, total),
        services=joined(seen.services, known.services),
        versions=joined(known.versions, seen.versions),
        trace_ids=joined(seen.trace_ids, known.trace_ids)[:MAX_IDS],
        span_ids=joined(seen.span_ids, known.span_ids)[:MAX_IDS],
    )
    events: list[Event] = []
    unheard_of = [version for version in seen.versions if version not in known.versions]
    if unheard_of and known.versions:
        why = f"seen for the first time with version {', '.join(unheard_of)}"
        events.append(Event(known.id, seen.updated_at, Action.NEW_VERSION, ENGINE, why, merged.state))
    if known.state is State.RESOLVED:
        by_rule = known.resolved_by in (Cause.RULE_CHANGED, Cause.RULE_REMOVED)
        if by_rule or known.resolved_at is None or seen.last_seen > known.resolved_at:
            merged = replace(merged, state=State.REOPENED, resolved_at=None, resolved_by=None)
            why = "still there under the changed rule" if by_rule else "seen again after it was resolved"
            events.append(Event(known.id, seen.updated_at, Action.REOPENED, ENGINE, why, State.REOPENED))
    return merged, events


def acknowledge(finding: Finding, who: str, why: str, now: datetime) -> tuple[Finding, list[Event]]:
    """Somebody has taken it on. A resolved finding stays as it is, and no event tells of nothing."""
    if finding.state in (State.RESOLVED, State.ACKNOWLEDGED):
        return finding, []
    changed = replace(finding, state=State.ACKNOWLEDGED, updated_at=now)
    return changed, [Event(finding.id, now, Action.ACKNOWLEDGED, who, why, changed.state)]


def resolve(finding: Finding, who: str, why: str, now: datetime, cause: Cause) -> tuple[Finding, list[Event]]:
    """It is over. Resolving again changes nothing."""
    if finding.state is State.RESOLVED:
        return finding, []
    changed = replace(finding, state=State.RESOLVED, updated_at=now, resolved_at=now, resolved_by=cause)
    return changed, [Event(finding.id, now, Action.RESOLVED, who, why, changed.state)]


def comment(finding: Finding, who: str, why: str, now: datetime) -> tuple[Finding, list[Event]]:
    """A remark; the finding itself stays as it is."""
    return finding, [Event(finding.id, now, Action.COMMENTED, who, why, finding.state)]


def joined(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    """Both in order, each item once."""
    return tuple(dict.fromkeys([*first, *second]))
