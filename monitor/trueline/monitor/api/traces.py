"""One trace: its spans and log records in order of time."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Final

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel

from trueline.monitor.api.context import Context, Route
from trueline.monitor.api.findings import EvidenceItem, evidence_item
from trueline.monitor.store.traces import read_traces

_TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{32}")


class Trace(BaseModel):
    """A trace's spans and log records, oldest first."""

    trace_id: str
    items: list[EvidenceItem]


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)

    @router.get("/traces/{trace_id}")
    def get_trace(trace_id: str) -> Trace:
        """One trace by its id, 32 hex digits."""
        if not _TRACE_ID.fullmatch(trace_id):
            raise HTTPException(400, f"{trace_id[:64]!r} is not a trace id: that is 32 hexadecimal digits.")
        items = read_traces(context.store, [trace_id.lower()])
        if not items:
            raise HTTPException(404, f"No span or log record of trace {trace_id} has arrived.")
        return Trace(
            trace_id=trace_id.lower(),
            items=[evidence_item({**asdict(item), "named": False}) for item in items],
        )

    return router
