"""Write-up B: the write shares its transaction with a model's answer, and goes where the answer goes."""

from __future__ import annotations

from scenarios.scenario import BOTH, SQLITE, Book
from scenarios.stage import Application, Stage

book = Book("rollback_after_ai_error", verdict="commit")

LOST = {"lost_tables": "expenses"}
#: A caller who is told that all is well sends nothing again.
ALSO = ("acknowledged_but_lost", "expected_write_missing", "log_claims_write", "ai_call_in_transaction")


def lose(stage: Stage, application: Application, model: str = "is-silent", status: int = 200) -> str:
    """One expense is stored while the model answers; then three are not."""
    happy = stage.user()
    application("store_expense", user=happy)
    stage.expect(application("summary", user=happy)["count"] == 1, "with a working model it is stored")
    for _ in range(3):
        user = stage.user()
        answer = application.ask("store_expense", user=user, model=model)
        stage.expect(answer.status == status, f"it answers {status}")
        stage.expect(application("summary", user=user)["count"] == 0, "the expense is gone")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    on=BOTH, group=LOST, services=("web",), versions=("2.4.0",), also=ALSO, tells=("APITimeoutError",)
)
def timeout_in_the_webhook(stage: Stage) -> str:
    """The model times out inside of the transaction, and the chat platform is told that all is well."""
    return lose(stage, stage.deploy("flask", stage.database(), version="2.4.0", AI="inline"))


@book.variant(on=BOTH, group=LOST, services=("web",), also=ALSO)
def server_error_in_an_async_service(stage: Stage) -> str:
    """The provider answers 500 to an async service."""
    return lose(stage, stage.deploy("fastapi", stage.database(), AI="inline"), "fails")


@book.variant(group=LOST, services=("worker",), also=ALSO, tells=("RateLimitError",))
def rate_limit_in_a_job(stage: Stage) -> str:
    """A worker's jobs meet the provider's rate limit; the call is marked by the application itself."""
    return lose(stage, stage.deploy("worker", stage.database(), AI="inline", AI_CLIENT="ai_call"), "is-full")


@book.variant(on=BOTH, group=LOST, services=("web",), also=ALSO)
def client_that_nobody_watches(stage: Stage) -> str:
    """Nothing instruments the client or its HTTP: only the exception's class tells of a model."""
    return lose(stage, stage.deploy("flask", stage.database(), AI="inline", AI_CLIENT="bare"))


@book.variant(group=LOST, services=("web",), also=ALSO)
def service_under_zero_code(stage: Stage) -> str:
    """The application has no line of telemetry in it."""
    return lose(stage, stage.deploy("zero_code", stage.database(), AI="inline"), "fails")


@book.variant(group=LOST, services=("web",), also=ALSO)
def caller_is_told_and_gives_up(stage: Stage) -> str:
    """The caller gets a 503, and does not send it again."""
    application = stage.deploy("flask", stage.database(), AI="inline", ACKNOWLEDGE="on_success")
    return lose(stage, application, status=503)


@book.variant(on=(SQLITE,), group=LOST, services=("web",), also=ALSO)
def repetition_that_is_none(stage: Stage) -> str:
    """pysqlite commits a savepoint that comes first: message kept, expense lost, retry ignored."""
    settings = {"AI": "inline", "ACKNOWLEDGE": "on_success", "MESSAGES": "savepoint"}
    web, user = stage.deploy("flask", stage.database(), settings=settings), stage.user()
    message = f"m-{user}"
    stage.expect(web.ask("store_expense", user=user, message=message, model="fails").status == 503, "refused")
    stage.expect(web.ask("store_expense", user=user, message=message).status == 200, "taken for a repetition")
    stage.expect(web("summary", user=user)["count"] == 0, "the expense is gone for good")
    return user


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("nothing was undone", on=BOTH)
def fails_after_the_commit(stage: Stage) -> str:
    """The model fails when the expense is committed already."""
    web, user = stage.deploy("flask", stage.database(), AI="after_commit"), stage.user()
    web("store_expense", user=user, model="fails")
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is stored")
    return user


@book.twin("the code goes on without an answer", on=BOTH, also=("ai_call_in_transaction",))
def fails_and_commits_anyway(stage: Stage) -> str:
    """The model times out inside of the transaction, which is committed all the same."""
    web, user = stage.deploy("fastapi", stage.database(), AI="best_effort"), stage.user()
    web("store_expense", user=user, model="is-silent")
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is stored")
    return user


@book.twin("there was nothing to undo")
def nothing_written(stage: Stage) -> str:
    """A transaction that only reads ends with the model's error."""
    web, user = stage.deploy("flask", stage.database()), stage.user()
    web("store_expense", user=user)
    stage.expect(web("ask_without_writing", user=user, model="fails")["answer"] is None, "there is no answer")
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is there")
    return user


@book.twin("the rollback has another cause", on=BOTH, verdict="commit", also=("ai_call_in_transaction",))
def handled_error_and_then_a_check(stage: Stage) -> str:
    """The model's error is handled; then a CHECK constraint refuses an expense of nothing."""
    web = stage.deploy("flask", stage.database(), AI="best_effort", ACKNOWLEDGE="on_success")
    user = stage.user()
    stage.expect(
        web.ask("store_expense", user=user, cents=0, model="fails").status == 503, "the caller is told"
    )
    stage.expect(web("summary", user=user)["count"] == 0, "an expense of nothing is refused")
    return user


@book.twin("the second delivery landed", on=BOTH, also=("ai_call_in_transaction",))
def delivered_again(stage: Stage) -> str:
    """The model fails, the webhook says so, and the platform delivers again."""
    web = stage.deploy("flask", stage.database(), AI="inline", ACKNOWLEDGE="on_success")
    user = stage.user()
    message = f"m-{user}"
    stage.expect(web.ask("store_expense", user=user, message=message, model="fails").status == 503, "refused")
    stage.expect(web.ask("store_expense", user=user, message=message).status == 200, "taken")
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is stored once")
    return user
