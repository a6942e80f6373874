"""Handlers that write last, and return before they come to it where something goes wrong."""

from __future__ import annotations

import json
import logging
from typing import Any

from scenarios.applications.operations.expenses import new_expense
from scenarios.applications.work import Body, Refused, Work, async_operation, operation

log = logging.getLogger("early")
RECEIVED = {"status": "EVENT_RECEIVED"}


def _write(work: Work, body: Body, category: str | None = None) -> None:
    with work.session() as session, session.begin():
        session.add(new_expense(work, body, category))


@operation
def classify_and_store(work: Work, body: Body) -> dict[str, Any]:
    """Ask the model, then store; without an answer it returns.

    FALLBACK=queue hands it to the worker then, FALLBACK=store stores it without a category.
    """
    try:
        category = work.ask_model(body.get("note", "lunch"), body.get("model", "answers"))
    except Exception:
        log.exception("no category")
        if work.setting("FALLBACK") == "queue":
            work.enqueue("store_later", body)
        elif work.setting("FALLBACK") == "store":
            _write(work, body)
        return RECEIVED
    _write(work, body, category)
    return RECEIVED


@async_operation
async def classify_and_store_async(work: Work, body: Body) -> dict[str, Any]:
    """The same in an async process."""
    try:
        category = await work.ask_model_async(body.get("note", "lunch"), body.get("model", "answers"))
    except Exception:
        log.exception("no category")
        return RECEIVED
    async with work.async_session() as session:
        session.add(new_expense(work, body, category))
        await session.commit()
    return RECEIVED


@operation
def store_later(work: Work, body: Body) -> dict[str, Any]:
    """What the worker is handed."""
    _write(work, body)
    return RECEIVED


@operation
def parse_and_store(work: Work, body: Body) -> dict[str, Any]:
    """Read the rest of the event, then store; what cannot be read is logged."""
    try:
        category = json.loads(body.get("extra", "{}")).get("category")
    except ValueError:
        log.exception("the event could not be read")
        return RECEIVED
    _write(work, body, category)
    return RECEIVED


@operation
def validate_and_store(work: Work, body: Body) -> dict[str, Any]:
    """Refuse what has no currency, and everything in maintenance; store the rest."""
    if body.get("maintenance"):
        raise Refused(503, "read-only for an hour")
    if not body.get("currency"):
        raise Refused(422, "currency: field required")
    _write(work, body)
    return RECEIVED


@operation
def chat(work: Work, body: Body) -> dict[str, Any]:
    """Some messages tell of an expense, others are only talk; the model is asked about all of them."""
    try:
        work.ask_model(body.get("note", "lunch"), body.get("model", "answers"))
    except Exception:
        log.exception("no answer")
        return RECEIVED
    if not body.get("talk"):
        _write(work, body)
    return RECEIVED


@operation
def store_if_new(work: Work, body: Body) -> dict[str, Any]:
    """As classify_and_store; that it does not always write is declared."""
    classify_and_store(work, body)
    return RECEIVED
