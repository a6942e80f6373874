"""When a rule watched, when it failed, and what it could not be sure of: the coverage ledger, for people."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field

from trueline.monitor.api.context import Context, Route, moment_of
from trueline.monitor.api.cursors import WRONG_CURSOR, decode_cursor, encode_cursor
from trueline.monitor.store.rule_history import NO_LINE, stretches, sums

_RESULTS = (
    "ok, error (tried again), skipped (given up), clock (judged again from end), none (nobody judged it)."
)


class Stretch(BaseModel):
    """Windows of arrival that follow each other and went alike."""

    start: datetime
    end: datetime
    result: str = Field(description=_RESULTS)
    version: int
    revision: str = Field(description="12 digits over all that decides what is found.")
    runs: int
    rows: int = Field(description="Groups that were found, added up over the runs.")
    withheld: int = Field(description="Groups that rest on what may have been lost: not judged.")
    ms: float = Field(description="What the runs took together.")
    slowest_ms: float
    error: str
    note: str = Field(description="What the judgement could not be sure of.")


class RuleHistory(BaseModel):
    """One page, newest first, and what the whole time adds up to."""

    rule: str
    since: datetime
    until: datetime
    judged_seconds: float = Field(description="Arrivals of so many seconds were judged.")
    skipped_seconds: float = Field(description="Arrivals of so many seconds were given up.")
    errors: int
    withheld: int
    seconds_spent: float
    items: list[Stretch]
    next: str | None


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)

    @router.get("/rules/{rule_id}/history")
    def rule_history(
        rule_id: str,
        since: Annotated[str, Query(max_length=60, description="From when on: 24h, or a time.")] = "24h",
        until: Annotated[
            str | None, Query(max_length=60, description="Until when: a time; none: now.")
        ] = None,
        result: Literal["ok", "error", "skipped", "clock"] | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str | None, Query(max_length=4000)] = None,
    ) -> RuleHistory:
        """When a rule was evaluated and how that went; removed rules keep theirs for 30 days."""
        now = context.now()
        start = moment_of(since, now)
        end = moment_of(until, now, "until") if until else now
        if start >= end:
            raise HTTPException(400, "since is not before until.")
        before = _line(cursor)
        found = stretches(
            context.store, rule_id, start, end, result=result or "", before=before, limit=limit + 1
        )
        if not found and not any(one.id == rule_id for one in context.rules.loaded.rules):
            there = ", ".join(one.id for one in context.rules.loaded.rules)
            raise HTTPException(404, f"No rule {rule_id[:64]!r} ran in that time; there are {there}.")
        lines = [one for one in found if one["result"] != "none"]
        more = len(lines) > limit
        page = found[: found.index(lines[limit])] if more else found
        return RuleHistory(
            rule=rule_id,
            since=start,
            until=end,
            items=[Stretch(**_shown(one)) for one in page],
            next=encode_cursor(str(lines[limit - 1]["first_line"])) if more else None,
            **sums(context.store, rule_id, start, end),
        )

    return router


def _line(cursor: str | None) -> int:
    if cursor is None:
        return NO_LINE
    (line,) = decode_cursor(cursor, 1)
    if not (line.isascii() and line.isdigit() and int(line) <= NO_LINE):
        raise HTTPException(400, WRONG_CURSOR)
    return int(line)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in Stretch.model_fields}
