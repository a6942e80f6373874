"""Handlers that let somebody read what they have written before they commit it, and those that do not."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from scenarios.applications.operations.careless import RECEIVED
from scenarios.applications.operations.expenses import new_expense, of_user, rebuild_summary, summary
from scenarios.applications.tables import Budget, Expense, Summary, hash_of
from scenarios.applications.work import Body, Work, async_operation, operation
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession


def _take_its_time(body: Body) -> None:
    """What handlers do besides: a thumbnail, a mail, a call of another service."""
    time.sleep(float(body.get("pause", 0)))


@operation
def store_and_hand_in(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense and let the worker do ``job``, ``pause`` seconds before the commit.

    HAND_IN=after_commit does it afterwards.
    """
    late = work.setting("HAND_IN") == "after_commit"
    with work.session() as session, session.begin():
        session.add(new_expense(work, body))
        session.flush()
        if not late:
            work.enqueue(body["job"], body)
        _take_its_time(body)
    if late:
        work.enqueue(body["job"], body)
    return RECEIVED


@operation
def rebuild_at_leisure(work: Work, body: Body) -> dict[str, Any]:
    """Build a user's summary in one snapshot, ``leisure`` seconds after having looked at the budget."""
    engine = work.engine().execution_options(isolation_level="REPEATABLE READ")
    with engine.begin() as connection:
        connection.execute(select(Budget.limit_cents).where(Budget.user_id == int(body["user"]))).all()
        time.sleep(float(body["leisure"]))
        spent = connection.scalars(select(Expense.amount_cents).where(of_user(work, body["user"]))).all()
        values = {"user_id_hash": hash_of(body["user"]), "total_cents": sum(spent)}
        connection.execute(insert(Summary).values(**values))
    return {"total": sum(spent)}


@operation
def rebuild_with_patience(work: Work, body: Body) -> dict[str, Any]:
    """Build a user's summary; where there is no expense yet, wait and look again."""
    for _ in range(50):
        if summary(work, body)["count"]:
            break
        time.sleep(0.3)
    told: dict[str, Any] = rebuild_summary(work, body)
    return told


@operation
def built_total(work: Work, body: Body) -> dict[str, Any]:
    """What the newest summary of a user says; None if there is none."""
    with work.session() as session:
        newest = select(Summary.total_cents).where(Summary.user_id_hash == hash_of(body["user"]))
        return {"total": session.scalars(newest.order_by(Summary.id.desc())).first()}


@operation
def store_and_show(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense and answer with the new total, which a helper adds up.

    HELPER=same_session lets the helper use the session of the handler; otherwise it opens its own.
    """
    with work.session() as session, session.begin():
        session.add(new_expense(work, body))
        session.flush()
        if work.setting("HELPER") == "same_session":
            total = session.scalar(select(func.sum(Expense.amount_cents)).where(of_user(work, body["user"])))
        else:
            total = summary(work, body)["total"]
        _take_its_time(body)
    return {"total": total}


@async_operation
async def store_in_background(work: Work, body: Body) -> Any:
    """Store an expense and answer; a background task commits ``pause`` seconds later."""
    from starlette.background import BackgroundTask
    from starlette.responses import JSONResponse

    session = work.async_session()
    session.add(new_expense(work, body))
    await session.flush()
    return JSONResponse(RECEIVED, background=BackgroundTask(_finish, session, float(body["pause"])))


async def _finish(session: AsyncSession, pause: float) -> None:
    try:
        await asyncio.sleep(pause)
        await session.commit()
    finally:
        await session.close()
