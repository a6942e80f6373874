"""Findings: list, one in full, acknowledge, resolve, comment."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field

from trueline.monitor.api.context import Context, Route, moment_of
from trueline.monitor.engine.describe import describe
from trueline.monitor.engine.finding import (
    Cause,
    Event,
    Finding,
    State,
    acknowledge,
    comment,
    resolve,
)
from trueline.monitor.engine.rule import Severity

_StateFilter = Literal["open", "acknowledged", "reopened", "resolved", "active"]
Change = Callable[[Finding, str, str, datetime], tuple[Finding, list[Event]]]
#: Evidence items that the list shows of each finding; all of it is with the finding itself.
EVIDENCE_IN_LIST = 5


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


class FindingItem(BaseModel):
    """A finding as lists show it."""

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
    action: str
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


class FindingList(BaseModel):
    """One page; ``next`` is the cursor of the following one."""

    items: list[FindingItem]
    next: str | None


class Note(BaseModel):
    """Who changes a finding, and why."""

    model_config = {"extra": "forbid"}

    who: str = Field(default="", max_length=200)
    why: str = Field(default="", max_length=2000)


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)
    store = context.rules.findings

    @router.get("/findings")
    def list_findings(
        state: Annotated[list[_StateFilter] | None, Query()] = None,
        rule: Annotated[list[str] | None, Query()] = None,
        severity: Annotated[list[Severity] | None, Query()] = None,
        environment: str | None = None,
        service: str | None = None,
        since: Annotated[str | None, Query(description="An ISO time or a duration as 24h.")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: str | None = None,
    ) -> FindingList:
        """Findings, last seen first."""
        conditions, values = ["1"], dict[str, Any]()
        if state:
            wanted = {str(one) for one in state}
            if "active" in wanted:
                wanted |= {State.OPEN, State.ACKNOWLEDGED, State.REOPENED}
            conditions.append("state IN {states:Array(String)}")
            values["states"] = sorted(str(one) for one in wanted)
        for name, chosen in (("rule", rule), ("severity", severity)):
            if chosen:
                conditions.append(f"{name} IN {{{name}:Array(String)}}")
                values[name] = [str(one) for one in chosen]
        if environment is not None:
            conditions.append("environment = {environment:String}")
            values["environment"] = environment
        if service is not None:
            conditions.append("(service = {service:String} OR has(services, {service:String}))")
            values["service"] = service
        if since is not None:
            conditions.append("last_seen >= {since:DateTime64(6)}")
            values["since"] = _stamp(moment_of(since, datetime.now(UTC)))
        if cursor is not None:
            values["seen"], values["after"] = _decode(cursor)
            conditions.append(
                "(last_seen < {seen:DateTime64(6)} "
                "OR last_seen = {seen:DateTime64(6)} AND id > {after:String})"
            )
        found = store.select(" AND ".join(conditions), values, limit=limit + 1)
        page = found[:limit]
        evidence = store.evidence([one.id for one in page])
        return FindingList(
            items=[FindingItem(**_item(one, _shown(evidence[one.id]))) for one in page],
            next=_encode(page[-1]) if len(found) > limit else None,
        )

    @router.get("/findings/{finding_id}")
    def get_finding(finding_id: str) -> FindingDetail:
        """One finding in full."""
        return detail(_load(finding_id))

    def _load(finding_id: str) -> Finding:
        finding = store.load([finding_id]).get(finding_id)
        if finding is None:
            raise HTTPException(404, f"There is no finding {finding_id[:40]!r}; /api/v1/findings lists them.")
        return finding

    def detail(finding: Finding) -> FindingDetail:
        rule = next((one for one in context.rules.loaded.rules if one.id == finding.rule), None)
        texts = finding.texts
        return FindingDetail(
            **_item(finding, store.evidence([finding.id])[finding.id]),
            explanation=texts.explanation,
            remediation=Remediation(now=texts.now, then=texts.then, check=texts.check),
            false_positives=list(rule.definition.false_positives) if rule else [],
            facts=dict(finding.facts),
            trace_ids=list(finding.trace_ids),
            span_ids=list(finding.span_ids),
            events=[EventItem(**event) for event in store.events(finding.id)],
        )

    def change(finding_id: str, note: Note, how: Change) -> FindingDetail:
        with store.changing():
            finding = _load(finding_id)
            changed, events = how(finding, note.who or "somebody", note.why, datetime.now(UTC))
            store.save([changed] if changed is not finding else [], events)
        return detail(changed)

    @router.post("/findings/{finding_id}/acknowledge")
    def acknowledge_finding(finding_id: str, note: Note) -> FindingDetail:
        """Somebody takes it on. A resolved finding stays resolved."""
        return change(finding_id, note, acknowledge)

    @router.post("/findings/{finding_id}/resolve")
    def resolve_finding(finding_id: str, note: Note) -> FindingDetail:
        """It is mended. It reopens when it is seen again."""
        return change(finding_id, note, partial(resolve, cause=Cause.PERSON))

    @router.post("/findings/{finding_id}/comment")
    def comment_finding(finding_id: str, note: Note) -> FindingDetail:
        """A remark; ``why`` is its text."""
        if not note.why.strip():
            raise HTTPException(422, "why: a comment needs a text.")
        return change(finding_id, note, comment)

    return router


def _item(finding: Finding, evidence: list[dict[str, Any]]) -> dict[str, Any]:
    names = FindingItem.model_fields.keys() - {"summary", "evidence", "services", "versions", "group"}
    return {
        **{name: getattr(finding, name) for name in names},
        "summary": finding.texts.summary,
        "services": list(finding.services),
        "versions": list(finding.versions),
        "group": dict(finding.group),
        "evidence": [evidence_item(item) for item in evidence],
    }


def evidence_item(item: dict[str, Any]) -> EvidenceItem:
    """An item of a timeline as people see it; ``item`` is as the store keeps it."""
    return EvidenceItem(
        **{name: item[name] for name in EvidenceItem.model_fields.keys() - {"at", "duration_ms", "text"}},
        at=datetime.fromtimestamp(item["at"] // 1000 / 1e6, UTC),
        duration_ms=round(item["duration_ns"] / 1e6, 3),
        text=describe(item),
    )


def _shown(evidence: list[dict[str, Any]]) -> list[dict[str, Any]]:
    named = [item for item in evidence if item["named"]]
    return (named or evidence)[:EVIDENCE_IN_LIST]


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _encode(finding: Finding) -> str:
    return base64.urlsafe_b64encode(f"{_stamp(finding.last_seen)}|{finding.id}".encode()).decode().rstrip("=")


def _decode(cursor: str) -> tuple[str, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        seen, _, after = text.partition("|")
        return _stamp(datetime.strptime(seen, "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)), after
    except ValueError:
        raise HTTPException(
            400, "cursor is not one that this API gave: leave it out to begin anew."
        ) from None
