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
    HEALTH = "health"
    OVER_LIMIT = "over_limit"


@dataclass(frozen=True, slots=True)
class Texts:
    """What people read, rendered when the finding was last seen."""

    summary: str
    explanation: str
    now: str
    then: str
    check: str


@dataclass(frozen=True, slots=True)
class Since:
    """The deploy with which a finding began. Times are event times.

    ``previous`` is the version of the service before it, empty where none was seen; ``healthy`` tells that
    the rule had judged that version and found nothing: the deploy is the likely cause if ``likely``.
    """

    service: str
    version: str
    began: datetime
    previous: str
    healthy: bool
    likely: bool


@dataclass(frozen=True, slots=True)
class Sighting:
    """One result row of a rule, checked and rendered. Times are event times, timezone-aware UTC.

    ``occurrences`` are the ids by which the same occurrence is known again; ``absent``, where the row says
    so, is the time from when until when something was not seen.
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
    absent: tuple[datetime, datetime] | None = None


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
    #: Who has taken it on; empty when nobody has.
    acknowledged_by: str = ""
    since: Since | None = None

    @property
    def is_active(self) -> bool:
        """Not resolved."""
        return self.state is not State.RESOLVED


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one finding: who did what, when and why.

    ``request_id`` is what the caller named the request, so that the same one sent again is known.
    """

    finding_id: str
    at: datetime
    action: Action
    who: str
    why: str
    state: State
    request_id: str = ""


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
    if not fresh and known.resolved_by not in _BY_RULE:
        return known, []
    merged = replace(
        seen,
        state=known.state,
        resolved_at=known.resolved_at,
        resolved_by=known.resolved_by,
        acknowledged_by=known.acknowledged_by,
        since=known.since,
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
        by_rule = known.resolved_by in _BY_RULE
        if by_rule or known.resolved_at is None or seen.last_seen > known.resolved_at:
            merged, reopened = reopen(
                merged, ENGINE, _WHY_REOPENED.get(known.resolved_by, _AGAIN), seen.updated_at
            )
            events.extend(reopened)
    return merged, events


def acknowledge(finding: Finding, who: str, why: str, now: datetime) -> tuple[Finding, list[Event]]:
    """Somebody has taken it on. The first one has it: later ones, and a resolved finding, change nothing."""
    if finding.state in (State.RESOLVED, State.ACKNOWLEDGED):
        return finding, []
    changed = replace(finding, state=State.ACKNOWLEDGED, updated_at=now, acknowledged_by=who)
    return changed, [Event(finding.id, now, Action.ACKNOWLEDGED, who, why, changed.state)]


def resolve(finding: Finding, who: str, why: str, now: datetime, cause: Cause) -> tuple[Finding, list[Event]]:
    """It is over. Resolving again changes nothing."""
    if finding.state is State.RESOLVED:
        return finding, []
    changed = replace(
        finding, state=State.RESOLVED, updated_at=now, resolved_at=now, resolved_by=cause, acknowledged_by=""
    )
    return changed, [Event(finding.id, now, Action.RESOLVED, who, why, changed.state)]


def reopen(finding: Finding, who: str, why: str, now: datetime) -> tuple[Finding, list[Event]]:
    """It is not over after all. A finding that is not resolved stays as it is."""
    if finding.state is not State.RESOLVED:
        return finding, []
    changed = replace(finding, state=State.REOPENED, updated_at=now, resolved_at=None, resolved_by=None)
    return changed, [Event(finding.id, now, Action.REOPENED, who, why, changed.state)]


def prove_healthy(
    finding: Finding, healthy_at: datetime, proof: str, now: datetime
) -> tuple[Finding, list[Event]]:
    """The rule's own proof of health was seen: it ends the finding if it is newer than the fault."""
    if healthy_at <= finding.last_seen:
        return finding, []
    return resolve(finding, ENGINE, proof or "its rule saw proof of health", now, Cause.HEALTH)


def comment(finding: Finding, who: str, why: str, now: datetime) -> tuple[Finding, list[Event]]:
    """A remark; the finding itself stays as it is."""
    return finding, [Event(finding.id, now, Action.COMMENTED, who, why, finding.state)]


def joined(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    """Both in order, each item once."""
    return tuple(dict.fromkeys([*first, *second]))


#: Resolved for a reason other than that the fault was gone: a known occurrence is enough to reopen it.
_BY_RULE: Final = (Cause.RULE_CHANGED, Cause.RULE_REMOVED, Cause.OVER_LIMIT)
_AGAIN: Final = "seen again after it was resolved"
_WHY_REOPENED: Final[Mapping[Cause | None, str]] = {
    Cause.RULE_CHANGED: "still there under the changed rule",
    Cause.RULE_REMOVED: "still there under the changed rule",
    Cause.OVER_LIMIT: "seen again, and there is room for it",
}
