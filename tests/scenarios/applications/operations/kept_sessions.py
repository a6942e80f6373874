"""Sessions and connections that one request hands on to the next one, in whatever state."""

from __future__ import annotations

import logging
from typing import Any

from scenarios.applications.operations.expenses import new_expense
from scenarios.applications.tables import Expense, hash_of
from scenarios.applications.work import Body, Refused, Work, async_operation, operation
from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

log = logging.getLogger("kept")
_sessions: list[Session] = []
_async_sessions: list[AsyncSession] = []
_connections: list[Connection] = []


def _answer(work: Work, error: Exception | None) -> dict[str, Any]:
    """What the caller hears; with ACKNOWLEDGE=on_success of an error, too."""
    if error is not None and work.setting("ACKNOWLEDGE", "always") == "on_success":
        raise Refused(503, "not stored") from error
    return {"stored": error is None}


@operation
def add_in_kept_session(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense in the one session of the process; AFTER_ERROR=rollback makes it usable again."""
    if not _sessions:
        _sessions.append(work.session())
    (session,) = _sessions
    try:
        session.add(new_expense(work, body))
        session.commit()
    except SQLAlchemyError as error:
        log.exception("the expense was not stored")
        if work.setting("AFTER_ERROR") == "rollback":
            session.rollback()
        return _answer(work, error)
    return _answer(work, None)


@operation
def add_in_one_session(work: Work, body: Body) -> dict[str, Any]:
    """The same for the rows of a batch: after the first bad one none is taken, and that is declared."""
    told: dict[str, Any] = add_in_kept_session(work, body)
    return told


@async_operation
async def add_in_kept_session_async(work: Work, body: Body) -> dict[str, Any]:
    """The same in an async process."""
    if not _async_sessions:
        _async_sessions.append(work.async_session())
    (session,) = _async_sessions
    try:
        session.add(new_expense(work, body))
        await session.commit()
    except SQLAlchemyError as error:
        log.exception("the expense was not stored")
        return _answer(work, error)
    return _answer(work, None)


@operation
def add_over_kept_connection(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense over the one connection of the process; its errors are only logged."""
    if not _connections:
        _connections.append(work.engine().connect())
    (connection,) = _connections
    keys = {"user_id": body["user"], "user_id_hash": hash_of(body["user"])}
    try:
        connection.execute(insert(Expense).values(note="lunch", amount_cents=body.get("cents", 350), **keys))
        connection.commit()
    except SQLAlchemyError as error:
        log.exception("the expense was not stored")
        return _answer(work, error)
    return _answer(work, None)


@operation
def add_and_count(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense in a session of the request, and count in it; after an error it goes on with it."""
    failed: Exception | None = None
    with work.session() as session:
        session.add(new_expense(work, body))
        try:
            session.flush()
        except SQLAlchemyError as error:
            log.exception("the expense was not taken")
            failed = error
        try:
            session.scalar(select(func.count(Expense.id)))
            session.commit()
        except SQLAlchemyError as error:
            log.exception("nothing was counted")
            failed = error
    return _answer(work, failed)
