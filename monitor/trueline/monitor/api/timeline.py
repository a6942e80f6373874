"""One timeline over services: of a finding's evidence, or of any trace."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field

from trueline.monitor.api.context import Context, Route
from trueline.monitor.engine.timeline import MAX_STEPS, Kind, Phase, Step, Timeline, build_timeline
from trueline.monitor.store.traces import read_traces

_TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{32}")
Limit = Annotated[
    int, Query(ge=10, le=2000, description="Steps at most; the ones that matter least go first.")
]


class StepItem(BaseModel):
    """One line. ``count``: so many alike, one after the other."""

    at: datetime
    offset_ms: float = Field(description="Since the first step.")
    duration_ms: float
    trace: str = Field(description="The letter of its trace; empty for a gap.")
    kind: Kind
    phase: Phase = Field(description="Transactions and entries begin and end.")
    within: int = Field(description="Transactions of its trace that are open around it.")
    service: str
    version: str
    text: str = Field(description="What happens, in plain words.")
    outcome: str
    reason: str
    bad: bool = Field(description="An error, or a write that is not there.")
    named: bool = Field(description="The rule named it as proof.")
    count: int
    trace_id: str
    span_id: str


class StrandItem(BaseModel):
    """One trace in short."""

    label: str
    trace_id: str
    sentence: str


class TimelineItem(BaseModel):
    """Steps in order of time over all services."""

    begin: datetime
    end: datetime
    finding: str = Field(description="The finding's id; empty for a trace.")
    title: str
    services: list[str]
    traces: list[StrandItem]
    steps: list[StepItem]
    left_out: int = Field(description="Spans and log records that would have been too many.")


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)
    store = context.rules.findings

    @router.get("/traces/{trace_id}/timeline")
    def get_trace_timeline(trace_id: str, limit: Limit = MAX_STEPS) -> TimelineItem:
        """Of a trace by its id, 32 hex digits."""
        if not _TRACE_ID.fullmatch(trace_id):
            raise HTTPException(400, f"{trace_id[:64]!r} is not a trace id: that is 32 hexadecimal digits.")
        items = read_traces(context.store, [trace_id.lower()])
        if not items:
            raise HTTPException(404, f"No span or log record of trace {trace_id} has arrived.")
        return _item(
            [{**asdict(one), "named": False} for one in items], limit, "", f"trace {trace_id.lower()}"
        )

    @router.get("/findings/{finding_id}/timeline")
    def get_finding_timeline(finding_id: str, limit: Limit = MAX_STEPS) -> TimelineItem:
        """Of what proves a finding, as it was copied when it was found."""
        finding = store.load([finding_id]).get(finding_id)
        if finding is None:
            raise HTTPException(404, f"There is no finding {finding_id[:40]!r}; /api/v1/findings lists them.")
        evidence = store.evidence([finding_id])[finding_id]
        if not evidence:
            raise HTTPException(404, f"Finding {finding_id} has no evidence yet: its spans may still arrive.")
        return _item(evidence, limit, finding.id, finding.texts.summary)

    return router


def _item(items: Sequence[Mapping[str, Any]], limit: int, finding: str, title: str) -> TimelineItem:
    timeline = build_timeline(items, limit)
    return TimelineItem(
        begin=_moment(timeline.begin),
        end=_moment(timeline.end),
        finding=finding,
        title=title,
        services=list(timeline.services),
        traces=[StrandItem(**asdict(one)) for one in timeline.strands],
        steps=[_step(one, timeline) for one in timeline.steps],
        left_out=timeline.left_out,
    )


def _step(one: Step, timeline: Timeline) -> StepItem:
    fields = {name: value for name, value in asdict(one).items() if name not in ("at", "duration_ns")}
    return StepItem(
        at=_moment(one.at),
        offset_ms=round((one.at - timeline.begin) / 1e6, 3),
        duration_ms=round(one.duration_ns / 1e6, 3),
        **fields,
    )


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds // 1000 / 1e6, UTC)
