"""Storing expenses and telling what was spent."""

from __future__ import annotations

import logging
from typing import Any

from scenarios.applications.tables import Budget, Expense, Message, Summary, hash_of, keys_of
from scenarios.applications.work import Body, Refused, Work, operation
from sqlalchemy import ColumnElement, String, cast, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

log = logging.getLogger("expenses")


@operation
def store_expense(work: Work, body: Body) -> dict[str, Any]:
    """A chat message tells of an expense: user, note, cents, and how the model is (``model``)."""
    try:
        return {"stored": _store(work, body)}
    except Exception as error:
        log.exception("the expense was not stored")
        if work.setting("ACKNOWLEDGE", "always") == "on_success":
            raise Refused(503, "not stored, deliver again") from error
    return {"stored": False}


def _store(work: Work, body: Body) -> bool:
    ai, model, note = work.setting("AI", "off"), body.get("model", "answers"), body.get("note", "lunch")
    category = work.ask_model(note, model) if ai == "first" else None
    with work.session(work.home(body["user"])) as session:
        with session.begin():
            if body.get("message") and not _first_delivery(work, session, body["message"]):
                session.rollback()
                return True
            expense = new_expense(work, body, category)
            session.add(expense)
            session.flush()
            if ai == "inline":
                expense.category = work.ask_model(note, model)
            elif ai == "best_effort":
                expense.category = category_or_none(work, note, model)
        if ai == "after_commit":
            expense.category = category_or_none(work, note, model)
            session.commit()
    return True


def _first_delivery(work: Work, session: Session, message: str) -> bool:
    """Messages are stored once: a second delivery meets the unique id."""
    try:
        if work.setting("MESSAGES") == "savepoint":
            # As everywhere; but where pysqlite has begun no transaction, the savepoint is one of its own.
            with session.begin_nested():
                session.add(Message(message_id=message))
        else:
            session.add(Message(message_id=message))
            session.flush()
    except IntegrityError:
        return False
    return True


def new_expense(work: Work, body: Body, category: str | None = None) -> Expense:
    """A row as this deployment makes it."""
    keys = keys_of(body["user"], work.setting("WRITE_KEYS", "user_id:raw,user_id_hash:sha256"))
    note = body.get("note", "lunch")
    return Expense(note=note, amount_cents=body.get("cents", 1280), category=category, **keys)


def category_or_none(work: Work, note: str, model: str) -> str | None:
    """For callers that can do without."""
    try:
        return work.ask_model(note, model)
    except Exception as error:
        log.warning("no category: %s", type(error).__name__)
        return None


def of_user(work: Work, user: str) -> ColumnElement[bool]:
    """The rows of one user, by the keys that this deployment reads."""
    keys = keys_of(user, work.setting("READ_KEYS", "user_id_hash:sha256"))
    return or_(*(getattr(Expense, column) == value for column, value in keys.items()))


@operation
def summary(work: Work, body: Body) -> dict[str, Any]:
    """How much a user has spent, and on how many occasions; from ``database`` (a variable) if given."""
    with work.session(body.get("database") or work.home(body["user"])) as session:
        spent = session.scalars(select(Expense.amount_cents).where(of_user(work, body["user"]))).all()
        return {"count": len(spent), "total": sum(spent)}


@operation
def total(work: Work, body: Body) -> dict[str, Any]:
    """The same, added up by the database, which always returns a row."""
    with work.session() as session:
        return {
            "total": session.scalar(select(func.sum(Expense.amount_cents)).where(of_user(work, body["user"])))
        }


@operation
def rebuild_summary(work: Work, body: Body) -> dict[str, Any]:
    """Build a user's summary anew from the expenses."""
    with work.session() as session, session.begin():
        spent = session.scalars(select(Expense.amount_cents).where(of_user(work, body["user"]))).all()
        session.add(Summary(user_id_hash=hash_of(body["user"]), total_cents=sum(spent)))
    return {"total": sum(spent)}


@operation
def set_budget(work: Work, body: Body) -> dict[str, Any]:
    """Set a user's monthly limit; the key is bound as a number."""
    with work.session() as session, session.begin():
        session.add(Budget(user_id=int(body["user"]), limit_cents=body["cents"]))
    return {}


@operation
def budget(work: Work, body: Body) -> dict[str, Any]:
    """A user's monthly limit; here the key is bound as text."""
    with work.session() as session:
        limits = select(Budget.limit_cents).where(cast(Budget.user_id, String) == str(body["user"]))
        return {"cents": session.scalars(limits).first()}


@operation
def expense_by_id(work: Work, body: Body) -> dict[str, Any]:
    """An admin looks rows up by their own numbers, and finds out whose they are."""
    with work.session() as session:
        newest = session.scalar(select(func.max(Expense.id)))
        found = session.get(Expense, body.get("id", newest))
        return {"note": found.note if found else None}


@operation
def ask_without_writing(work: Work, body: Body) -> dict[str, Any]:
    """A question about a user's expenses, answered by the model inside of a transaction that only reads."""
    with work.session() as session:
        try:
            with session.begin():
                spent = session.scalars(select(Expense.note).where(of_user(work, body["user"]))).all()
                return {"answer": work.ask_model(" ".join(spent), body.get("model", "answers"))}
        except Exception:
            log.exception("no answer")
            return {"answer": None}
