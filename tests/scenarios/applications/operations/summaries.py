"""Totals that are kept in a table of their own, made in the ways in which applications make them."""

from __future__ import annotations

import time
from typing import Any

from scenarios.applications.operations.expenses import new_expense, of_user
from scenarios.applications.tables import Budget, Expense, Summary, hash_of
from scenarios.applications.work import Body, Work, async_operation, operation
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session


def _set_total(session: Session, key: str, cents: int) -> None:
    """Change the row of a key, or make it."""
    changed = session.execute(update(Summary).where(Summary.user_id_hash == key).values(total_cents=cents))
    if not changed.rowcount:  # type: ignore[attr-defined]
        session.add(Summary(user_id_hash=key, total_cents=cents))
        session.flush()


@operation
def refresh_summary(work: Work, body: Body) -> dict[str, Any]:
    """The job behind a user's summary: add up what was spent, and keep the total.

    ``pause`` seconds pass before it is committed; BUDGETS=yes also takes the budget off.
    """
    with work.session() as session, session.begin():
        total = session.scalar(select(func.sum(Expense.amount_cents)).where(of_user(work, body["user"])))
        if work.setting("BUDGETS") == "yes":
            limits = select(func.max(Budget.limit_cents)).where(Budget.user_id == int(body["user"]))
            total = (session.scalar(limits) or 0) - (total or 0)
        _set_total(session, hash_of(body["user"]), total or 0)
        time.sleep(float(body.get("pause", 0)))
    return {"total": total}


@operation
def refresh_each(work: Work, body: Body) -> dict[str, Any]:
    """The nightly job: each user whom it finds in the expenses, by user_id (BY=user_id_hash: by that)."""
    by_hash = work.setting("BY", "user_id") == "user_id_hash"
    column = Expense.user_id_hash if by_hash else Expense.user_id
    with work.session() as session, session.begin():
        found = session.scalars(select(column).where(column.is_not(None)).distinct()).all()
        for key in found:
            total = session.scalar(select(func.sum(Expense.amount_cents)).where(column == key))
            _set_total(session, str(key) if by_hash else hash_of(str(key)), total or 0)
    return {"users": len(found)}


@operation
def refresh_all(work: Work, body: Body) -> dict[str, Any]:
    """The same for everybody in two statements."""
    sums = select(Expense.user_id_hash, func.sum(Expense.amount_cents), func.max(Expense.spent_at))
    with work.session() as session, session.begin():
        session.execute(delete(Summary))
        columns = ["user_id_hash", "total_cents", "built_at"]
        session.execute(insert(Summary).from_select(columns, sums.group_by(Expense.user_id_hash)))
    return {}


@operation
def refresh_view(work: Work, body: Body) -> dict[str, Any]:
    """Where expense_summaries is a materialized view."""
    with work.engine().begin() as connection:
        connection.exec_driver_sql("REFRESH MATERIALIZED VIEW expense_summaries")
    return {}


@operation
def store_and_total(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense, and keep the total in the same transaction."""
    with work.session() as session, session.begin():
        session.add(new_expense(work, body))
        session.flush()
        total = session.scalar(select(func.sum(Expense.amount_cents)).where(of_user(work, body["user"])))
        _set_total(session, hash_of(body["user"]), total or 0)
    return {"total": total}


@operation
def store_and_forget(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense, and throw the kept total away: whoever asks next makes it anew."""
    with work.session() as session, session.begin():
        session.add(new_expense(work, body))
        session.execute(delete(Summary).where(Summary.user_id_hash == hash_of(body["user"])))
    return {}


@operation
def show_summary(work: Work, body: Body) -> dict[str, Any]:
    """A user's kept total."""
    with work.session() as session:
        return {"total": session.scalar(_kept(body))}


@operation
def show_or_make_summary(work: Work, body: Body) -> dict[str, Any]:
    """A user's kept total; where there is none it is made."""
    kept: dict[str, Any] = show_summary(work, body)
    if kept["total"] is None:
        kept = refresh_summary(work, body)
    return kept


@async_operation
async def show_summary_async(work: Work, body: Body) -> dict[str, Any]:
    """The same in an async process."""
    async with work.async_session() as session:
        return {"total": await session.scalar(_kept(body))}


def _kept(body: Body) -> Any:
    newest = select(Summary.total_cents).where(Summary.user_id_hash == hash_of(body["user"]))
    return newest.order_by(Summary.id.desc()).limit(1)
