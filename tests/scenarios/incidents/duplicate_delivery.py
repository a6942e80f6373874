"""Write-up B: the platform delivers a message twice, and it is stored twice."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("duplicate_delivery", verdict="healthy")

TWICE = {"table": "expenses"}
CUT = '{"category": "fo'


def deliver_twice(
    stage: Stage, application: Application, stored: int, operation: str = "receive_event"
) -> str:
    """Two deliveries of one message."""
    user = stage.user()
    for _ in range(2):
        application(operation, user=user, message=f"m-{user}")
    stage.expect(application("summary", user=user)["count"] == stored, f"it is stored {stored} times")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(on=BOTH, group=TWICE, services=("web",), versions=("1.7",))
def webhook_without_a_constraint(stage: Stage) -> str:
    """A webhook stores what it gets; nothing refuses a second row of one message."""
    return deliver_twice(stage, stage.deploy("flask", stage.database(), version="1.7"), 2)


@book.variant(on=BOTH, group=TWICE, services=("worker",))
def queue_that_delivers_again(stage: Stage) -> str:
    """A queue hands a job to its worker again."""
    return deliver_twice(stage, stage.deploy("worker", stage.database()), 2)


@book.variant(on=BOTH, group=TWICE, services=("web",))
def async_webhook(stage: Stage) -> str:
    """The same in an async service."""
    return deliver_twice(stage, stage.deploy("fastapi", stage.database()), 2)


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("a unique constraint refused the second one", on=BOTH)
def refused_by_a_constraint(stage: Stage) -> str:
    """The message's id is stored in the same transaction, once."""
    return deliver_twice(stage, stage.deploy("flask", stage.database()), 1, "store_expense")


@book.twin("the second delivery found the row and did nothing", on=BOTH)
def looked_up_first(stage: Stage) -> str:
    """The worker looks whether it knows the message."""
    return deliver_twice(stage, stage.deploy("worker", stage.database()), 1, "store_unless_known")


@book.twin("the first delivery stored nothing", on=BOTH)
def first_delivery_failed(stage: Stage) -> str:
    """The first delivery is rolled back and refused, the second one lands."""
    web = stage.deploy("flask", stage.database(), ACKNOWLEDGE="on_success")
    user = stage.user()
    message = f"m-{user}"
    stage.expect(web.ask("receive_event", user=user, message=message, extra=CUT).status == 503, "refused")
    web("receive_event", user=user, message=message)
    stage.expect(web("summary", user=user)["count"] == 1, "it is stored once")
    return user


@book.twin("they are two messages", on=BOTH)
def two_messages_alike(stage: Stage) -> str:
    """A user spends the same twice."""
    web, user = stage.deploy("fastapi", stage.database()), stage.user()
    for number in (1, 2):
        web("receive_event", user=user, message=f"m-{user}-{number}")
    stage.expect(web("summary", user=user)["count"] == 2, "both are stored")
    return user
