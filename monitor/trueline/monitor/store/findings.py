"""Findings and their events in the store."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from collections.abc import Sequence as Items
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from trueline.monitor.engine.finding import Event, Finding, Since
from trueline.monitor.engine.since import VersionSeen, since_version
from trueline.monitor.store.client import Store
from trueline.monitor.store.evidence import StoredEvidence
from trueline.monitor.store.finding_rows import COLUMNS, columns_of, finding_of
from trueline.monitor.store.incidents import StoredIncidents
from trueline.monitor.store.sequence import Sequence


class StoredFindings:
    """Implements the engine's port :class:`~trueline.monitor.engine.ports.Findings`; any thread may use it.

    ``evidence_limit`` is the number of spans and log records that are kept with one finding.
    """

    def __init__(self, store: Store, evidence_limit: int = 50) -> None:
        self._store = store
        self._evidence = StoredEvidence(store, evidence_limit)
        self._guard = threading.RLock()
        self._sequence = Sequence()
        #: One for all who ask: it remembers its last grouping.
        self.incidents = StoredIncidents(store, self)

    def changing(self) -> AbstractContextManager[object]:
        """Held from loading findings to saving them. One process owns the findings, so a lock is enough."""
        return self._guard

    def load(self, ids: Collection[str]) -> dict[str, Finding]:
        """Those of the findings that exist."""
        return (
            {one.id: one for one in self.select("id IN {ids:Array(String)}", {"ids": list(ids)})}
            if ids
            else {}
        )

    def active(self, rule: str | None = None) -> list[Finding]:
        """Findings that are not resolved, of one rule or of all."""
        if rule is None:
            return self.select("state != 'resolved'", {})
        return self.select("state != 'resolved' AND rule = {rule:String}", {"rule": rule})

    def select(
        self,
        condition: str,
        parameters: Mapping[str, Any],
        order: str = "last_seen DESC, id",
        limit: int = 10_000,
    ) -> list[Finding]:
        """Findings by a condition of our own, whose values are parameters."""
        rows = self._store.query(
            f"SELECT {COLUMNS} FROM findings FINAL WHERE {condition} ORDER BY {order} LIMIT {limit:d}",  # noqa: S608
            parameters,
        )
        return [finding_of(row) for row in rows.dicts()]

    def unseen(self, occurrences: Mapping[str, Collection[str]]) -> dict[str, set[str]]:
        """For each finding's id, those of the occurrences that it does not have yet."""
        wanted = {(one, occurrence) for one, ids in occurrences.items() for occurrence in ids}
        known = self._store.query(
            "SELECT finding_id, occurrence FROM finding_occurrences "
            "WHERE finding_id IN {ids:Array(String)} AND occurrence IN {occurrences:Array(String)}",
            {"ids": list(occurrences), "occurrences": sorted({occurrence for _, occurrence in wanted})},
        )
        fresh: dict[str, set[str]] = {one: set() for one in occurrences}
        for one, occurrence in wanted - {(row[0], row[1]) for row in known}:
            fresh[one].add(occurrence)
        return fresh

    def occurrence_counts(self, ids: Collection[str]) -> dict[str, int]:
        """How many distinct occurrences each finding has; those without any are left out."""
        rows = self._store.query(
            "SELECT finding_id, uniqExact(occurrence) FROM finding_occurrences "
            "WHERE finding_id IN {ids:Array(String)} GROUP BY finding_id",
            {"ids": list(ids)},
        )
        return {row[0]: row[1] for row in rows}

    def add_occurrences(self, occurrences: Mapping[str, Collection[str]]) -> None:
        """Add occurrences to findings; adding one again changes nothing."""
        pairs = [(one, occurrence) for one, ids in occurrences.items() for occurrence in sorted(ids)]
        self._store.insert(
            "finding_occurrences",
            {"finding_id": [one for one, _ in pairs], "occurrence": [occurrence for _, occurrence in pairs]},
        )

    def save(self, findings: Items[Finding], events: Items[Event]) -> None:
        """Store findings in their new form, and the events that led there."""
        with self._guard:
            self._insert(
                "findings", [{**columns_of(one), "sequence": self._sequence.next()} for one in findings]
            )
            self._insert(
                "finding_events",
                [
                    {
                        "finding_id": event.finding_id,
                        "at": event.at,
                        "sequence": self._sequence.next(),
                        "action": event.action.value,
                        "who": event.who,
                        "why": event.why,
                        "state": event.state.value,
                        "request_id": event.request_id,
                    }
                    for event in events
                ],
            )

    def events(self, finding_id: str) -> list[dict[str, Any]]:
        """A finding's events, oldest first: at, action, who, why, state."""
        return self._store.query(
            "SELECT at, action, who, why, state FROM finding_events WHERE finding_id = {id:String} "
            "ORDER BY sequence",
            {"id": finding_id},
        ).dicts()

    def is_done(self, finding_id: str, request_id: str) -> bool:
        """Whether a request of this name has changed the finding before."""
        return bool(
            self._store.query(
                "SELECT 1 FROM finding_events WHERE finding_id = {id:String} "
                "AND request_id = {request:String} LIMIT 1",
                {"id": finding_id, "request": request_id},
            ).rows
        )

    def copy_evidence(self, findings: Items[Finding]) -> None:
        """Copy what the findings' traces show, the most telling first, up to the limit."""
        self._evidence.copy(findings)

    def evidence(self, ids: Collection[str]) -> dict[str, list[dict[str, Any]]]:
        """Evidence by finding, oldest first; ``at`` is nanoseconds since 1970."""
        return self._evidence.read(ids)

    def since(self, finding: Finding) -> Since | None:
        """With which deploy a finding that is about to open began; None where that is not known."""
        seen = self._store.query(
            "SELECT service, version, min(row.first_seen), max(row.last_seen) FROM service_versions AS row "
            "WHERE environment = {environment:String} AND application = {application:String} "
            "AND service IN {services:Array(String)} GROUP BY service, version ORDER BY service, version",
            {
                "environment": finding.environment or "unset",
                "application": finding.application,
                "services": list({finding.service, *finding.services}),
            },
        )
        judged_from = self._store.query(
            "SELECT minOrNull(start) FROM rule_runs WHERE rule = {rule:String} AND result = 'ok'",
            {"rule": finding.rule},
        ).scalar()
        return since_version(finding, [VersionSeen(*row) for row in seen], judged_from)

    def is_heard(self, finding: Finding, since: datetime) -> bool:
        """Whether telemetry of the finding's environment and application arrived after ``since``."""
        return bool(
            self._store.query(
                "SELECT 1 FROM statements WHERE received_at > {since:DateTime64(3)} "
                "AND environment = {environment:String} AND application = {application:String} LIMIT 1",
                {
                    "since": since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
                    "environment": finding.environment or "unset",
                    "application": finding.application,
                },
            ).rows
        )

    def _insert(self, table: str, rows: Items[Mapping[str, Any]]) -> None:
        if rows:
            self._store.insert(table, {name: [row[name] for row in rows] for name in rows[0]})
