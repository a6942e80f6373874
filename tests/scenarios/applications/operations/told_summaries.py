"""Summaries as people get them: added up, copied from a cache, worded or made up by a model."""

from __future__ import annotations

import logging
from typing import Any

from scenarios.applications.operations.expenses import summary
from scenarios.applications.work import Body, Refused, Work, async_operation, operation

log = logging.getLogger("summaries")
_copies: dict[str, dict[str, Any]] = {}


@operation
def told_summary(work: Work, body: Body) -> dict[str, Any]:
    """Let the model say what a user has spent.

    SUMS=database hands it the numbers; otherwise it has nothing to go by but the question.
    """
    if body.get("maintenance"):
        raise Refused(503, "not now")
    known = f"{summary(work, body)}: " if work.setting("SUMS") == "database" else ""
    return {"said": work.ask_model(f"{known}what did I spend?", body.get("model", "answers"))}


@async_operation
async def told_summary_async(work: Work, body: Body) -> dict[str, Any]:
    """The same in an async process, which looks nothing up."""
    return {"said": await work.ask_model_async("what did I spend?", body.get("model", "answers"))}


@operation
def copied_summary(work: Work, body: Body) -> dict[str, Any]:
    """Add up what a user has spent, once; from then on answer with a copy.

    COPY=one keeps a single copy, since somebody forgot that users differ.
    """
    key = "summary" if work.setting("COPY") == "one" else f"summary:{body['user']}"
    if key not in _copies:
        _copies[key] = summary(work, body)
    return _copies[key]


@operation
def copied_for_a_while(work: Work, body: Body) -> dict[str, Any]:
    """The same; how old a copy may be is declared for it."""
    told: dict[str, Any] = copied_summary(work, body)
    return told


@operation
def ask_upstream(work: Work, body: Body) -> dict[str, Any]:
    """Let the service at UPSTREAM add up."""
    import httpx

    answer = httpx.post(f"http://{work.setting('UPSTREAM')}/summary", json=dict(body), timeout=60)
    told: dict[str, Any] = answer.raise_for_status().json()
    return told
