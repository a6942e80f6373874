"""Findings, their evidence and events, and the coverage ledger, in the store."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from trueline.monitor.engine.finding import Cause, Event, Finding, State, Texts
from trueline.monitor.engine.ports import RuleRun
from trueline.monitor.store.client import Store
from trueline.monitor.store.traces import TraceItem, read_traces

#: Traces of one finding whose spans are copied: the first ones, which the rule finds most telling.
MAX_TRACES: Final = 10
#: Evidence is looked for this far before the first and after the last time that the finding was seen.
_MARGIN: Final = timedelta(hours=1)
_COLUMNS: Final = (
    "id, rule, rule_version, rule_revision, title, severity, state, environment, application, service, "
    "services, versions, group_columns, facts, summary, explanation, remediation_now, remediation_then, "
    "remediation_check, first_seen, last_seen, opened_at, last_arrival_at, updated_at, resolved_at, "
    "resolved_by, count, value, trace_ids, span_ids"
)


class StoredFindings:
    """Implements the engine's port :class:`~trueline.monitor.engine.ports.Findings`; any thread may use it.

    ``evidence_limit`` is the number of spans and log records that are kept with one finding.
    """

    def __init__(self, store: Store, evidence_limit: int = 50) -> None:
        self._store = store
        self._evidence_limit = evidence_limit
        self._guard = threading.RLock()
        self._sequence = 0

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
            f"SELECT {_COLUMNS} FROM findings FINAL WHERE {condition} ORDER BY {order} LIMIT {limit:d}",  # noqa: S608
            parameters,
        )
        return [_finding(row) for row in rows.dicts()]

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

    def save(self, findings: Sequence[Finding], events: Sequence[Event]) -> None:
        """Store findings in their new form, and the events that led there."""
        with self._guard:
            self._insert("findings", [{**_columns(one), "sequence": self._next()} for one in findings])
            self._insert(
                "finding_events",
                [
                    {
                        "finding_id": event.finding_id,
                        "at": event.at,
                        "sequence": self._next(),
                        "action": event.action.value,
                        "who": event.who,
                        "why": event.why,
                        "state": event.state.value,
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

    def copy_evidence(self, findings: Sequence[Finding]) -> None:
        """Copy what the findings' traces show, the most telling first, up to the limit."""
        rows: list[dict[str, Any]] = []
        now = datetime.now(UTC)
        for finding in findings:
            items = read_traces(
                self._store,
                finding.trace_ids[:MAX_TRACES],
                (finding.first_seen - _MARGIN, finding.last_seen + _MARGIN),
            )
            named = set(finding.span_ids)
            rows.extend(
                {
                    "finding_id": finding.id,
                    "named": item.kind == "span" and item.span_id in named,
                    "copied_at": now,
                    **{name: getattr(item, name) for name in _ITEM_COLUMNS},
                }
                for item in _most_telling(items, named, finding.trace_ids, self._evidence_limit)
            )
        self._insert("finding_evidence", rows)

    def evidence(self, ids: Collection[str]) -> dict[str, list[dict[str, Any]]]:
        """Evidence by finding, oldest first; each finding's limit holds over copies made at different times.

        ``at`` is nanoseconds since 1970.
        """
        if not ids:
            return {}
        rows = self._store.query(
            "SELECT * EXCEPT (at), toUnixTimestamp64Nano(at) AS at "
            "FROM finding_evidence FINAL WHERE finding_id IN {ids:Array(String)} "
            "ORDER BY named DESC, copied_at DESC LIMIT {limit:UInt32} BY finding_id",
            {"ids": list(ids), "limit": self._evidence_limit},
        )
        found: dict[str, list[dict[str, Any]]] = {one: [] for one in ids}
        for row in rows.dicts():
            found[row.pop("finding_id")].append(row)
        for items in found.values():
            items.sort(key=lambda item: (item["at"], -item["duration_ns"]))
        return found

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

    def _insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            self._store.insert(table, {name: [row[name] for row in rows] for name in rows[0]})

    def _next(self) -> int:
        """A number higher than any before: the clock's, unless that stands still or falls back."""
        self._sequence = max(time.time_ns(), self._sequence + 1)
        return self._sequence


class StoredArrivals:
    """Implements the engine's port :class:`~trueline.monitor.engine.ports.Arrivals`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, tables: Collection[str], start: datetime, end: datetime) -> datetime | None:
        """When the first row of the tables arrived, from ``start`` until before ``end``."""
        sources = sorted({source for table in tables for source in _SOURCES.get(table, (table,))})
        bounds = {
            name: moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
            for name, moment in (("start", start), ("end", end))
        }
        selects = " UNION ALL ".join(
            _FIRST_ARRIVAL.format(source, _ARRIVAL.get(source, "received_at")) for source in sources
        )
        first = self._store.query(f"SELECT minOrNull(first) FROM ({selects})", bounds).scalar()  # noqa: S608
        return first if isinstance(first, datetime) else None


class StoredLedger:
    """Implements the engine's port :class:`~trueline.monitor.engine.ports.Ledger`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def covered_until(self, rule: str, revision: str) -> datetime | None:
        """End of what this revision of the rule has judged or given up; None if it never ran."""
        rows = self._store.query(
            "SELECT end FROM rule_runs WHERE rule = {rule:String} AND revision = {revision:String} "
            "AND result IN ('ok', 'skipped') ORDER BY end DESC LIMIT 1",
            {"rule": rule, "revision": revision},
        )
        covered: datetime | None = rows.scalar()
        return covered

    def record(self, run: RuleRun) -> None:
        """Add a line."""
        self._store.insert(
            "rule_runs",
            {
                "rule": [run.rule],
                "version": [run.version],
                "revision": [run.revision],
                "start": [run.start],
                "end": [run.end],
                "result": [run.result],
                "rows": [run.rows],
                "ms": [run.milliseconds],
                "error": [run.message],
                "at": [run.at],
            },
        )

    def last(self, rule: str, limit: int = 20) -> list[dict[str, Any]]:
        """A rule's last lines, newest first: version, start, end, result, rows, ms, error, at."""
        return self._store.query(
            "SELECT version, start, end, result, rows, ms, error, at FROM rule_runs "
            "WHERE rule = {rule:String} ORDER BY at DESC LIMIT {limit:UInt32}",
            {"rule": rule, "limit": limit},
        ).dicts()


#: The tables that fill what rules read. A statement's outcome may come with its transaction's span.
_SOURCES: Final = {
    "statements_resolved": ("statements", "transactions"),
    "identity_uses": ("statements", "transactions"),
    "databases": ("database_sightings",),
}
_FIRST_ARRIVAL: Final = (
    "SELECT minOrNull({1}) AS first FROM {0} "
    "WHERE {1} >= {{start:DateTime64(3)}} AND {1} < {{end:DateTime64(3)}}"
)
_ARRIVAL: Final = {"database_sightings": "last_received_at"}
_BAD: Final = frozenset({"error", "fatal", "critical"})
_ITEM_COLUMNS: Final = tuple(TraceItem.__dataclass_fields__)


def _most_telling(
    items: Iterable[TraceItem], named: Collection[str], trace_ids: Sequence[str], limit: int
) -> list[TraceItem]:
    """Named spans first, then what decides (transactions, AI calls, errors, entries), then the rest."""
    order = {trace_id: position for position, trace_id in enumerate(trace_ids)}

    def rank(item: TraceItem) -> tuple[int, int, int]:
        if item.kind == "span" and item.span_id in named:
            weight = 0
        elif item.outcome or item.status in _BAD or "gen_ai.operation.name" in item.attributes:
            weight = 1
        elif not item.parent_span_id or item.status in ("warn", "warning"):
            weight = 2
        else:
            weight = 3
        return weight, order.get(item.trace_id, len(order)), item.at

    return sorted(items, key=rank)[:limit]


def _columns(finding: Finding) -> dict[str, Any]:
    return {
        "id": finding.id,
        "rule": finding.rule,
        "rule_version": finding.rule_version,
        "rule_revision": finding.rule_revision,
        "title": finding.title,
        "severity": str(finding.severity),
        "state": finding.state.value,
        "environment": finding.environment,
        "application": finding.application,
        "service": finding.service,
        "services": list(finding.services),
        "versions": list(finding.versions),
        "group_columns": json.dumps(dict(finding.group), ensure_ascii=False),
        "facts": json.dumps(dict(finding.facts), ensure_ascii=False),
        "summary": finding.texts.summary,
        "explanation": finding.texts.explanation,
        "remediation_now": finding.texts.now,
        "remediation_then": finding.texts.then,
        "remediation_check": finding.texts.check,
        "first_seen": finding.first_seen,
        "last_seen": finding.last_seen,
        "opened_at": finding.opened_at,
        "last_arrival_at": finding.last_arrival_at,
        "updated_at": finding.updated_at,
        "resolved_at": finding.resolved_at,
        "resolved_by": finding.resolved_by.value if finding.resolved_by else "",
        "count": finding.count,
        "value": finding.value,
        "trace_ids": list(finding.trace_ids),
        "span_ids": list(finding.span_ids),
    }


def _finding(row: dict[str, Any]) -> Finding:
    texts = Texts(
        row.pop("summary"),
        row.pop("explanation"),
        row.pop("remediation_now"),
        row.pop("remediation_then"),
        row.pop("remediation_check"),
    )
    return Finding(
        state=State(row.pop("state")),
        resolved_by=Cause(cause) if (cause := row.pop("resolved_by")) else None,
        services=tuple(row.pop("services")),
        versions=tuple(row.pop("versions")),
        trace_ids=tuple(row.pop("trace_ids")),
        span_ids=tuple(row.pop("span_ids")),
        group=json.loads(row.pop("group_columns")),
        facts=json.loads(row.pop("facts")),
        texts=texts,
        **row,
    )
