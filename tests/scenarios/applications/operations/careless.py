"""Handlers as people write them in a hurry: they answer well, whatever becomes of the row."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

from scenarios.applications.operations.expenses import new_expense, of_user
from scenarios.applications.tables import Budget, Expense, Message, Person, hash_of
from scenarios.applications.work import Body, Refused, Work, operation
from sqlalchemy import func, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

log = logging.getLogger("webhook")
RECEIVED = {"status": "EVENT_RECEIVED"}


@operation
def receive_event(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense and read the rest of the event; whatever happens, the platform hears EVENT_RECEIVED.

    ACKNOWLEDGE=on_success tells of errors; RETRY=yes tries once more without the rest.
    """
    try:
        _receive(work, body)
    except Exception as error:
        log.exception("the event could not be taken")
        if work.setting("RETRY") == "yes":
            _receive(work, {**body, "extra": "{}"})
        elif work.setting("ACKNOWLEDGE", "always") == "on_success":
            raise Refused(503, "deliver it again") from error
    return RECEIVED


def _receive(work: Work, body: Body) -> None:
    with work.session() as session, session.begin():
        expense = new_expense(work, body)
        session.add(expense)
        session.flush()
        expense.category = json.loads(body.get("extra", "{}")).get("category")


@operation
def store_and_register(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense, and register the ``person``: nobody needs that, so its errors are only logged.

    PROBE=savepoint tries it inside of a savepoint, and looks up whom it finds registered.
    """
    keys = {"user_id": body["user"], "user_id_hash": hash_of(body["user"])}
    person = insert(Person).values(clerk_id=body.get("person"))
    with work.engine().connect() as connection:
        connection.execute(insert(Expense).values(note="lunch", amount_cents=350, **keys))
        try:
            if work.setting("PROBE") == "savepoint":
                with connection.begin_nested():
                    connection.execute(person)
            else:
                connection.execute(person)
        except SQLAlchemyError as error:
            log.warning("not registered: %s", type(error).__name__)
            if work.setting("PROBE") == "savepoint":
                connection.execute(select(Person.id).where(Person.clerk_id == body["person"])).all()
        connection.commit()
    return RECEIVED


@operation
def look_up_event(work: Work, body: Body) -> dict[str, Any]:
    """Look an event's expenses up, and fail to read the event; nothing is written."""
    try:
        with work.session() as session, session.begin():
            session.scalars(select(Expense.note).where(of_user(work, body["user"]))).all()
            json.loads(body.get("extra", "{"))
    except ValueError:
        log.exception("the event could not be read")
    return RECEIVED


@operation
def preview_expense(work: Work, body: Body) -> dict[str, Any]:
    """What the total would be with this expense: stored, added up, and rolled back on purpose."""
    with work.session() as session:
        session.add(new_expense(work, body))
        session.flush()
        total = session.scalar(select(func.sum(Expense.amount_cents)).where(of_user(work, body["user"])))
        session.rollback()
    return {"total": total}


@operation
def forward(work: Work, body: Body) -> dict[str, Any]:
    """Hand an event to the service at UPSTREAM, and answer well whatever that one says."""
    import httpx

    answer = httpx.post(f"http://{work.setting('UPSTREAM')}/{body['to']}", json=dict(body), timeout=60)
    if answer.status_code >= 400:
        log.warning("the event was not taken: %s", answer.status_code)
    return RECEIVED


@operation
def jot_down(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense, flush, and forget to commit."""
    with work.session() as session:
        session.add(new_expense(work, body))
        session.flush()
        if body.get("cents", 1) > int(work.setting("LIMIT", "1000000")):
            raise Refused(422, "too much")
    return RECEIVED


@operation
def jot_down_and_store(work: Work, body: Body) -> dict[str, Any]:
    """The same, and then as it should be."""
    jot_down(work, body)
    _receive(work, body)
    return RECEIVED


@operation
def execute_insert(work: Work, body: Body) -> dict[str, Any]:
    """Insert over a plain connection, as before SQLAlchemy 2.0, when that committed.

    ISOLATION=AUTOCOMMIT still does.
    """
    keys = {"user_id": body["user"], "user_id_hash": hash_of(body["user"])}
    with work.engine().connect() as connection:
        if work.setting("ISOLATION"):
            connection = connection.execution_options(isolation_level=work.setting("ISOLATION"))
        connection.execute(insert(Expense).values(note="lunch", amount_cents=350, **keys))
    return RECEIVED


_kept: list[Session] = []


@operation
def add_to_batch(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense in a batch, which is committed when it is full: after a hundred."""
    if not _kept:
        _kept.append(work.session())
    _kept[0].add(new_expense(work, body))
    _kept[0].flush()
    return {"status": "in the batch"}


@operation
def commit_batch(work: Work, body: Body) -> dict[str, Any]:
    """Commit what is in the batch."""
    _kept.pop().commit()
    return {"status": "stored"}


@operation
def store_unless_known(work: Work, body: Body) -> dict[str, Any]:
    """Look whether the message is known; if not, store it with its expense."""
    with work.session() as session, session.begin():
        known = select(Message.id).where(Message.message_id == body["message"])
        if session.scalar(known) is None:
            session.add_all([Message(message_id=body["message"]), new_expense(work, body)])
    return RECEIVED


@operation
def raise_limit(work: Work, body: Body) -> dict[str, Any]:
    """Raise the newest budget's limit by ``cents``, ``pause`` seconds after having read it.

    HOW: read (read, add, write), lock (the same under FOR UPDATE), compute (the database adds).
    """
    how, cents = work.setting("HOW", "read"), body["cents"]
    with work.session() as session:
        newest = session.scalar(select(func.max(Budget.id)))
    with work.session() as session, session.begin():
        found = session.get_one(Budget, newest, with_for_update=how == "lock")
        before = found.limit_cents
        time.sleep(float(body.get("pause", 0)))
        found.limit_cents = Budget.limit_cents + cents if how == "compute" else before + cents
    return {"before": before}
