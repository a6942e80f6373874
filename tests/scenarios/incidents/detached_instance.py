"""Write-up C: objects are kept when their session has gone, and cannot load any more."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("detached_instance", verdict="healthy")

#: What comes of it where the caller is told that all is well.
ALSO = ("acknowledged_but_lost", "expected_write_missing", "log_claims_write")
KEPT = {"entry_name": "POST /store_within_budget"}


def store_within_budget(stage: Stage, application: Application, *, stored: bool, times: int = 4) -> str:
    """A user with a budget stores expenses."""
    user = stage.user()
    application("set_budget", user=user, cents=100_000)
    for _ in range(times):
        said = application("store_within_budget", user=user)["stored"]
        stage.expect(said is stored, f"it says that stored is {stored}")
    found = application("summary", user=user)["count"]
    stage.expect(found == (times if stored else 0), f"there are {found}")
    return user


def report(stage: Stage, application: Application, *, times: int = 4, status: int = 200) -> str:
    """A user's expenses are reported."""
    user = stage.user()
    application("receive_event", user=user)
    for _ in range(times):
        stage.expect(application.ask("report_notes", user=user).status == status, f"it answers {status}")
    stage.expect(application("summary", user=user)["count"] == 1, "the expense is there")
    return user


def store_and_tell(stage: Stage, application: Application, *, times: int, status: int = 200) -> str:
    """A user's expenses are stored, and told to the caller."""
    user = stage.user()
    for _ in range(times):
        stage.expect(application.ask("store_and_tell", user=user).status == status, f"it answers {status}")
    stage.expect(application("summary", user=user)["count"] == times, "they are there")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    on=BOTH,
    group=KEPT,
    services=("web",),
    versions=("6.0",),
    tells=("expenses", "Budget"),
    also=ALSO,
    verdict="commit",
)
def cache_of_objects(stage: Stage) -> str:
    """Budgets are cached as objects; the expense that is compared with one is rolled back."""
    web = stage.deploy("flask", stage.database(), version="6.0")
    return store_within_budget(stage, web, stored=False)


# The server logs each exception once more, after the end of its trace: that is no second finding.
@book.variant(
    on=BOTH,
    group={"entry_name": "POST /store_and_tell"},
    services=("web",),
    tells=("MissingGreenlet",),
)
def answer_made_after_the_commit(stage: Stage) -> str:
    """An async service commits, and makes its answer of a row that the commit has expired."""
    return store_and_tell(stage, stage.deploy("fastapi", stage.database()), times=4, status=500)


@book.variant(on=BOTH, group={"entry_name": "report_notes"}, services=("worker",), tells=("report_notes",))
def report_after_the_session(stage: Stage) -> str:
    """A job reads a column that it had not loaded, after the end of the block."""
    return report(stage, stage.deploy("worker", stage.database()), status=500)


@book.variant(group=KEPT, services=("web",), also=ALSO, verdict="commit")
def service_under_zero_code(stage: Stage) -> str:
    """The application has no line of telemetry in it."""
    return store_within_budget(stage, stage.deploy("zero_code", stage.database()), stored=False)


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("values are kept, no objects", on=BOTH)
def cache_of_values(stage: Stage) -> str:
    """The same cache, with numbers in it."""
    web = stage.deploy("flask", stage.database(), CACHE="values")
    return store_within_budget(stage, web, stored=True)


@book.twin("the row stays readable after the commit", on=BOTH)
def answer_made_of_what_is_loaded(stage: Stage) -> str:
    """The async service does not expire what it has committed."""
    return store_and_tell(stage, stage.deploy("fastapi", stage.database(), EXPIRE="no"), times=4)


@book.twin("all that is read was loaded", on=BOTH)
def report_of_what_is_loaded(stage: Stage) -> str:
    """The job loads what it needs."""
    return report(stage, stage.deploy("worker", stage.database(), COLUMNS="all"))


@book.twin("a script was run by hand, once", on=BOTH)
def script_run_once(stage: Stage) -> str:
    """Somebody's script fails, and is mended."""
    script = stage.deploy("script", stage.database())
    return report(stage, script, times=1, status=500)


@book.twin("two requests are no habit")
def mended_after_two(stage: Stage) -> str:
    """A deploy is rolled back after two failures."""
    return store_and_tell(stage, stage.deploy("fastapi", stage.database()), times=2, status=500)
