"""Write-ups B and C: the write comes last, and the handler returns before it comes to it."""

from __future__ import annotations

from scenarios.scenario import BOTH, SQLITE, Book
from scenarios.stage import Application, Stage

book = Book("expected_write_missing", verdict="cannot_tell")

MISSING = {"table": "expenses"}
CUT = '{"category": "fo'
#: Runs that are enough to know what an operation does.
ENOUGH = 22
#: Written in the trace after the model has answered, as such an operation does.
ALSO = ("write_waits_for_ai",)


def well(stage: Stage, application: Application, operation: str, **body: str) -> None:
    """As it is on all days."""
    for _ in range(ENOUGH):
        user = stage.user()
        application(operation, user=user, **body)
    stage.expect(application("summary", user=user)["count"] == 1, "the expense is stored")


def lose(stage: Stage, application: Application, operation: str, *, times: int = 4, **body: str) -> str:
    """Some runs end well and store nothing."""
    for _ in range(times):
        user = stage.user()
        application(operation, user=user, **body)
    stage.expect(application("summary", user=user)["count"] == 0, "the expense is not there")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    on=BOTH, group=MISSING, services=("web",), versions=("3.1",), also=ALSO, tells=("APITimeoutError", "200")
)
def model_times_out_before_the_write(stage: Stage) -> str:
    """The model times out, and the handler returns EVENT_RECEIVED without having written."""
    web = stage.deploy("flask", stage.database(), version="3.1")
    well(stage, web, "classify_and_store")
    return lose(stage, web, "classify_and_store", model="is-silent")


@book.variant(on=BOTH, group=MISSING, services=("web",), also=ALSO, tells=("InternalServerError",))
def provider_fails_in_an_async_service(stage: Stage) -> str:
    """The provider answers 500 to an async service."""
    web = stage.deploy("fastapi", stage.database())
    well(stage, web, "classify_and_store_async")
    return lose(stage, web, "classify_and_store_async", model="fails")


@book.variant(group=MISSING, services=("worker",), also=ALSO, tells=("RateLimitError",))
def rate_limit_in_a_job(stage: Stage) -> str:
    """A worker's jobs meet the provider's rate limit, and count as done."""
    worker = stage.deploy("worker", stage.database(), AI_CLIENT="ai_call")
    well(stage, worker, "classify_and_store")
    return lose(stage, worker, "classify_and_store", model="is-full")


@book.variant(on=BOTH, group=MISSING, services=("worker",), tells=("JSONDecodeError",))
def exception_before_the_write(stage: Stage) -> str:
    """What cannot be read is logged, and forgotten."""
    worker = stage.deploy("worker", stage.database())
    well(stage, worker, "parse_and_store")
    return lose(stage, worker, "parse_and_store", extra=CUT)


@book.variant(on=BOTH, group=MISSING, services=("web",), tells=("422", "input refused"))
def client_whose_input_is_refused_now(stage: Stage) -> str:
    """A client was changed, and what it sends is refused since."""
    web = stage.deploy("flask", stage.database())
    well(stage, web, "validate_and_store", currency="EUR")
    for user in [stage.user() for _ in range(10)]:
        stage.expect(web.ask("validate_and_store", user=user).status == 422, "it is refused")
    stage.expect(web("summary", user=user)["count"] == 0, "the expense is not there")
    return user


@book.variant(group=MISSING, services=("web",), also=ALSO)
def service_under_zero_code(stage: Stage) -> str:
    """The application has no line of telemetry in it."""
    web = stage.deploy("zero_code", stage.database())
    well(stage, web, "classify_and_store")
    return lose(stage, web, "classify_and_store", model="fails")


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("it writes only sometimes", on=BOTH, also=ALSO)
def messages_that_are_only_talk(stage: Stage) -> str:
    """Many messages tell of no expense; then the model fails for some."""
    web = stage.deploy("flask", stage.database())
    for number in range(ENOUGH + 10):
        user = stage.user()
        web("chat", user=user, **({} if number % 3 else {"talk": "yes"}))
    for _ in range(4):
        web("chat", user=stage.user(), model="fails")
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is stored")
    return user


@book.twin("it is declared as one that writes sometimes", on=(SQLITE,), also=ALSO, verdict=None)
def declared_as_such(stage: Stage) -> None:
    """The same failure as in the incident, in an operation that is declared."""
    web = stage.deploy("flask", stage.database())
    well(stage, web, "store_if_new")
    lose(stage, web, "store_if_new", model="fails")


@book.twin("a job writes it later", on=BOTH, also=ALSO)
def handed_to_the_worker(stage: Stage) -> str:
    """Without an answer the expense is handed to the worker, which stores it."""
    worker = stage.deploy("worker", stage.database())
    web = stage.deploy("flask", stage.database(), FALLBACK="queue", QUEUE=worker.address)
    well(stage, web, "classify_and_store")
    for _ in range(4):
        user = stage.user()
        web("classify_and_store", user=user, model="fails")
    stage.eventually(lambda: web("summary", user=user)["count"] == 1, "the worker stores the expense")
    return user


@book.twin("read-only on purpose, and said so", on=BOTH, verdict=None)
def maintenance(stage: Stage) -> None:
    """For an hour everything is answered with 503."""
    web = stage.deploy("flask", stage.database())
    well(stage, web, "validate_and_store", currency="EUR")
    for user in [stage.user() for _ in range(10)]:
        answer = web.ask("validate_and_store", user=user, currency="EUR", maintenance="yes")
        stage.expect(answer.status == 503, "it is refused")


@book.twin("the write was made before", on=BOTH)
def model_fails_after_the_commit(stage: Stage) -> str:
    """The model is asked when the expense is committed already."""
    web = stage.deploy("fastapi", stage.database(), AI="after_commit")
    well(stage, web, "store_expense")
    for _ in range(4):
        user = stage.user()
        web("store_expense", user=user, model="fails")
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is stored")
    return user
