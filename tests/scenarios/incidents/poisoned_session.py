"""Write-up B: a shared session breaks once, and refuses all that come after."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("poisoned_session", verdict="cannot_tell")

ALSO = ("acknowledged_but_lost", "expected_write_missing", "log_claims_write", "constraint_violation_burst")


def break_it(stage: Stage, application: Application, operation: str, *, status: int = 200) -> str:
    """An expense of nothing is refused by the database; what comes after is refused with it."""
    for cents in (350, 0):
        application.ask(operation, user=stage.user(), cents=cents)
    for _ in range(4):
        user = stage.user()
        answer = application.ask(operation, user=user)
        stage.expect(answer.status == status, f"it answers {status}")
        stage.expect(status != 200 or not answer.body["stored"], "it stores nothing")
    return user


def get_over_it(stage: Stage, application: Application, operation: str, *, cents: int = 0) -> str:
    """The same, and what comes after is stored."""
    application.ask(operation, user=stage.user(), cents=cents)
    for _ in range(4):
        user = stage.user()
        stage.expect(application(operation, user=user)["stored"], "it is stored")
    stage.expect(application("summary", user=user)["count"] == 1, "and found")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(on=BOTH, services=("web",), versions=("2.2",), tells=("PendingRollbackError",), also=ALSO)
def session_in_a_module(stage: Stage) -> str:
    """A web process has one session; the callers of refused requests hear that all is well."""
    web = stage.deploy("flask", stage.database(), version="2.2")
    return break_it(stage, web, "add_in_kept_session")


@book.variant(on=BOTH, services=("web",), also=ALSO)
def async_session_in_a_module(stage: Stage) -> str:
    """The same in an async service, which tells of errors."""
    web = stage.deploy("fastapi", stage.database(), ACKNOWLEDGE="on_success")
    return break_it(stage, web, "add_in_kept_session_async", status=503)


@book.variant(on=BOTH, services=("worker",), also=ALSO)
def worker_that_keeps_its_session(stage: Stage) -> str:
    """A worker's loop keeps its session from job to job."""
    return break_it(stage, stage.deploy("worker", stage.database()), "add_in_kept_session")


@book.variant(services=("worker",), tells=("InFailedSqlTransaction",), also=ALSO, verdict="commit")
def worker_that_keeps_its_connection(stage: Stage) -> str:
    """A worker keeps a connection; the server refuses all that follows an error."""
    return break_it(stage, stage.deploy("worker", stage.database()), "add_over_kept_connection")


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("it is rolled back, and works again", on=BOTH, also=("acknowledged_but_lost",))
def rolled_back_after_the_error(stage: Stage) -> str:
    """The same session, whose errors are followed by a rollback."""
    web = stage.deploy("flask", stage.database(), AFTER_ERROR="rollback", ACKNOWLEDGE="on_success")
    return get_over_it(stage, web, "add_in_kept_session")


@book.twin("nothing fails", on=BOTH)
def session_used_again_by_design(stage: Stage) -> str:
    """A worker uses one session for all its jobs."""
    return get_over_it(stage, stage.deploy("worker", stage.database()), "add_in_kept_session", cents=350)


@book.twin("each request failed by itself", on=BOTH, also=("constraint_violation_burst",), verdict="commit")
def own_error_handled_badly(stage: Stage) -> str:
    """Four requests go on with their own session after their own error."""
    web = stage.deploy("flask", stage.database(), ACKNOWLEDGE="on_success")
    for _ in range(4):
        user = stage.user()
        stage.expect(web.ask("add_and_count", user=user, cents=0).status == 503, "it is refused")
    return user


@book.twin("one session serves a batch, and that is declared", verdict=None)
def batch_that_stops_at_a_bad_row(stage: Stage) -> None:
    """The rows of a batch come as jobs, and none is taken after a bad one."""
    worker = stage.deploy("worker", stage.database(), ACKNOWLEDGE="on_success")
    break_it(stage, worker, "add_in_one_session", status=503)
