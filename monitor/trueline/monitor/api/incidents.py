"""Incidents: findings that have one cause, the likely cause first."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field

from trueline.monitor.api.context import Context, Route
from trueline.monitor.api.cursors import WRONG_CURSOR, decode_cursor, encode_cursor
from trueline.monitor.api.finding_filters import StateFilter, Text
from trueline.monitor.api.finding_models import FindingItem, SinceItem, finding_fields, since_item
from trueline.monitor.engine.finding import State
from trueline.monitor.engine.incident import Incident
from trueline.monitor.engine.rule import Severity
from trueline.monitor.engine.silence import Silence, silenced_by
from trueline.monitor.store.silences import StoredSilences


class IncidentItem(BaseModel):
    """Findings with one cause."""

    id: str = Field(description="Stays while findings join.")
    state: State = Field(description="resolved when all findings are, acknowledged when every active one is.")
    severity: Severity = Field(description="The worst of its active findings.")
    environment: str
    title: str = Field(description="The likely cause's.")
    summary: str = Field(description="The likely cause's.")
    because: str = Field(description="Why it is taken for the cause, and what followed.")
    links: list[str] = Field(description="What the findings have in common.")
    services: list[str]
    first_seen: datetime
    last_seen: datetime
    deploy: SinceItem | None = Field(description="The deploy that is likely behind it.")
    merged: list[str] = Field(description="Incidents that turned out to be this one.")
    rules: list[str] = Field(description="The findings' rules, the likely cause first.")
    findings: list[str] = Field(description="The findings' ids, the likely cause first.")


class IncidentEvent(BaseModel):
    """A finding that joined, or an incident that was merged into this one."""

    at: datetime
    finding: str
    merged: str


class IncidentDetail(IncidentItem):
    """An incident with its findings, the likely cause first."""

    now: str = Field(description="What to do now, in Markdown: the likely cause's.")
    items: list[FindingItem]
    events: list[IncidentEvent]


class IncidentList(BaseModel):
    """Incidents, last seen first; ``next`` is the cursor of the following page, null on the last one."""

    items: list[IncidentItem]
    next: str | None


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route, tags=["incidents"])
    findings = context.rules.findings
    store = findings.incidents
    silences = StoredSilences(context.store)

    @router.get("/incidents")
    def list_incidents(
        state: Annotated[list[StateFilter] | None, Query()] = None,
        severity: Annotated[list[Severity] | None, Query()] = None,
        environment: Text = None,
        service: Text = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[Text, Query(description="What `next` said.")] = None,
    ) -> IncidentList:
        """Incidents of the last 30 days and all that are not resolved, latest first."""
        wanted = {str(one) for one in state or ()}
        if "active" in wanted:
            wanted |= {State.OPEN, State.ACKNOWLEDGED, State.REOPENED}
        found = [
            one
            for one in sorted(store.all(), key=_order)
            if (not wanted or one.state in wanted)
            and (not severity or one.severity in severity)
            and (environment is None or (one.cause.environment or "unset") == (environment or "unset"))
            and (service is None or any(service in finding.services for finding in one.findings))
        ]
        if cursor is not None:
            place = _place(*decode_cursor(cursor, 2))
            found = [one for one in found if _order(one) > place]
        page = found[:limit]
        return IncidentList(
            items=[IncidentItem(**_fields(one)) for one in page],
            next=encode_cursor(page[-1].last_seen.isoformat(), page[-1].id) if len(found) > limit else None,
        )

    @router.get("/incidents/{incident_id}")
    def get_incident(incident_id: str) -> IncidentDetail:
        """One incident. The id of one that was merged leads to that which it is part of now."""
        incident = store.find(incident_id)
        if incident is None:
            raise HTTPException(
                404, f"There is no incident {incident_id[:40]!r}; /api/v1/incidents lists them."
            )
        now = context.now()
        holding: list[Silence] = silences.unexpired(now)
        return IncidentDetail(
            **_fields(incident),
            now=incident.cause.texts.now,
            items=[
                FindingItem(**finding_fields(one, [], silenced_by(one, holding, now), incident.id))
                for one in incident.findings
            ],
            events=[
                IncidentEvent(at=event["at"], finding=event["finding_id"], merged=event["merged_from"])
                for event in store.history(incident.id)
            ],
        )

    return router


def _order(incident: Incident) -> tuple[float, str]:
    """Latest first."""
    return -incident.last_seen.timestamp(), incident.id


def _place(last_seen: str, incident_id: str) -> tuple[float, str]:
    try:
        return -datetime.fromisoformat(last_seen).timestamp(), incident_id
    except (ValueError, OverflowError):
        raise HTTPException(400, WRONG_CURSOR) from None


def _fields(incident: Incident) -> dict[str, Any]:
    return {
        "id": incident.id,
        "state": incident.state,
        "severity": incident.severity,
        "environment": incident.cause.environment,
        "title": incident.cause.title,
        "summary": incident.cause.texts.summary,
        "because": incident.because,
        "links": list(incident.links),
        "services": list(dict.fromkeys(name for one in incident.findings for name in one.services)),
        "first_seen": incident.first_seen,
        "last_seen": incident.last_seen,
        "deploy": since_item(incident.deploy),
        "merged": list(incident.merged),
        "rules": list(dict.fromkeys(one.rule for one in incident.findings)),
        "findings": [one.id for one in incident.findings],
    }
