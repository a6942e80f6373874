"""Objects of the ORM that outlive the session that loaded them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from scenarios.applications.operations.expenses import new_expense, of_user
from scenarios.applications.tables import Budget, Expense
from scenarios.applications.work import Body, Refused, Work, async_operation, operation
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, load_only

log = logging.getLogger("budgets")


@dataclass(frozen=True, slots=True)
class _Limit:
    limit_cents: int


_budgets: dict[str, Budget | _Limit] = {}


def _budget(work: Work, user: str) -> Budget | _Limit:
    """A user's budget, looked up once; CACHE=values keeps its numbers instead of the object."""
    if user not in _budgets:
        with Session(work.engine()) as session:
            found = session.scalars(select(Budget).where(Budget.user_id == int(user))).one()
            _budgets[user] = _Limit(found.limit_cents) if work.setting("CACHE") == "values" else found
            # Ends the transaction, and lets the object forget what it has loaded.
            session.commit()
    return _budgets[user]


@operation
def store_within_budget(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense, unless it is more than the user's budget."""
    try:
        with work.session() as session, session.begin():
            expense = new_expense(work, body)
            session.add(expense)
            session.flush()
            if expense.amount_cents > _budget(work, body["user"]).limit_cents:
                raise Refused(422, "more than the budget")
    except Exception as error:
        log.exception("the expense was not stored")
        if work.setting("ACKNOWLEDGE", "always") == "on_success":
            raise Refused(503, "not stored, deliver again") from error
        return {"stored": False}
    return {"stored": True}


@async_operation
async def store_and_tell(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense, and answer with its row. EXPIRE=no keeps the row readable after the commit."""
    bind = work.async_session().bind
    async with AsyncSession(bind, expire_on_commit=work.setting("EXPIRE") != "no") as session:
        expense = new_expense(work, body)
        session.add(expense)
        await session.commit()
        return {"note": expense.note, "cents": expense.amount_cents}


@operation
def report_notes(work: Work, body: Body) -> dict[str, Any]:
    """Load a user's expenses, close the session, and write the report. COLUMNS=all loads what it needs."""
    with work.session() as session:
        wanted = select(Expense).where(of_user(work, body["user"]))
        if work.setting("COLUMNS") != "all":
            wanted = wanted.options(load_only(Expense.amount_cents))
        expenses = session.scalars(wanted).all()
    return {"lines": [f"{one.note}: {one.amount_cents}" for one in expenses]}
