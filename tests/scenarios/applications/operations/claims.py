"""Handlers whose log says that a row is stored: ``expense_stored``, as trueline.yaml declares it."""

from __future__ import annotations

import json
import logging
from typing import Any

from scenarios.applications.operations.careless import RECEIVED, forward
from scenarios.applications.operations.expenses import new_expense
from scenarios.applications.work import Body, Refused, Work, async_operation, operation

log = logging.getLogger("expenses.log")
log.setLevel(logging.INFO)


def say_stored(work: Work, body: Body) -> None:
    """The line; with LOG_FIELDS=no it does not name whose row it is."""
    named = work.setting("LOG_FIELDS", "yes") == "yes"
    log.info("expense_stored", extra={"psid": body["user"]} if named else {})


@operation
def store_and_log(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense and log it before the transaction ends; RETRY=yes tries once more where that fails."""
    try:
        _store_and_log(work, body)
    except ValueError as error:
        log.exception("the event could not be read")
        if work.setting("RETRY") == "yes":
            _store_and_log(work, {**body, "extra": "{}"})
        elif work.setting("ACKNOWLEDGE", "always") == "on_success":
            raise Refused(503, "deliver it again") from error
    return RECEIVED


def _store_and_log(work: Work, body: Body) -> None:
    with work.session() as session, session.begin():
        expense = new_expense(work, body)
        session.add(expense)
        session.flush()
        say_stored(work, body)
        expense.category = json.loads(body.get("extra", "{}")).get("category")


@async_operation
async def store_and_log_async(work: Work, body: Body) -> dict[str, Any]:
    """Store an expense, log it and commit; an error of the COMMIT is only logged."""
    try:
        async with work.async_session() as session:
            session.add(new_expense(work, body))
            await session.flush()
            say_stored(work, body)
            await session.commit()
    except Exception:
        log.exception("not stored")
    return RECEIVED


@operation
def forward_store_and_log(work: Work, body: Body) -> dict[str, Any]:
    """Hand an expense to another service, which does as it likes; then store it and log that."""
    forward(work, body)
    _store_and_log(work, body)
    return RECEIVED
