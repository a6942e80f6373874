"""How the monitor does: rules, findings, and whether telemetry arrives."""

from __future__ import annotations

from datetime import datetime
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from trueline.monitor.api.context import Context, Route


class Status(BaseModel):
    """The state of the whole. ``problems`` are sentences; none means that it does its work."""

    version: str
    data: str = Field(description="Where the data is kept.")
    problems: list[str]
    rules: dict[str, dict[str, Any]]
    findings: dict[str, int] = Field(description="Number of findings by state.")
    spans_last_5_minutes: int
    last_span_at: datetime | None = Field(description="When the newest of them arrived.")


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)

    @router.get("/status")
    def get_status() -> Status:
        """The state of the whole."""
        rules = context.rules.status()
        states = context.store.query("SELECT state, count() FROM findings FINAL GROUP BY state")
        spans, newest = context.store.query(
            "SELECT count(), max(received_at) FROM otel_traces "
            "WHERE received_at > now64(3) - INTERVAL 5 MINUTE"
        ).rows[0]
        return Status(
            version=version("trueline"),
            data=context.store.description,
            problems=rules["problems"],
            rules=rules["states"],
            findings={str(row[0]): int(row[1]) for row in states},
            spans_last_5_minutes=spans,
            last_span_at=newest if spans else None,
        )

    return router
