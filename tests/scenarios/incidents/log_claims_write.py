"""Write-up B: the log says ``event_logged``, and the row is not there."""

from __future__ import annotations

from scenarios.scenario import BOTH, DECLARED, Book, Expected
from scenarios.stage import Application, Stage

book = Book("log_claims_write", verdict="commit")

CLAIM = {"event": "expense_stored", "table": "expenses"}
CUT = '{"category": "fo'
ALSO = ("expected_write_missing",)


def claimed(
    service: str, versions: tuple[str, ...] = (), tells: tuple[str, ...] = ()
) -> tuple[Expected, ...]:
    """What the caller was told is the loss; that the log says the same is the second finding."""
    lost = {"lost_tables": "expenses"}
    return (
        Expected("acknowledged_but_lost", lost, services=(service,)),
        Expected("log_claims_write", CLAIM, services=(service,), versions=versions, tells=tells),
    )


def lose(
    stage: Stage, application: Application, reader: Application, operation: str = "store_and_log", **body: str
) -> str:
    """The log tells of two users' expenses, and they are not there."""
    for user in (stage.user(), stage.user()):
        application(operation, user=user, **body)
        stage.expect(reader("summary", user=user)["count"] == 0, "the expense is gone")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(*claimed("web", ("4.2",), ("rolled back",)), on=BOTH, also=ALSO)
def logged_before_the_end(stage: Stage) -> str:
    """The line is written inside of a transaction, which an exception then rolls back."""
    stage.declare(DECLARED)
    web = stage.deploy("flask", stage.database(), version="4.2")
    return lose(stage, web, web, extra=CUT)


@book.variant(*claimed("web", tells=("commit_failed",)), also=ALSO)
def commit_fails_after_the_line(stage: Stage) -> str:
    """An async service logs, and a deferred foreign key refuses the COMMIT."""
    stage.declare(DECLARED)
    database = stage.database()
    stage.sql(
        database,
        "ALTER TABLE expenses ADD CONSTRAINT expenses_person_fkey FOREIGN KEY (user_id) "
        "REFERENCES people (clerk_id) DEFERRABLE INITIALLY DEFERRED",
    )
    web = stage.deploy("fastapi", database)
    return lose(stage, web, web, "store_and_log_async")


@book.variant(*claimed("worker"), on=BOTH, also=ALSO)
def line_that_names_nobody(stage: Stage) -> str:
    """A worker's line is plain text; whose row it is about is known from the job."""
    stage.declare(DECLARED)
    worker = stage.deploy("worker", stage.database(), LOG_FIELDS="no")
    return lose(stage, worker, worker, extra=CUT)


@book.variant(on=BOTH, group=CLAIM, services=("web",), also=ALSO)
def caller_is_told_and_the_log_is_not(stage: Stage) -> str:
    """The caller gets a 503; the line stays in the log."""
    stage.declare(DECLARED)
    web, user = stage.deploy("flask", stage.database(), ACKNOWLEDGE="on_success"), stage.user()
    stage.expect(web.ask("store_and_log", user=user, extra=CUT).status == 503, "the caller is told")
    stage.expect(web("summary", user=user)["count"] == 0, "the expense is gone")
    return user


@book.variant(*claimed("web"), also=ALSO)
def service_under_zero_code(stage: Stage) -> str:
    """The application has no line of telemetry in it."""
    stage.declare(DECLARED)
    web = stage.deploy("zero_code", stage.database())
    return lose(stage, web, web, extra=CUT)


# On PostgreSQL, whose drivers tell that a read found nothing.
@book.variant(
    group=CLAIM, services=("script",), also=ALSO, verdict="cannot_tell", tells=("Nobody sees", "web")
)
def service_that_only_logs(stage: Stage) -> str:
    """Nobody sees the importer's statements; what it says is stored, the web process does not find."""
    stage.declare(DECLARED)
    importer = stage.deploy("logs_only", stage.database(), COMMIT="no")
    web, user = stage.deploy("flask", stage.database()), stage.user()
    importer("keep_expense", user=user)
    stage.wait(1.5)  # the line may be up to a second before its commit
    stage.expect(web("summary", user=user)["count"] == 0, "the expense is not there")
    return user


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("it was committed right after the line", on=BOTH)
def committed_a_moment_later(stage: Stage) -> str:
    """The line is written inside of a transaction, which is then committed."""
    stage.declare(DECLARED)
    web, user = stage.deploy("flask", stage.database()), stage.user()
    web("store_and_log", user=user)
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is stored")
    return user


@book.twin("a retry landed", on=BOTH)
def retry_that_lands(stage: Stage) -> str:
    """The transaction of the first line is rolled back, that of the second one is committed."""
    stage.declare(DECLARED)
    worker, user = stage.deploy("worker", stage.database(), RETRY="yes"), stage.user()
    worker("store_and_log", user=user, extra=CUT)
    stage.expect(worker("summary", user=user)["count"] == 1, "the expense is stored once")
    return user


@book.twin("it was another service's transaction", on=BOTH)
def another_services_transaction(stage: Stage) -> str:
    """A second service on the trace writes and then refuses; after that the row is stored and logged."""
    stage.declare(DECLARED)
    database, user = stage.database(), stage.user()
    rates = stage.deploy("flask", database, service="rates", LIMIT="100")
    web = stage.deploy("flask", database, UPSTREAM=rates.address)
    web("forward_store_and_log", user=user, to="jot_down")
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is stored once")
    return user


@book.twin("the row is found", verdict="cannot_tell")
def only_logs_and_the_row_is_found(stage: Stage) -> str:
    """Nobody sees the importer's statements; the web process finds what it says is stored."""
    stage.declare(DECLARED)
    importer = stage.deploy("logs_only", stage.database())
    web, user = stage.deploy("flask", stage.database()), stage.user()
    importer("keep_expense", user=user)
    stage.wait(1.5)
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is there")
    return user
