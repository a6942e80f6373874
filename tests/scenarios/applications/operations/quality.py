"""Each drop gets a quality check: a second row, in a second table, by a second piece of code."""

from __future__ import annotations

import json
import logging
from typing import Any

from scenarios.applications.operations.careless import RECEIVED
from scenarios.applications.tables import Drop, QualityCheck
from scenarios.applications.work import Body, Work, async_operation, operation
from sqlalchemy import delete, exists, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

log = logging.getLogger("quality")


def _drop(body: Body) -> Drop:
    return Drop(drop_number=body["number"], day=body.get("day", "2026-11-20"), photos=1)


@operation
def take_drop(work: Work, body: Body) -> dict[str, Any]:
    """Store a drop, and hand its check to the monitor's queue, if there is one."""
    with work.session() as session, session.begin():
        session.add(_drop(body))
    if work.setting("QUEUE"):
        work.enqueue("check_drop", body)
    return RECEIVED


@async_operation
async def take_drop_async(work: Work, body: Body) -> dict[str, Any]:
    """Store a drop in an async process."""
    async with work.async_session() as session, session.begin():
        session.add(_drop(body))
    return RECEIVED


@operation
def take_and_check(work: Work, body: Body) -> dict[str, Any]:
    """Store a drop, then its check in a transaction of its own, whose refusal is only logged."""
    take_drop(work, body)
    try:
        check_drop(work, body)
    except IntegrityError as error:
        log.error("drop %s has no check", body["number"], exc_info=error)
        if work.setting("RETRY") == "yes":
            check_drop(work, {**body, "photo": None})
    return RECEIVED


@operation
def check_drop(work: Work, body: Body) -> dict[str, Any]:
    """Store a check; what the crew said of the photo (``review``) is read in the same transaction."""
    with work.session() as session, session.begin():
        check = QualityCheck(drop_number=body["number"], photo=body.get("photo"))
        session.add(check)
        session.flush()
        check.state = json.loads(body.get("review", "{}")).get("state", "open")
    return {"state": check.state}


@operation
def check_missing(work: Work, body: Body) -> dict[str, Any]:
    """The timer: a check for each drop that has none, in one statement."""
    without = select(Drop.drop_number, literal("open")).where(
        ~exists().where(QualityCheck.drop_number == Drop.drop_number)
    )
    with work.engine().begin() as connection:
        connection.execute(insert(QualityCheck).from_select(["drop_number", "state"], without))
    return {}


@operation
def cancel_drop(work: Work, body: Body) -> dict[str, Any]:
    """A crew takes a drop back."""
    with work.session() as session, session.begin():
        session.execute(delete(Drop).where(Drop.drop_number == body["number"]))
    return {}


@operation
def more_photos(work: Work, body: Body) -> dict[str, Any]:
    """Another photo of a drop that is known."""
    with work.session() as session, session.begin():
        session.execute(update(Drop).where(Drop.drop_number == body["number"]).values(photos=Drop.photos + 1))
    return {}


@operation
def find_check(work: Work, body: Body) -> dict[str, Any]:
    """Look a check up by the drop's number."""
    with work.session() as session:
        states = select(QualityCheck.state).where(QualityCheck.drop_number == body["number"])
        return {"state": session.scalar(states)}
