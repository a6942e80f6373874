"""Write-ups A and B: the code writes, answers well, and never commits."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("uncommitted_write", verdict="commit")

LOST = {"lost_tables": "expenses"}
#: The caller is told that all is well.
ALSO = ("acknowledged_but_lost", "expected_write_missing", "log_claims_write")


def lose(stage: Stage, application: Application, operation: str, reader: Application) -> str:
    """Two users are told that all is well, and their expenses are not there."""
    for user in (stage.user(), stage.user()):
        application(operation, user=user)
        stage.expect(reader("summary", user=user)["count"] == 0, "the expense is gone")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(on=BOTH, group=LOST, services=("web",), versions=("2.1",), also=ALSO, tells=("POST /jot_down",))
def flush_without_commit(stage: Stage) -> str:
    """A handler flushes and never commits; the pool rolls back quietly."""
    web = stage.deploy("flask", stage.database(), version="2.1")
    return lose(stage, web, "jot_down", web)


@book.variant(on=BOTH, group=LOST, services=("web",), also=ALSO)
def flush_without_commit_in_an_async_service(stage: Stage) -> str:
    """The same in an async service."""
    web = stage.deploy("fastapi", stage.database())
    return lose(stage, web, "jot_down", web)


@book.variant(on=BOTH, group=LOST, services=("worker",), also=ALSO)
def code_from_before_sqlalchemy_2(stage: Stage) -> str:
    """A worker's connection.execute() committed by itself until the library was upgraded."""
    worker = stage.deploy("worker", stage.database())
    return lose(stage, worker, "execute_insert", worker)


@book.variant(group=LOST, services=("web",), also=ALSO)
def service_under_zero_code(stage: Stage) -> str:
    """The application has no line of telemetry in it."""
    web = stage.deploy("zero_code", stage.database())
    return lose(stage, web, "jot_down", web)


@book.variant(on=BOTH, group=LOST, services=("script",), also=ALSO)
def script_ends_with_its_batch_open(stage: Stage) -> str:
    """A script collects rows for a batch that never gets full, and ends."""
    script = stage.deploy("script", stage.database())
    return lose(stage, script, "add_to_batch", script)


@book.variant(group=LOST, services=("worker",), also=ALSO)
def worker_is_stopped_with_its_batch_open(stage: Stage) -> str:
    """A deploy ends a worker in good order while its batch is open."""
    database, user = stage.database(), stage.user()
    worker, web = stage.deploy("worker", database), stage.deploy("flask", database)
    worker("add_to_batch", user=user)
    # Longer than statements are held back for their transaction's outcome: they leave as open ones.
    stage.wait(3)
    worker.end()
    stage.expect(web("summary", user=user)["count"] == 0, "the expense is gone")
    return user


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("nothing was written", on=BOTH)
def only_read(stage: Stage) -> str:
    """Sessions that only read are closed without a COMMIT all day."""
    web, user = stage.deploy("flask", stage.database()), stage.user()
    web("receive_event", user=user)
    for _ in range(3):
        stage.expect(web("summary", user=user)["count"] == 1, "the expense is there")
    return user


@book.twin("each statement commits by itself", on=BOTH)
def autocommit(stage: Stage) -> str:
    """The connection is in autocommit mode."""
    worker, user = stage.deploy("worker", stage.database(), ISOLATION="AUTOCOMMIT"), stage.user()
    worker("execute_insert", user=user)
    stage.expect(worker("summary", user=user)["count"] == 1, "the expense is stored")
    return user


@book.twin("it was rolled back on purpose", on=BOTH)
def dry_run(stage: Stage) -> str:
    """A preview rolls back by itself; then the user means it."""
    web, user = stage.deploy("flask", stage.database()), stage.user()
    web("preview_expense", user=user)
    web("receive_event", user=user)
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is stored once")
    return user


@book.twin("the caller was told", on=BOTH, verdict="commit")
def refused_after_the_first_write(stage: Stage) -> str:
    """A handler refuses its input after the first write, and leaves the rollback to the pool."""
    web, user = stage.deploy("flask", stage.database(), LIMIT="5000"), stage.user()
    stage.expect(web.ask("jot_down", user=user, cents=9000).status == 422, "the caller is told")
    stage.expect(web("summary", user=user)["count"] == 0, "nothing is stored")
    return user


@book.twin("the same row is committed by another transaction", on=BOTH)
def stored_by_another_transaction(stage: Stage) -> str:
    """A draft is left to the pool, and stored in a second transaction."""
    web, user = stage.deploy("flask", stage.database()), stage.user()
    web("jot_down_and_store", user=user)
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is stored once")
    return user


@book.twin("it was committed a little later")
def batch_that_gets_full(stage: Stage) -> str:
    """A transaction is open for seconds, and is committed."""
    worker, user = stage.deploy("worker", stage.database()), stage.user()
    worker("add_to_batch", user=user)
    stage.wait(3)
    worker("commit_batch")
    stage.expect(worker("summary", user=user)["count"] == 1, "the expense is stored")
    return user
