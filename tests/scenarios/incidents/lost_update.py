"""Write-up C: two requests read a number, add to it and write it back; one of the two is gone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from scenarios.databases import Database
from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("lost_update", verdict=None)

BUDGETS = {"table": "budgets"}


def limit_of(stage: Stage, application: Application) -> str:
    """A user with a budget of 1000."""
    user = stage.user()
    application("set_budget", user=user, cents=1000)
    return user


def raise_at_once(first: Application, second: Application, user: str) -> None:
    """Two raises of 100, of which the later one begins while the earlier one still thinks."""
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(first, "raise_limit", user=user, cents=100, pause=1.5)
        quick = pool.submit(second, "raise_limit", user=user, cents=100, pause=0.9)
        slow.result()
        quick.result()


def lose(stage: Stage, first: Application, second: Application) -> None:
    """One of two raises is gone."""
    user = limit_of(stage, first)
    raise_at_once(first, second, user)
    stage.expect(first("budget", user=user)["cents"] == 1100, "one of the two is gone")


def keep(stage: Stage, first: Application, second: Application) -> None:
    """Both raises are there."""
    user = limit_of(stage, first)
    raise_at_once(first, second, user)
    stage.expect(first("budget", user=user)["cents"] == 1200, "both are there")


def web(stage: Stage, database: Database, how: str = "read") -> Application:
    """A web process."""
    return stage.deploy("flask", database, HOW=how)


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(on=BOTH, group=BUDGETS, services=("web",))
def two_requests_of_one_process(stage: Stage) -> None:
    """Two requests raise a limit at the same time."""
    one = web(stage, stage.database())
    lose(stage, one, one)


@book.variant(group=BUDGETS, services=("web", "worker"))
def request_and_job(stage: Stage) -> None:
    """A request and a job raise it at the same time."""
    database = stage.database()
    lose(stage, web(stage, database), stage.deploy("worker", database))


@book.variant(group=BUDGETS, services=("web", "worker"))
def only_one_of_them_locks(stage: Stage) -> None:
    """The job locks the row, the request does not."""
    database = stage.database()
    user_side, job_side = web(stage, database), stage.deploy("worker", database, HOW="lock")
    lose(stage, user_side, job_side)


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("both locked the row", verdict=None)
def select_for_update(stage: Stage) -> None:
    """Both read under FOR UPDATE."""
    one = web(stage, stage.database(), "lock")
    keep(stage, one, one)


@book.twin("the database computed", on=BOTH, verdict=None)
def the_database_adds(stage: Stage) -> None:
    """Both let the database add."""
    one = web(stage, stage.database(), "compute")
    keep(stage, one, one)


@book.twin("one after the other", on=BOTH, verdict=None)
def one_after_the_other(stage: Stage) -> None:
    """Two raises that do not meet."""
    one = web(stage, stage.database())
    user = limit_of(stage, one)
    for _ in range(2):
        one("raise_limit", user=user, cents=100)
    stage.expect(one("budget", user=user)["cents"] == 1200, "both are there")
