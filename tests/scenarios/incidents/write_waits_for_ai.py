"""Write-up B, before any damage: what a user sends is stored only after a model has answered."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("write_waits_for_ai", verdict="healthy")

#: Requests that are enough to speak of a habit.
ENOUGH = 22
#: A client that waits until a slow model has answered.
PATIENT = {"MODEL_TIMEOUT": "20"}
WAITS = {"entry_name": "POST /classify_and_store"}


def store(
    stage: Stage, application: Application, operation: str, *, times: int = ENOUGH, model: str = "is-slow"
) -> str:
    """Expenses are stored, one after the other, and the last one is found."""
    for _ in range(times):
        user = stage.user()
        application(operation, user=user, model=model)
    stage.expect(application("summary", user=user)["count"] == 1, "the expense is stored")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    on=BOTH, group=WAITS, services=("web",), versions=("3.0",), tells=("expenses", "100 %", "uses_answer")
)
def webhook_asks_and_then_inserts(stage: Stage) -> str:
    """The webhook reads the message, asks the model, and inserts."""
    web = stage.deploy("flask", stage.database(), version="3.0", settings=PATIENT)
    return store(stage, web, "classify_and_store")


@book.variant(on=BOTH, group={"entry_name": "POST /classify_and_store_async"}, services=("web",))
def async_service_asks_and_then_inserts(stage: Stage) -> str:
    """The same in an async service."""
    web = stage.deploy("fastapi", stage.database(), settings=PATIENT)
    return store(stage, web, "classify_and_store_async")


@book.variant(on=BOTH, group={"entry_name": "store_like_before"}, services=("worker",))
def job_asks_between_its_read_and_its_write(stage: Stage) -> str:
    """A job reads, asks and inserts in one transaction; its call is marked by the application itself."""
    worker = stage.deploy("worker", stage.database(), settings=PATIENT, AI_CLIENT="ai_call")
    return store(stage, worker, "store_like_before")


@book.variant(group=WAITS, services=("web",))
def fallback_after_the_time_limit(stage: Stage) -> str:
    """The model never answers; the expense is stored all the same, when the time limit is over."""
    web = stage.deploy("flask", stage.database(), FALLBACK="store")
    return store(stage, web, "classify_and_store", model="is-silent")


@book.variant(group=WAITS, services=("web",))
def service_under_zero_code(stage: Stage) -> str:
    """The application has no line of telemetry in it."""
    web = stage.deploy("zero_code", stage.database(), settings=PATIENT)
    return store(stage, web, "classify_and_store")


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("the row is there before the model is asked", on=BOTH)
def stored_first(stage: Stage) -> str:
    """The expense is committed, and completed with the answer."""
    web = stage.deploy("fastapi", stage.database(), settings=PATIENT, AI="after_commit")
    return store(stage, web, "store_expense")


@book.twin("the rows are there already", on=BOTH)
def job_completes_what_is_stored(stage: Stage) -> str:
    """A job asks the model about expenses that are stored, and completes them."""
    worker = stage.deploy("worker", stage.database(), settings=PATIENT)
    for _ in range(ENOUGH):
        user = stage.user()
        worker("receive_event", user=user)
        done = worker("complete_expenses", user=user, model="is-slow")
        stage.expect(done["completed"] == 1, "it is completed")
    stage.expect(worker("summary", user=user)["count"] == 1, "the expense is there")
    return user


@book.twin("what is stored is the answer, and that is declared")
def answer_is_what_is_stored(stage: Stage) -> str:
    """The model suggests expenses, and they are stored."""
    web = stage.deploy("flask", stage.database(), settings=PATIENT)
    return store(stage, web, "store_suggestion")


@book.twin("the model answers at once", on=BOTH)
def model_in_the_same_machine(stage: Stage) -> str:
    """A small model answers within milliseconds."""
    return store(stage, stage.deploy("flask", stage.database()), "classify_and_store", model="answers")


@book.twin("a dozen requests are no habit")
def rarely_used(stage: Stage) -> str:
    """An operation that is asked for now and then."""
    web = stage.deploy("flask", stage.database(), settings=PATIENT)
    return store(stage, web, "classify_and_store", times=12)
