"""Whom the monitor tells, how that goes, and a test."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from trueline.monitor.api.context import Context, Route
from trueline.monitor.engine.finding import Finding, State, Texts
from trueline.monitor.errors import SettingsError
from trueline.monitor.notify.notifier import trial
from trueline.monitor.notify.targets import Target, load_targets, masked
from trueline.monitor.store.notifications import StoredNotifications


class LastMessage(BaseModel):
    """How the last change was told."""

    key: str = Field(description="The incident, or for Alertmanager the finding.")
    at: datetime
    status: str = Field(description="firing or resolved.")
    result: str = Field(description="pending, sent or refused.")
    answer: str


class TargetItem(BaseModel):
    """One target. Secrets are never shown."""

    name: str
    type: Literal["alertmanager", "webhook"]
    urls: list[str] = Field(description="Scheme, host and port.")
    severities: list[str]
    environments: list[str]
    waiting: int = Field(description="Messages that have not arrived yet.")
    last: LastMessage | None
    problem: str = Field(description="What keeps it from being used; empty if nothing does.")


class TargetList(BaseModel):
    """All targets. None: nobody is told anything."""

    items: list[TargetItem]
    problems: list[str]


class WhichTarget(BaseModel):
    """Which target to try."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(max_length=63)


class TrialAnswer(BaseModel):
    """What one URL answered."""

    url: str
    address: str = Field(description="The address that was connected to.")
    status: int = Field(description="0 where no answer came.")
    text: str
    milliseconds: float
    ok: bool


class Trial(BaseModel):
    """What was sent, to the letter, and what was answered."""

    target: str
    sent: Any
    answers: list[TrialAnswer]
    ok: bool


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route, tags=["notify"])
    settings = context.settings
    store = StoredNotifications(context.store)

    def targets() -> tuple[Target, ...]:
        try:
            return load_targets(settings.notify)
        except SettingsError as error:
            raise HTTPException(409, str(error)) from None

    @router.get("/notify")
    def list_targets() -> TargetList:
        """Whom the monitor tells, and how the last message went."""
        problems = []
        found = targets()
        if found and not settings.external_url:
            problems.append(
                "Messages carry no links: set TRUELINE_EXTERNAL_URL to where people see the monitor."
            )
        return TargetList(items=[_item(one, store) for one in found], problems=problems)

    @router.post("/notify/test")
    def test_target(which: WhichTarget) -> Trial:
        """Send a target a message that says that it is a test. Alertmanager takes it as resolved."""
        found = targets()
        target = next((one for one in found if one.name == which.target), None)
        if target is None:
            there = ", ".join(one.name for one in found) or "none: set TRUELINE_NOTIFY to a file of targets"
            raise HTTPException(404, f"There is no target {which.target!r}; there are {there}.")
        try:
            sent, answers = trial(target, settings.external_url, _example(datetime.now(UTC)))
        except SettingsError as error:
            raise HTTPException(409, str(error)) from None
        return Trial(
            target=target.name,
            sent=sent,
            answers=[
                TrialAnswer(
                    url=one.url,
                    address=one.address,
                    status=one.status,
                    text=one.text,
                    milliseconds=round(one.milliseconds, 1),
                    ok=one.ok,
                )
                for one in answers
            ],
            ok=all(one.ok for one in answers),
        )

    return router


def _item(target: Target, store: StoredNotifications) -> TargetItem:
    problem, urls = "", [masked(url) for url in target.urls]
    try:
        urls = [masked(url) for url in target.addresses()]
        target.token()
    except SettingsError as error:
        problem = str(error)
    last = store.last(target.name)
    return TargetItem(
        name=target.name,
        type=target.type,
        urls=urls,
        severities=[str(one) for one in target.severities],
        environments=target.environments,
        waiting=store.waiting(target.name),
        last=LastMessage(**last) if last else None,
        problem=problem,
    )


def _example(now: datetime) -> Finding:
    """A finding that exists nowhere and says so."""
    return Finding(
        id="0" * 16,
        rule="trueline_test",
        rule_version=1,
        rule_revision="",
        title="A test of notifications",
        severity="info",
        state=State.RESOLVED,
        environment="test",
        application="trueline",
        service="trueline",
        services=("trueline",),
        versions=(),
        group={"environment": "test", "application": "trueline", "service": "trueline"},
        facts={},
        texts=Texts(
            "This is a test of Trueline's notifications: nothing is wrong.",
            "Somebody ran `trueline notify test`.",
            "Nothing.",
            "",
            "",
        ),
        first_seen=now,
        last_seen=now,
        opened_at=now,
        last_arrival_at=now,
        updated_at=now,
        resolved_at=now,
        resolved_by=None,
        count=1,
        value=1.0,
        trace_ids=(),
        span_ids=(),
    )
