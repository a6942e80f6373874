"""Write-up B: the totals are an old copy, or the model's invention."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("answer_without_read", verdict="cannot_tell")


def somebody(application: Application, stage: Stage, *, cents: int = 350) -> str:
    """A user with one expense."""
    user = stage.user()
    application("store_expense", user=user, cents=cents)
    return user


def ask_often(stage: Stage, application: Application, operation: str, said: str = "12") -> str:
    """A user asks four times what was spent, and hears the same each time."""
    user = somebody(application, stage)
    for _ in range(4):
        stage.expect(application(operation, user=user)["said"] == said, "the model says so")
    return user


def copy_and_go_on(stage: Stage, application: Application, operation: str) -> tuple[str, int]:
    """A user asks, spends 1280 more, and asks three times again; how much the last answer tells of."""
    user = somebody(application, stage)
    stage.expect(application(operation, user=user)["total"] == 350, "the first answer is right")
    application("store_expense", user=user, cents=1280)
    totals = [application(operation, user=user)["total"] for _ in range(3)]
    return user, totals[-1]


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    on=BOTH,
    group={"entry_name": "POST /told_summary"},
    services=("web",),
    versions=("5.1",),
    tells=("expenses", "made up"),
)
def model_makes_up_the_totals(stage: Stage) -> str:
    """The model is asked what the user has spent, and was told nothing."""
    return ask_often(stage, stage.deploy("flask", stage.database(), version="5.1"), "told_summary")


@book.variant(on=BOTH, group={"entry_name": "POST /told_summary_async"}, services=("web",))
def async_service_makes_up_the_totals(stage: Stage) -> str:
    """The same in an async service."""
    return ask_often(stage, stage.deploy("fastapi", stage.database()), "told_summary_async")


@book.variant(group={"entry_name": "told_summary"}, services=("worker",))
def job_makes_up_the_totals(stage: Stage) -> str:
    """A worker's jobs word the daily summaries; their call is marked by the application itself."""
    return ask_often(stage, stage.deploy("worker", stage.database(), AI_CLIENT="ai_call"), "told_summary")


@book.variant(
    on=BOTH,
    group={"entry_name": "POST /copied_summary"},
    services=("web",),
    tells=("cache",),
    verdict="cannot_tell",
)
def cache_that_nobody_empties(stage: Stage) -> str:
    """The summary is kept in memory, and stays as it was when more is spent."""
    user, total = copy_and_go_on(stage, stage.deploy("flask", stage.database()), "copied_summary")
    stage.expect(total == 350, "the copy is old")
    return user


@book.variant(group={"entry_name": "POST /copied_for_a_while"}, services=("web",))
def one_copy_for_all(stage: Stage) -> str:
    """The cache has one entry, and everybody gets the summary of whoever asked first."""
    web = stage.deploy("flask", stage.database(), COPY="one")
    web("copied_for_a_while", user=somebody(web, stage))
    for _ in range(4):
        other = somebody(web, stage, cents=9900)
        stage.expect(web("copied_for_a_while", user=other)["total"] == 350, "it is somebody else's")
    return other


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("each answer is made of what was read", on=BOTH)
def model_words_what_was_added_up(stage: Stage) -> str:
    """The database adds up, and the model words it."""
    return ask_often(stage, stage.deploy("flask", stage.database(), SUMS="database"), "told_summary")


@book.twin("the copy is as young as is declared", on=BOTH)
def copy_that_may_be_old(stage: Stage) -> str:
    """The same cache; answers that are ten minutes old are good enough, and that is declared."""
    web = stage.deploy("flask", stage.database())
    user, total = copy_and_go_on(stage, web, "copied_for_a_while")
    stage.expect(total == 350, "the copy is old")
    stage.expect(web("summary", user=user)["total"] == 1630, "the expenses themselves are right")
    return user


@book.twin("another service of the same request reads", on=BOTH)
def read_by_another_service(stage: Stage) -> str:
    """The bot asks the service that keeps the expenses."""
    database = stage.database()
    books = stage.deploy("fastapi", database, service="books")
    bot = stage.deploy("flask", database, service="bot", UPSTREAM=books.address)
    user = somebody(bot, stage)
    for _ in range(4):
        stage.expect(bot("ask_upstream", user=user)["total"] == 350, "it is right")
    return user


@book.twin("nobody was answered")
def refused_for_a_while(stage: Stage) -> str:
    """The summary is out of order, and says so."""
    web = stage.deploy("flask", stage.database())
    user = somebody(web, stage)
    for _ in range(4):
        answer = web.ask("told_summary", user=user, maintenance="yes")
        stage.expect(answer.status == 503, "it is refused")
    stage.expect(web("summary", user=user)["total"] == 350, "the expenses themselves are right")
    return user


@book.twin("two in an hour are no habit")
def asked_twice(stage: Stage) -> str:
    """Two answers of a model that was told nothing."""
    web = stage.deploy("flask", stage.database())
    user = somebody(web, stage)
    for _ in range(2):
        web("told_summary", user=user)
    stage.expect(web("summary", user=user)["total"] == 350, "the expenses themselves are right")
    return user
