"""Planned changes of a key, and handlers that store an expense under somebody else's key."""

from __future__ import annotations

from typing import Any

from scenarios.applications.operations.expenses import new_expense
from scenarios.applications.tables import Expense, key_of
from scenarios.applications.work import Body, Work, operation
from sqlalchemy import select, update


@operation
def backfill_keys(work: Work, body: Body) -> dict[str, Any]:
    """The migration: each key in expenses.``column`` goes from the form ``old`` to the form ``new``."""
    changed = 0
    with work.session() as session, session.begin():
        for user in body["users"]:
            column = getattr(Expense, body["column"])
            rows = update(Expense).where(column == key_of(user, body["old"]))
            done = session.execute(rows.values({body["column"]: key_of(user, body["new"])}))
            changed += done.rowcount  # type: ignore[attr-defined]
    return {"changed": changed}


@operation
def fill_hashes(work: Work, body: Body) -> dict[str, Any]:
    """The migration for a second key: user_id_hash of rows that have a user_id only."""
    with work.session() as session, session.begin():
        missing = select(Expense).where(Expense.user_id_hash.is_(None), Expense.user_id.is_not(None))
        for expense in session.scalars(missing):
            expense.user_id_hash = str(key_of(str(expense.user_id), "sha256"))
    return {}


@operation
def store_on_behalf(work: Work, body: Body) -> dict[str, Any]:
    """Somebody in support stores an expense for the customer ``for``."""
    with work.session() as session, session.begin():
        session.add(new_expense(work, {**body, "user": body["for"]}))
    return {}


@operation
def check_expense(work: Work, body: Body) -> dict[str, Any]:
    """Whether an expense could be stored: it is, and rolled back."""
    with work.session() as session:
        session.add(new_expense(work, body))
        session.flush()
        if body.get("check"):
            session.rollback()
        else:
            session.commit()
    return {}
