"""What the interface says of findings, incidents and silences: its typed models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from trueline.monitor.engine.describe import describe
from trueline.monitor.engine.finding import Action, Cause, Finding, Since, State
from trueline.monitor.engine.labels import databases, identities, tables
from trueline.monitor.engine.rule import Severity
from trueline.monitor.engine.since import sentence

_EXAMPLE: dict[str, Any] = {
    "id": "cd60552bced46e66",
    "rule": "env_split",
    "rule_version": 1,
    "title": "Writes and reads of the same data go to different databases",
    "state": "open",
    "severity": "critical",
    "environment": "production",
    "application": "expenses",
    "service": "expenses-worker",
    "services": ["expenses-worker", "expenses-web"],
    "versions": ["expenses-web 2.3.0", "expenses-worker 2.4.0"],
    "summary": "expenses-worker 2.4.0 reads expenses from lisbon_old, but it is written to lisbon.",
    "first_seen": "2026-11-20T12:50:07Z",
    "last_seen": "2026-11-20T12:50:08Z",
    "opened_at": "2026-11-20T12:50:09Z",
    "updated_at": "2026-11-20T12:50:09Z",
    "resolved_at": None,
    "resolved_by": None,
    "acknowledged_by": "",
    "silenced_by": [],
    "incident": "1f0c3a5b7d9e2f46",
    "tables": ["expenses"],
    "databases": ["4db01c60a2ae2a3d", "43866cb1e8430001"],
    "identities": ["0f8d537d7292791416409d7077c983c5"],
    "since": None,
    "count": 3,
    "value": 3.0,
    "group": {"environment": "production", "table": "expenses"},
    "evidence": [],
}


class EvidenceItem(BaseModel):
    """A span or log record that proves the finding. ``named``: the rule named it itself."""

    kind: Literal["span", "log"]
    named: bool
    at: datetime
    duration_ms: float
    service: str
    version: str
    name: str
    text: str = Field(description="What happened, in plain words.")
    status: str
    status_message: str
    outcome: str
    reason: str
    trace_id: str
    span_id: str
    parent_span_id: str
    attributes: dict[str, str]


class SinceItem(BaseModel):
    """The deploy that a finding began with."""

    service: str
    version: str
    began: datetime = Field(description="When this version executed its first statement.")
    previous: str = Field(description="The version before it, empty where none was seen.")
    healthy: bool = Field(description="The version before was judged, and did not have the fault.")
    likely: bool = Field(description="The deploy is the likely cause.")
    sentence: str


class FindingItem(BaseModel):
    """A finding as lists show it."""

    model_config = ConfigDict(json_schema_extra={"example": _EXAMPLE})

    id: str
    rule: str
    rule_version: int
    title: str
    state: State
    severity: Severity
    environment: str
    application: str
    service: str
    services: list[str]
    versions: list[str] = Field(description="Versions it was seen with, the first one first.")
    summary: str
    first_seen: datetime
    last_seen: datetime
    opened_at: datetime
    updated_at: datetime
    resolved_at: datetime | None
    resolved_by: Cause | None
    acknowledged_by: str = Field(description="Who has taken it on; empty while nobody has.")
    silenced_by: list[str] = Field(description="Silences that hold for it now; nobody is told of it then.")
    incident: str = Field(description="The incident that it belongs to.")
    tables: list[str]
    databases: list[str] = Field(description="Fingerprints.")
    identities: list[str] = Field(description="A few of those concerned, as exported.")
    since: SinceItem | None
    count: int
    value: float
    group: dict[str, Any]
    evidence: list[EvidenceItem]


class Remediation(BaseModel):
    """What to do, in Markdown."""

    now: str
    then: str
    check: str


class EventItem(BaseModel):
    """One change of a finding."""

    at: datetime
    action: Action
    who: str
    why: str
    state: State


class FindingDetail(FindingItem):
    """A finding in full."""

    explanation: str
    remediation: Remediation
    false_positives: list[str]
    facts: dict[str, Any]
    trace_ids: list[str]
    span_ids: list[str]
    events: list[EventItem]


class ChangedFinding(FindingDetail):
    """The finding after a change."""

    changed: bool = Field(description="False where it was so already, or the same request had come before.")


class FindingList(BaseModel):
    """One page; ``next`` is the cursor of the following one, null on the last page."""

    items: list[FindingItem]
    next: str | None


class History(BaseModel):
    """All that happened to a finding, oldest first. Nothing is ever taken out of it."""

    items: list[EventItem]


class Note(BaseModel):
    """Who changes a finding, and why."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"who": "ann", "why": "on it", "request_id": "5b2c", "if_state": "open"}
        },
    )

    who: str = Field(default="", max_length=200)
    why: str = Field(default="", max_length=2000)
    request_id: str = Field(
        default="",
        max_length=100,
        description="A name for this request: sent again under the same name, it changes nothing.",
    )
    if_state: State | None = Field(
        default=None, description="Change it only while it is in this state; otherwise 409."
    )


def finding_fields(
    finding: Finding, evidence: list[dict[str, Any]], silenced_by: list[str], incident: str
) -> dict[str, Any]:
    """The fields of :class:`FindingItem`."""
    plain = FindingItem.model_fields.keys() - _MADE
    return {
        **{name: getattr(finding, name) for name in plain},
        "summary": finding.texts.summary,
        "services": list(finding.services),
        "versions": list(finding.versions),
        "group": dict(finding.group),
        "evidence": [evidence_item(item) for item in evidence],
        "silenced_by": silenced_by,
        "incident": incident,
        "tables": list(tables(finding)),
        "databases": list(databases(finding)),
        "identities": list(identities(finding)),
        "since": since_item(finding.since),
    }


def since_item(since: Since | None) -> SinceItem | None:
    """A deploy as the interface shows it."""
    if since is None:
        return None
    plain = SinceItem.model_fields.keys() - {"sentence"}
    return SinceItem(**{name: getattr(since, name) for name in plain}, sentence=sentence(since))


def evidence_item(item: dict[str, Any]) -> EvidenceItem:
    """An item of a timeline as people see it; ``item`` is as the store keeps it."""
    return EvidenceItem(
        **{name: item[name] for name in EvidenceItem.model_fields.keys() - {"at", "duration_ms", "text"}},
        at=datetime.fromtimestamp(item["at"] // 1000 / 1e6, UTC),
        duration_ms=round(item["duration_ns"] / 1e6, 3),
        text=describe(item),
    )


_MADE = {
    "summary",
    "evidence",
    "services",
    "versions",
    "group",
    "silenced_by",
    "incident",
    "tables",
    "databases",
    "identities",
    "since",
}
