"""Rows that wait for a model's answer, and rows that are stored and completed with it afterwards."""

from __future__ import annotations

from typing import Any

from scenarios.applications.operations.careless import RECEIVED
from scenarios.applications.operations.expenses import new_expense, of_user
from scenarios.applications.tables import Expense
from scenarios.applications.work import Body, Work, operation
from sqlalchemy import select


@operation
def store_like_before(work: Work, body: Body) -> dict[str, Any]:
    """Look up the user's categories, let the model choose one of them, and store: all in one transaction."""
    with work.session() as session, session.begin():
        known = session.scalars(select(Expense.category).where(of_user(work, body["user"]))).all()
        question = f"{body.get('note', 'lunch')}, one of {sorted(filter(None, known))}"
        session.add(new_expense(work, body, work.ask_model(question, body.get("model", "answers"))))
    return RECEIVED


@operation
def store_suggestion(work: Work, body: Body) -> dict[str, Any]:
    """Ask the model what the user may have forgotten, and store that: what is stored is the answer."""
    suggested = work.ask_model("what may be missing?", body.get("model", "answers"))
    with work.session() as session, session.begin():
        session.add(new_expense(work, {**body, "note": f"suggested: {suggested}"}))
    return RECEIVED


@operation
def complete_expenses(work: Work, body: Body) -> dict[str, Any]:
    """Ask the model for the category of each of a user's expenses that has none."""
    with work.session() as session:
        without = select(Expense.id, Expense.note).where(of_user(work, body["user"]))
        waiting = session.execute(without.where(Expense.category.is_(None))).all()
    for number, note in waiting:
        category = work.ask_model(note, body.get("model", "answers"))
        with work.session() as session, session.begin():
            session.get_one(Expense, number).category = category
    return {"completed": len(waiting)}
