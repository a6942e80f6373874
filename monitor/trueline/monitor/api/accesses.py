"""One statement that touched an identity, as answers show it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from trueline.monitor.diagnose.facts import Access
from trueline.monitor.diagnose.judge import TableSides


class TouchedBy(BaseModel):
    """One statement. ``ended`` is when its transaction was decided, where that is known."""

    kind: str
    table: str
    at: datetime
    ended: datetime
    columns: list[str] = Field(
        description="Where the identity stands; empty: whose the row is, or was bound."
    )
    encodings: list[str] = Field(description="How it is written in each of the columns.")
    rows: int | None = Field(description="Rows written or returned; null where the driver does not tell.")
    environment: str
    application: str
    service: str
    version: str
    process_kind: str
    entry: str = Field(description="The code path: the span at which work entered the service.")
    database: str = Field(description="The fingerprint.")
    database_name: str
    database_schema: str
    database_role: str
    database_url: str = Field(description="Without credentials.")
    database_url_variable: str
    outcome: str
    reason: str
    error: str
    constraint: str
    ai_error: str = Field(description="The AI call's error that undid it, if one did.")
    trace_id: str
    span_id: str


class Sides(BaseModel):
    """One table: the last write beside the last read."""

    table: str
    last_write: TouchedBy | None
    last_committed_write: TouchedBy | None
    last_read: TouchedBy | None


def touched_by(one: Access | None) -> TouchedBy | None:
    """An access for answers."""
    if one is None:
        return None
    place = one.place
    return TouchedBy(
        kind=one.kind,
        table=one.table,
        at=one.at,
        ended=one.ended,
        columns=list(one.columns),
        encodings=list(one.encodings),
        rows=one.rows,
        environment=one.environment,
        application=one.application,
        service=one.service,
        version=one.version,
        process_kind=one.process_kind,
        entry=one.entry,
        database=place.database,
        database_name=place.name,
        database_schema=place.database_schema,
        database_role=place.role,
        database_url=place.url,
        database_url_variable=place.url_variable,
        # How the transaction of a read ended says nothing: most drivers roll back idle ones.
        outcome=one.outcome if one.kind == "write" else "",
        reason=one.reason if one.kind == "write" else "",
        error=one.error,
        constraint=one.constraint,
        ai_error=one.ai_error,
        trace_id=one.trace_id,
        span_id=one.span_id,
    )


def sides(one: TableSides) -> Sides:
    """A table's two sides for answers."""
    return Sides(
        table=one.table,
        last_write=touched_by(one.last_write),
        last_committed_write=touched_by(one.last_committed_write),
        last_read=touched_by(one.last_read),
    )
