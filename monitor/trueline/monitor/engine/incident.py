"""Incidents: findings that have one cause are told of as one, the likely cause first. Pure.

Two findings of one environment belong together if they share a trace; or if they began within an hour of each
other on one database of one application, or with one deploy (service and version). An incident keeps its id
and its findings for good: new findings join it, and two that turn out to be one are merged into the older.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from trueline.monitor.engine.finding import Finding, Since, State
from trueline.monitor.engine.labels import databases
from trueline.monitor.engine.rule import Severity
from trueline.monitor.engine.since import sentence

#: Findings with something in common that began further apart than this are different incidents.
TOGETHER: Final = timedelta(hours=1)
#: Things in common that are told of one incident.
MAX_LINKS: Final = 10
#: Rules from cause to effect, each with why it explains those after it. Any other rule is an effect.
CAUSES: Final[Mapping[str, str]] = {
    "env_split": "two databases: what one side writes the other cannot see, whatever else is right",
    "schema_mismatch_errors": "the schema does not fit the code: its statements fail before all else",
    "poisoned_session": "a broken session fails or drops all that comes after",
    "identity_encoding_drift": "a key that changed its form no longer meets what was written before",
    "dual_writer": "two writers under two keys make rows that readers do not find",
    "key_mismatch": "rows written under one key are not found under another",
    "ai_call_in_transaction": "a transaction that waits for a model is rolled back by the model's trouble",
    "rollback_after_ai_error": "a model's error rolled back what had been written",
    "uncommitted_write": "what is never committed is missing everywhere after",
    "constraint_violation_burst": "rows that a constraint refuses are missing",
    "duplicate_delivery": "the same message stored twice",
    "lost_update": "one writer overwrote another",
    "detached_instance": "a failing lazy load took its request's writes with it",
    "acknowledged_but_lost": "the caller was told that all is well, the write is gone",
    "expected_write_missing": "a write that healthy requests make is missing",
    "missing_counterpart": "a row that should be in two tables is in one",
    "log_claims_write": "the log tells of a write that is not there",
    "read_before_commit": "the reader came before the commit",
    "stale_summary": "a derived table lags behind its source",
    "answer_without_read": "an answer that was made without reading its source",
    "write_waits_for_ai": "a write that depends on a model's latency",
}
_RANKS: Final = {rule: number for number, rule in enumerate(CAUSES)}
_SEVERITIES: Final = {severity.value: number for number, severity in enumerate(Severity)}


@dataclass(frozen=True, slots=True)
class Incident:
    """Findings with one cause, which is most likely the first of them.

    ``because`` says why it is taken for the cause, ``links`` what the findings have in common. ``merged`` are
    the ids of incidents that became part of this one.
    """

    id: str
    findings: tuple[Finding, ...]
    because: str
    links: tuple[str, ...]
    merged: tuple[str, ...] = ()

    @property
    def cause(self) -> Finding:
        """The likely cause."""
        return self.findings[0]

    @property
    def state(self) -> State:
        """Resolved when all findings are; acknowledged when every active one is; else open or reopened."""
        active = [finding for finding in self.findings if finding.is_active]
        if not active:
            return State.RESOLVED
        states = {finding.state for finding in active}
        if states == {State.ACKNOWLEDGED}:
            return State.ACKNOWLEDGED
        return State.OPEN if State.OPEN in states else State.REOPENED

    @property
    def severity(self) -> str:
        """The worst of the active findings; of all, when none is active."""
        active = [finding for finding in self.findings if finding.is_active] or self.findings
        return min((str(finding.severity) for finding in active), key=lambda one: _SEVERITIES.get(one, 9))

    @property
    def first_seen(self) -> datetime:
        """When the first of it happened."""
        return min(finding.first_seen for finding in self.findings)

    @property
    def last_seen(self) -> datetime:
        """When the last of it happened."""
        return max(finding.last_seen for finding in self.findings)

    @property
    def deploy(self) -> Since | None:
        """The deploy that is likely behind it."""
        likely = [one.since for one in self.findings if one.since is not None and one.since.likely]
        return likely[0] if likely else None


def rank(finding: Finding) -> tuple[int, int, int, datetime, str]:
    """The likelier the cause, the lower: by rule, severity, what is still active, what came first."""
    return (
        _RANKS.get(finding.rule, len(_RANKS)),
        _SEVERITIES.get(str(finding.severity), 9),
        0 if finding.is_active else 1,
        finding.first_seen,
        finding.id,
    )


def group(
    findings: Iterable[Finding], known: Mapping[str, str], merged: Mapping[str, str] | None = None
) -> list[Incident]:
    """Put findings into incidents, worst cause first; the order of the findings makes no difference.

    ``known`` tells the incident that a finding is in already, ``merged`` into which one an incident went. A
    new incident is named after the finding that opened first.
    """
    by_id = {finding.id: finding for finding in findings}
    gone = dict(merged or {})
    parts = _Parts(by_id)
    together: dict[str, str] = {}
    for one in sorted(by_id):
        home = survivor(known.get(one, ""), gone)
        if home:
            parts.join(together.setdefault(home, one), one)
    links: list[tuple[str, str]] = []
    for first, second in _of_one_trace(by_id.values()):
        parts.join(first.id, second.id)
        links.append((first.id, "they share traces"))
    for key, members in _shared(by_id.values()).items():
        for first, second in _near(members):
            parts.join(first.id, second.id)
            links.append((first.id, _link(key)))
    said: dict[str, set[str]] = defaultdict(set)
    for one, text in links:
        said[parts.root(one)].add(text)
    absorbed: dict[str, set[str]] = defaultdict(set)
    for old in gone:
        absorbed[survivor(old, gone)].add(old)
    incidents = []
    for root, ids in parts.all().items():
        members = sorted((by_id[one] for one in ids), key=rank)
        homes = {survivor(known[one], gone) for one in ids if known.get(one)}
        name = _name(ids, by_id, known, gone)
        others = homes.union(*(absorbed[home] for home in homes if home in absorbed)) - {name}
        incidents.append(
            Incident(name, tuple(members), _because(members), _few(said[root]), tuple(sorted(others)))
        )
    return sorted(incidents, key=lambda one: (rank(one.cause), one.id))


def survivor(incident: str, merged: Mapping[str, str]) -> str:
    """Where an incident is now: itself, or that into which it was merged."""
    seen = set()
    while incident in merged and incident not in seen:
        seen.add(incident)
        incident = merged[incident]
    return incident


def _name(
    ids: Sequence[str], by_id: Mapping[str, Finding], known: Mapping[str, str], gone: Mapping[str, str]
) -> str:
    """Of the incidents that the findings are in, that of the finding that opened first; else a new one."""
    ordered = sorted(ids, key=lambda one: (by_id[one].opened_at, one))
    for one in ordered:
        if known.get(one):
            return survivor(known[one], gone)
    return hashlib.sha256(f"incident {ordered[0]}".encode()).hexdigest()[:16]


def _of_one_trace(findings: Iterable[Finding]) -> Iterable[tuple[Finding, Finding]]:
    """Pairs of findings that share a trace, whenever. Nearly all traces are one finding's alone."""
    holders: dict[str, dict[str, Finding]] = defaultdict(dict)
    for finding in findings:
        held = holders[finding.environment]
        for trace_id in finding.trace_ids:
            first = held.setdefault(trace_id, finding)
            if first is not finding:
                yield first, finding


def _shared(findings: Iterable[Finding]) -> dict[tuple[str, ...], list[Finding]]:
    """Findings by what else they may have in common: a database, or the deploy that they began with."""
    shared: dict[tuple[str, ...], list[Finding]] = defaultdict(list)
    for finding in findings:
        for database in databases(finding):
            shared["database", finding.environment, finding.application, database].append(finding)
        if finding.since is not None:
            since = finding.since
            # Services of one name in two applications are two services.
            shared["deploy", finding.environment, finding.application, since.service, since.version].append(
                finding
            )
    return shared


def _near(members: Sequence[Finding]) -> Iterable[tuple[Finding, Finding]]:
    """Neighbours that began together."""
    ordered = sorted(members, key=lambda one: (one.first_seen, one.id))
    for first, second in pairwise(ordered):
        if second.first_seen - first.first_seen <= TOGETHER:
            yield first, second


def _link(key: tuple[str, ...]) -> str:
    if key[0] == "deploy":
        return f"they began with {key[3]} {key[4]}"
    return f"they began together on the database {key[3]}"


def _few(links: set[str]) -> tuple[str, ...]:
    """What is said of what findings have in common: not each of a hundred databases."""
    ordered = sorted(links)
    more = len(ordered) - MAX_LINKS
    return (*ordered[:MAX_LINKS], f"and {more} more things") if more > 0 else tuple(ordered)


def _because(members: Sequence[Finding]) -> str:
    cause = members[0]
    said = CAUSES.get(cause.rule, "")
    deploy = next((one.since for one in members if one.since is not None and one.since.likely), None)
    text = f"{cause.title}."
    if len(members) > 1 and all(one.rule == cause.rule for one in members):
        text += f" The same is found in {len(members)} places: look at each."
        said, members = "", members[:1]
    if len(members) > 1 and said:
        text += f" It comes first of all here: {said}."
    if len(members) == 2:
        text += " The other finding most likely follows from it."
    elif len(members) > 2:
        text += f" The {len(members) - 1} other findings most likely follow from it."
    return f"{text} {sentence(deploy)}" if deploy else text


class _Parts:
    """Union-find: which findings hang together."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._parent = {one: one for one in ids}

    def root(self, one: str) -> str:
        """The one that stands for all that hang together with it."""
        while self._parent[one] != one:
            self._parent[one] = self._parent[self._parent[one]]
            one = self._parent[one]
        return one

    def join(self, first: str, second: str) -> None:
        first, second = self.root(first), self.root(second)
        if first != second:
            self._parent[max(first, second)] = min(first, second)

    def all(self) -> dict[str, list[str]]:
        """Those that hang together, by the one that stands for them."""
        parts: dict[str, list[str]] = defaultdict(list)
        for one in sorted(self._parent):
            parts[self.root(one)].append(one)
        return parts
