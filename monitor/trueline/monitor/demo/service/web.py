"""The web process: takes chat messages, stores expenses, answers questions about them.

Configured by its environment, as its deployment sets it:

    HOST, PORT       where to listen; 127.0.0.1 if HOST is unset
    DATABASE_URL     the database (or DATABASE_SHARDS)
    MODEL_URL        the provider that puts an expense into a category
    MODEL_KEY        the key for it
    MODEL_TIMEOUT    seconds to wait for it
    ENRICHMENT       when to ask it: `inline` (before the commit), `best_effort` (before the commit, but go
                     on without a category when it fails), `after_commit`
    ACKNOWLEDGE      `always` answers 200 to the chat platform whatever happens, since it switches webhooks
                     off that fail; `on_success` answers 503 on failure, and the platform delivers again
    WRITE_KEYS       key columns that new rows get: `user_id`, or `user_id,user_id_hash`
    READ_KEY         key column that summaries filter: `user_id`, `user_id_hash`, or `either`
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from pydantic import BaseModel, StringConstraints
from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from trueline.instrumentation import ai_call, bind_identity, bind_message, instrument
from trueline.monitor.demo.service.tables import Budget, Databases, Expense, Message, hash_of

log = logging.getLogger("expenses.web")

instrument(service_name="expenses-web", spans="contrib")

ENRICHMENT = os.environ.get("ENRICHMENT", "after_commit")
ACKNOWLEDGE = os.environ.get("ACKNOWLEDGE", "always")
WRITE_KEYS = os.environ.get("WRITE_KEYS", "user_id,user_id_hash").split(",")
READ_KEY = os.environ.get("READ_KEY", "user_id_hash")
MODEL_URL = os.environ["MODEL_URL"]
MODEL_KEY = os.environ["MODEL_KEY"]
MODEL_TIMEOUT = float(os.environ.get("MODEL_TIMEOUT", "10"))

databases = Databases("DATABASE_SHARDS", "DATABASE_URL")

UserId = Annotated[str, StringConstraints(pattern=r"^\d{5,20}$")]


class Delivery(BaseModel):
    """A chat message as the platform delivers it."""

    message_id: str
    psid: UserId
    text: str


class User(BaseModel):
    """Whose summary is asked for. In the body, not in the URL: URLs end up in logs and spans."""

    psid: UserId


class NewBudget(BaseModel):
    """A monthly limit."""

    psid: UserId
    limit_cents: int


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the connections when the process ends."""
    yield
    databases.close()


app = FastAPI(lifespan=lifespan)


@app.post("/webhook")
def webhook(delivery: Delivery) -> dict[str, str]:
    """Store the expense that a chat message tells of, such as "coffee 3.50"."""
    with bind_identity(delivery.psid), bind_message(delivery.message_id):
        try:
            store_expense(delivery)
        except AlreadyStored:
            log.info("message %s was delivered again", delivery.message_id)
        except Exception as error:
            log.exception("message %s: the expense was not stored", delivery.message_id)
            if ACKNOWLEDGE == "on_success":
                raise HTTPException(503, "not stored, deliver again") from error
    return {"status": "EVENT_RECEIVED"}


class AlreadyStored(Exception):  # noqa: N818 - the good end of a second delivery, not an error
    """The message was delivered before."""


def store_expense(delivery: Delivery) -> None:
    """Store the message and its expense, in one transaction."""
    note, _, amount = delivery.text.rpartition(" ")
    with databases.session_of(delivery.psid) as session:
        with session.begin():
            session.add(Message(message_id=delivery.message_id))
            try:
                session.flush()
            except IntegrityError as error:
                raise AlreadyStored from error
            expense = Expense(note=note, amount_cents=round(float(amount) * 100))
            if "user_id" in WRITE_KEYS:
                expense.user_id = delivery.psid
            if "user_id_hash" in WRITE_KEYS:
                expense.user_id_hash = hash_of(delivery.psid)
            if ENRICHMENT == "best_effort":
                expense.category = category_or_none(note)
            session.add(expense)
            session.flush()
            if ENRICHMENT == "inline":
                expense.category = category_of(note)
        if ENRICHMENT == "after_commit":
            expense.category = category_or_none(note)
            session.commit()


def category_of(note: str) -> str:
    """Ask the model for a category. Raises httpx.HTTPError when it does not answer in time, or not well."""
    with ai_call("chat", model="category-1", provider="example"):
        response = httpx.post(
            f"{MODEL_URL}/v1/chat/completions",
            headers={"Authorization": f"Bearer {MODEL_KEY}"},
            json={"model": "category-1", "messages": [{"role": "user", "content": note}]},
            timeout=MODEL_TIMEOUT,
        )
        response.raise_for_status()
        return str(response.json()["choices"][0]["message"]["content"])


def category_or_none(note: str) -> str | None:
    """The same, for callers that can do without."""
    try:
        return category_of(note)
    except httpx.HTTPError as error:
        log.warning("no category: %s", type(error).__name__)
        return None


@app.post("/summary")
def summary(user: User) -> dict[str, int]:
    """How much a user has spent, and on how many occasions."""
    with bind_identity(user.psid), databases.session_of(user.psid) as session:
        spent = session.scalars(select(Expense.amount_cents).where(key_filter(user.psid))).all()
        return {"count": len(spent), "total_cents": sum(spent)}


def key_filter(psid: str) -> ColumnElement[bool]:
    """The rows of one user, by the key that this deployment reads."""
    if READ_KEY == "user_id":
        return Expense.user_id == psid
    if READ_KEY == "user_id_hash":
        return Expense.user_id_hash == hash_of(psid)
    return or_(Expense.user_id == psid, Expense.user_id_hash == hash_of(psid))


@app.post("/budget")
def set_budget(budget: NewBudget) -> dict[str, str]:
    """Set a user's monthly limit."""
    with bind_identity(budget.psid), databases.session_of(budget.psid) as session, session.begin():
        session.add(Budget(user_id=int(budget.psid), limit_cents=budget.limit_cents))
    return {"status": "ok"}


@app.get("/statistics")
def statistics() -> dict[str, int]:
    """How many expenses there are, for the operator's screen."""
    with databases.session() as session:
        return {"expenses": count_expenses(session)}


def count_expenses(session: Session) -> int:
    """All expenses of one database."""
    return session.scalar(select(func.count()).select_from(Expense)) or 0


# One span a request is enough; those for each part of its body and answer say nothing more.
FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])

if __name__ == "__main__":
    uvicorn.run(
        app, host=os.environ.get("HOST", "127.0.0.1"), port=int(os.environ["PORT"]), log_level="warning"
    )
