"""Write-up B: locks and a connection wait for a model."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("ai_call_in_transaction", verdict="healthy")

#: A model that says nothing for longer than a transaction should be open.
SLOW = {"MODEL_TIMEOUT": "1.4"}
ALSO = ("write_waits_for_ai",)


def wait_for_the_model(
    stage: Stage, application: Application, *, times: int = 4, operation: str = "store_expense"
) -> str:
    """Some expenses are stored while the model says nothing."""
    for _ in range(times):
        user = stage.user()
        application(operation, user=user, model="is-silent")
    stage.expect(application("summary", user=user)["count"] == 1, "the expense is stored")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    on=BOTH, group={"entry_name": "POST /store_expense"}, services=("web",), versions=("3.0",), also=ALSO
)
def webhook_asks_before_it_commits(stage: Stage) -> str:
    """The webhook inserts, asks the model, and commits."""
    web = stage.deploy("flask", stage.database(), version="3.0", settings=SLOW, AI="best_effort")
    return wait_for_the_model(stage, web)


@book.variant(on=BOTH, services=("web",), also=ALSO)
def async_service_asks_before_it_commits(stage: Stage) -> str:
    """The same in an async service."""
    return wait_for_the_model(
        stage, stage.deploy("fastapi", stage.database(), settings=SLOW, AI="best_effort")
    )


@book.variant(services=("worker",), also=ALSO)
def job_asks_before_it_commits(stage: Stage) -> str:
    """The same in a worker, whose call is marked by the application itself."""
    worker = stage.deploy("worker", stage.database(), settings=SLOW, AI="best_effort", AI_CLIENT="ai_call")
    return wait_for_the_model(stage, worker)


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("the transaction was committed before", on=BOTH)
def asked_after_the_commit(stage: Stage) -> str:
    """The model is asked when the expense is committed already."""
    web = stage.deploy("flask", stage.database(), settings=SLOW, AI="after_commit")
    return wait_for_the_model(stage, web)


@book.twin("the transaction began afterwards", on=BOTH, also=ALSO)
def asked_before_the_first_write(stage: Stage) -> str:
    """The model is asked first; without an answer the expense is stored all the same."""
    worker = stage.deploy("worker", stage.database(), settings=SLOW, FALLBACK="store")
    return wait_for_the_model(stage, worker, operation="classify_and_store")


@book.twin("nothing was written")
def asked_while_reading(stage: Stage) -> str:
    """A question is answered inside of a transaction that only reads."""
    web, user = stage.deploy("flask", stage.database(), settings=SLOW), stage.user()
    web("store_expense", user=user)
    for _ in range(4):
        web("ask_without_writing", user=user, model="is-silent")
    return user


@book.twin("two in an hour are no habit", on=BOTH)
def two_slow_answers(stage: Stage) -> str:
    """The model is slow twice."""
    web = stage.deploy("fastapi", stage.database(), settings=SLOW, AI="best_effort")
    return wait_for_the_model(stage, web, times=2)
