"""Onboarding: a profile and a budget, written by two systems that number people differently."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

from scenarios.applications.tables import Budget, Person, Profile
from scenarios.applications.work import Body, Work, operation
from sqlalchemy import select
from sqlalchemy.orm import Session

log = logging.getLogger("onboarding")


def clerk_to_int(user: str) -> int:
    """The first system's number of a person: some digits of a SHA-256."""
    return int(hashlib.sha256(user.encode()).hexdigest()[:12], 16)


def _session_id(work: Work, session: Session, user: str) -> int | None:
    """The number of a person as this system has it; IDENTIFIER: hash, or number (an auto-increment)."""
    if work.setting("IDENTIFIER", "hash") == "hash":
        return clerk_to_int(user)
    return session.scalar(select(Person.id).where(Person.clerk_id == user))


def _new_person(session: Session, user: str) -> int:
    person = Person(clerk_id=user)
    session.add(person)
    session.flush()
    return person.id


@operation
def save_profile(work: Work, body: Body) -> dict[str, Any]:
    """Store what somebody said."""
    with work.session() as session, session.begin():
        number = _session_id(work, session, body["user"]) or _new_person(session, body["user"])
        session.add(Profile(session_id=number, goal=body.get("goal", "save")))
    return {}


@operation
def load_profile(work: Work, body: Body) -> dict[str, Any]:
    """Find it again."""
    with work.session() as session:
        number = _session_id(work, session, body["user"])
        goals = session.scalars(select(Profile.goal).where(Profile.session_id == number)).all()
        return {"goals": list(goals)}


@operation
def onboard(work: Work, body: Body) -> dict[str, Any]:
    """Two persistence paths: the profile with its flag first, then the budget, whose error is only logged."""
    save_profile(work, body)
    try:
        with work.session() as session, session.begin():
            session.add(Budget(user_id=int(body["user"]), limit_cents=body["cents"]))
    except Exception:
        log.exception("the budget was not stored")
        if work.setting("ACKNOWLEDGE", "always") == "on_success":
            raise
    return {"onboarded": True}
