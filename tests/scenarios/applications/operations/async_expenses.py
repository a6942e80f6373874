"""The same in an async process, as people write it there."""

from __future__ import annotations

import logging
from typing import Any

from scenarios.applications.operations.expenses import new_expense, of_user
from scenarios.applications.tables import Expense, Message
from scenarios.applications.work import Body, Refused, Work, async_operation
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

log = logging.getLogger("expenses")


@async_operation
async def store_expense(work: Work, body: Body) -> dict[str, Any]:
    """A chat message tells of an expense."""
    try:
        return {"stored": await _store(work, body)}
    except Exception as error:
        log.exception("the expense was not stored")
        if work.setting("ACKNOWLEDGE", "always") == "on_success":
            raise Refused(503, "not stored, deliver again") from error
    return {"stored": False}


async def _store(work: Work, body: Body) -> bool:
    ai, model, note = work.setting("AI", "off"), body.get("model", "answers"), body.get("note", "lunch")
    async with work.async_session() as session:
        async with session.begin():
            if body.get("message"):
                session.add(Message(message_id=body["message"]))
                try:
                    await session.flush()
                except IntegrityError:
                    await session.rollback()
                    return True
            expense = new_expense(work, body)
            session.add(expense)
            await session.flush()
            if ai == "inline":
                expense.category = await work.ask_model_async(note, model)
            elif ai == "best_effort":
                expense.category = await _category_or_none(work, note, model)
        if ai == "after_commit":
            expense.category = await _category_or_none(work, note, model)
            await session.commit()
    return True


async def _category_or_none(work: Work, note: str, model: str) -> str | None:
    try:
        return await work.ask_model_async(note, model)
    except Exception as error:
        log.warning("no category: %s", type(error).__name__)
        return None


@async_operation
async def summary(work: Work, body: Body) -> dict[str, Any]:
    """How much a user has spent."""
    async with work.async_session() as session:
        found = await session.scalars(select(Expense.amount_cents).where(of_user(work, body["user"])))
        spent = found.all()
        return {"count": len(spent), "total": sum(spent)}


@async_operation
async def receive_event(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense; whatever happens, the platform hears EVENT_RECEIVED."""
    try:
        async with work.async_session() as session:
            session.add(new_expense(work, body))
            await session.commit()
    except Exception:
        log.exception("the event could not be taken")
    return {"status": "EVENT_RECEIVED"}


@async_operation
async def jot_down(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense, flush, and forget to commit."""
    async with work.async_session() as session:
        session.add(new_expense(work, body))
        await session.flush()
    return {"status": "EVENT_RECEIVED"}
