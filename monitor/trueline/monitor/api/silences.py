"""Silences: list, make, preview, change the end, end."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from trueline.monitor.api.context import Context, Route
from trueline.monitor.api.cursors import WRONG_CURSOR, decode_cursor, encode_cursor
from trueline.monitor.api.finding_filters import Text
from trueline.monitor.api.finding_models import FindingItem, finding_fields
from trueline.monitor.engine.finding import Finding
from trueline.monitor.engine.labels import COMMON, labels
from trueline.monitor.engine.silence import (
    Matcher,
    Op,
    Phase,
    Silence,
    SilenceError,
    end,
    make,
    matcher_fields,
)
from trueline.monitor.store.silences import StoredSilences

#: Findings that a preview lists.
MAX_PREVIEW = 100


class MatcherItem(BaseModel):
    """One condition on one label of a finding."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(
        description="rule, severity, environment, application, service, table, database, identity "
        "or a column of the finding's group."
    )
    op: Op = Field(default=Op.EQUAL, description="= and !=, or =~ and !~ for regular expressions (RE2).")
    value: str = Field(max_length=500)


class NewSilence(BaseModel):
    """A silence to be made."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "matchers": [{"label": "service", "op": "=", "value": "expenses-worker"}],
                "ends_at": "2026-11-20T18:00:00Z",
                "author": "ann",
                "reason": "moving the database, OPS-42",
            }
        },
    )

    matchers: list[MatcherItem]
    starts_at: datetime | None = Field(default=None, description="Now, if it is left out.")
    ends_at: datetime
    author: str = Field(max_length=200)
    reason: str = Field(max_length=2000)
    id: str = Field(
        default="",
        max_length=64,
        pattern="^[A-Za-z0-9_-]*$",
        description="A name of your own: the same silence sent again is not made twice.",
    )


class SilenceChange(BaseModel):
    """What can be changed of a silence: when it ends."""

    model_config = ConfigDict(extra="forbid")

    ends_at: datetime
    who: str = Field(default="", max_length=200)


class Who(BaseModel):
    """Who does it."""

    model_config = ConfigDict(extra="forbid")

    who: str = Field(default="", max_length=200)


class SilenceEvent(BaseModel):
    """One change of a silence."""

    at: datetime
    action: str
    who: str
    ends_at: datetime


class SilenceItem(BaseModel):
    """A silence. Expired ones are kept."""

    id: str
    phase: Phase
    matchers: list[MatcherItem]
    starts_at: datetime
    ends_at: datetime
    author: str
    reason: str
    created_at: datetime
    hides: int = Field(description="Active findings that its matchers fit now, whether or not it holds.")


class SilenceDetail(SilenceItem):
    """A silence with its history."""

    events: list[SilenceEvent]


class SilenceList(BaseModel):
    """Silences, newest first; ``next`` is the cursor of the following page, null on the last one."""

    items: list[SilenceItem]
    next: str | None


class Preview(BaseModel):
    """What a silence would hide: the active findings that its matchers fit."""

    count: int
    items: list[FindingItem] = Field(description=f"The first {MAX_PREVIEW}.")


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route, tags=["silences"])
    store = StoredSilences(context.store)
    findings = context.rules.findings

    @router.get("/silences")
    def list_silences(
        phase: Annotated[list[Phase] | None, Query()] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Text = None,
    ) -> SilenceList:
        """All silences, expired ones too, unless phases are named."""
        now, active = context.now(), findings.active()
        found = [one for one in store.all() if not phase or one.phase(now) in phase]
        if cursor is not None:
            place = decode_cursor(cursor, 2)
            found = [one for one in found if _after(one, *place)]
        page = found[:limit]
        return SilenceList(
            items=[SilenceItem(**_fields(one, now, active)) for one in page],
            next=encode_cursor(page[-1].created_at.isoformat(), page[-1].id) if len(found) > limit else None,
        )

    @router.post("/silences", status_code=201)
    def create_silence(new: NewSilence) -> SilenceDetail:
        """Make a silence. Nobody is told of findings under it; lists show and mark them."""
        with store.changing():
            known = store.load(new.id) if new.id else None
            if known is None:
                now = _aware(context.now())
                silence = _checked(new, now)
                store.save(silence, "created", silence.author, now)
            else:
                silence = known
                if (known.matchers, known.ends_at) != (_matchers(new), _aware(new.ends_at)):
                    raise HTTPException(409, f"There is another silence {new.id!r}: choose another id.")
        return _detail(silence)

    @router.post("/silences/preview")
    def preview_silence(new: NewSilence) -> Preview:
        """What a silence would hide, without making it."""
        silence = _checked(new, context.now())
        hidden = [one for one in findings.active() if silence.covers(one)]
        return Preview(
            count=len(hidden),
            items=[FindingItem(**finding_fields(one, [], [], "")) for one in hidden[:MAX_PREVIEW]],
        )

    @router.get("/silences/{silence_id}")
    def get_silence(silence_id: str) -> SilenceDetail:
        """One silence with its history."""
        return _detail(_load(silence_id))

    @router.patch("/silences/{silence_id}")
    def change_silence(silence_id: str, change: SilenceChange) -> SilenceDetail:
        """Let it end earlier or later. One that is over stays over: make a new one."""
        with store.changing():
            silence, now = _load(silence_id), context.now()
            if silence.phase(now) is Phase.EXPIRED:
                raise HTTPException(409, f"The silence {silence.id} is over; make a new one.")
            changed = replace(silence, ends_at=_aware(change.ends_at))
            _check(changed, now, findings.active())
            store.save(changed, "changed", change.who or "somebody", now)
        return _detail(changed)

    @router.post("/silences/{silence_id}/end")
    def end_silence(silence_id: str, who: Who) -> SilenceDetail:
        """End it now. One that is over stays as it is."""
        with store.changing():
            silence, now = _load(silence_id), context.now()
            ended = end(silence, now)
            if ended != silence:
                store.save(ended, "ended", who.who or "somebody", now)
        return _detail(ended)

    def _load(silence_id: str) -> Silence:
        silence = store.load(silence_id)
        if silence is None:
            raise HTTPException(404, f"There is no silence {silence_id[:40]!r}; /api/v1/silences lists them.")
        return silence

    def _checked(new: NewSilence, now: datetime) -> Silence:
        silence = Silence(
            id=new.id or uuid.uuid4().hex[:16],
            matchers=_matchers(new),
            starts_at=_aware(new.starts_at) if new.starts_at else now,
            ends_at=_aware(new.ends_at),
            author=new.author.strip(),
            reason=new.reason.strip(),
            created_at=now,
        )
        return _check(silence, now, findings.active())

    def _detail(silence: Silence) -> SilenceDetail:
        fields = _fields(silence, context.now(), findings.active())
        return SilenceDetail(**fields, events=[SilenceEvent(**event) for event in store.history(silence.id)])

    return router


def _check(silence: Silence, now: datetime, active: list[Finding]) -> Silence:
    known = {*COMMON, "id"}
    for finding in active:
        known |= labels(finding).keys()
    try:
        return make(silence, now, known)
    except SilenceError as error:
        raise HTTPException(422, str(error)) from None


def _after(silence: Silence, created: str, last: str) -> bool:
    """Whether it comes after a place in the list: newest first, then by id."""
    try:
        moment = datetime.fromisoformat(created)
        return silence.created_at < moment or (silence.created_at == moment and silence.id > last)
    except (TypeError, ValueError):
        raise HTTPException(400, WRONG_CURSOR) from None


def _matchers(new: NewSilence) -> tuple[Matcher, ...]:
    return tuple(Matcher(one.label, one.op, one.value) for one in new.matchers)


def _aware(moment: datetime) -> datetime:
    """Times without a zone are UTC. Milliseconds, as the store keeps them."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _fields(silence: Silence, now: datetime, active: list[Finding]) -> dict[str, Any]:
    plain = SilenceItem.model_fields.keys() - {"phase", "matchers", "hides"}
    return {
        **{name: getattr(silence, name) for name in plain},
        "phase": silence.phase(now),
        "matchers": [matcher_fields(one) for one in silence.matchers],
        "hides": sum(1 for finding in active if silence.covers(finding)),
    }
