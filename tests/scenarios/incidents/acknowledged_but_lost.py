"""Write-ups B, C and E: the caller is told that all is well, and what it sent is gone."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("acknowledged_but_lost", verdict="commit")

LOST = {"lost_tables": "expenses"}
#: JSON that ends in the middle, as a client sends it that counts characters for bytes.
CUT = '{"category": "fo'
ALSO = ("expected_write_missing", "log_claims_write")


def lose(stage: Stage, application: Application, operation: str, reader: Application, **body: str) -> str:
    """Two users are told that all is well, and their expenses are not there."""
    for user in (stage.user(), stage.user()):
        application(operation, user=user, **body)
        stage.expect(reader("summary", user=user)["count"] == 0, "the expense is gone")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    on=BOTH, group=LOST, services=("web",), versions=("3.1",), also=ALSO, tells=("JSONDecodeError", "200")
)
def return_event_received_anyway(stage: Stage) -> str:
    """A webhook catches everything and answers EVENT_RECEIVED, the row went with the exception."""
    web = stage.deploy("flask", stage.database(), version="3.1")
    return lose(stage, web, "receive_event", web, extra=CUT)


@book.variant(group={"lost_tables": "expenses, people"}, services=("web",), also=ALSO, tells=('"committed"',))
def commit_of_an_aborted_transaction(stage: Stage) -> str:
    """A statement that nobody needs fails and is caught; the COMMIT after it is a quiet rollback."""
    web = stage.deploy("flask", stage.database())
    return lose(stage, web, "store_and_register", web)


@book.variant(group=LOST, services=("web",), also=ALSO, tells=("COMMIT itself failed",))
def commit_that_fails(stage: Stage) -> str:
    """A deferred foreign key refuses the COMMIT of an async service, which catches the error."""
    database = stage.database()
    stage.sql(
        database,
        "ALTER TABLE expenses ADD CONSTRAINT expenses_person_fkey FOREIGN KEY (user_id) "
        "REFERENCES people (clerk_id) DEFERRABLE INITIALLY DEFERRED",
    )
    web = stage.deploy("fastapi", database)
    return lose(stage, web, "receive_event", web)


@book.variant(on=BOTH, group=LOST, services=("worker",), also=ALSO, tells=("job done",))
def job_that_counts_as_done(stage: Stage) -> str:
    """A worker catches the error, and its queue forgets the job."""
    worker = stage.deploy("worker", stage.database())
    return lose(stage, worker, "receive_event", worker, extra=CUT)


@book.variant(on=BOTH, group=LOST, services=("web",), also=ALSO, tells=("503", "front"))
def caller_in_between_keeps_it_to_itself(stage: Stage) -> str:
    """The service answers 503; the one that had called it answers 200 to the platform."""
    web = stage.deploy("flask", stage.database(), ACKNOWLEDGE="on_success")
    front = stage.deploy("flask", service="front", UPSTREAM=web.address)
    return lose(stage, front, "forward", web, to="receive_event", extra=CUT)


@book.variant(group=LOST, services=("web",), also=ALSO)
def service_under_zero_code(stage: Stage) -> str:
    """The application has no line of telemetry in it."""
    web = stage.deploy("zero_code", stage.database())
    return lose(stage, web, "receive_event", web, extra=CUT)


@book.variant(on=BOTH, group=LOST, services=("script",), also=ALSO, tells=("no error",))
def script_that_ends_well(stage: Stage) -> str:
    """A script catches the error and ends with status 0."""
    script = stage.deploy("script", stage.database())
    return lose(stage, script, "receive_event", script, extra=CUT)


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("the caller saw the error", on=BOTH, verdict="commit")
def caller_is_told(stage: Stage) -> str:
    """The same failure, answered with a 503."""
    web, user = stage.deploy("flask", stage.database(), ACKNOWLEDGE="on_success"), stage.user()
    stage.expect(web.ask("receive_event", user=user, extra=CUT).status == 503, "the caller is told")
    stage.expect(web("summary", user=user)["count"] == 0, "nothing is stored")
    return user


@book.twin("a retry in the same request landed", on=BOTH)
def retry_that_lands(stage: Stage) -> str:
    """The first attempt is rolled back, the second one is committed."""
    web, user = stage.deploy("flask", stage.database(), RETRY="yes"), stage.user()
    web("receive_event", user=user, extra=CUT)
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is stored once")
    return user


@book.twin("the savepoint is all that was undone", on=BOTH)
def savepoint_as_a_probe(stage: Stage) -> str:
    """Who may be registered already is inserted inside of a savepoint, and looked up where that fails."""
    stage.declare("version: 1\ncolumns: {people.clerk_id: user}\n")
    worker, user = stage.deploy("worker", stage.database(), PROBE="savepoint"), stage.user()
    for _ in range(2):
        worker("store_and_register", user=user, person=user)
    stage.expect(worker("summary", user=user)["count"] == 2, "both expenses are stored")
    return user


@book.twin("nothing was written", on=BOTH)
def only_read(stage: Stage) -> str:
    """A transaction that only reads ends with an exception that is caught."""
    web, user = stage.deploy("flask", stage.database()), stage.user()
    web("receive_event", user=user)
    web("look_up_event", user=user, extra=CUT)
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is there")
    return user


@book.twin("the code rolled back by itself, and nothing had failed", on=BOTH)
def dry_run(stage: Stage) -> str:
    """A preview stores an expense, adds up and rolls back; then the user means it."""
    web, user = stage.deploy("flask", stage.database()), stage.user()
    stage.expect(web("preview_expense", user=user, cents=350)["total"] == 350, "the preview adds up")
    web("receive_event", user=user, cents=350)
    stage.expect(web("summary", user=user)["total"] == 350, "the expense is stored once")
    return user


@book.twin("a repeated row is there already", on=BOTH)
def delivered_twice(stage: Stage) -> str:
    """The second delivery meets the unique id of the first one, and is answered well."""
    web, user = stage.deploy("flask", stage.database()), stage.user()
    for _ in range(2):
        web("store_expense", user=user, message=f"m-{user}")
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is stored once")
    return user
