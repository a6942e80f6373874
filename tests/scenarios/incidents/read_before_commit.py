"""Write-up A: the worker commits later, and the summary reads too soon."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("read_before_commit", verdict="timing")

#: Seconds for which the row is written and not committed: longer than anything takes to read it.
PAUSE = 2.0


def hand_in(stage: Stage, web: Application, worker: Application, job: str, **body: float) -> tuple[str, int]:
    """A user's expense of 350 is stored, and the worker's job builds a summary; what that says."""
    user = stage.user()
    web("store_and_hand_in", user=user, cents=350, pause=PAUSE, job=job, **body)
    built: list[int] = []

    def done() -> bool:
        total = worker("built_total", user=user)["total"]
        built.extend([] if total is None else [total])
        return bool(built)

    stage.eventually(done, "the summary is built")
    return user, built[0]


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(on=BOTH, group={"table": "expenses", "dependence": "job"}, services=("web", "worker"))
def job_handed_in_before_the_commit(stage: Stage) -> str:
    """The webhook hands in a job, and commits when the rest of its work is done."""
    database = stage.database()
    worker = stage.deploy("worker", database)
    web = stage.deploy("flask", database, QUEUE=worker.address)
    user, total = hand_in(stage, web, worker, "rebuild_summary")
    stage.expect(total == 0, "a summary of nothing is built")
    return user


@book.variant(
    on=BOTH, group={"table": "expenses", "dependence": "answered"}, services=("web",), versions=("4.2",)
)
def commit_in_a_background_task(stage: Stage) -> str:
    """An async service answers, and commits at the end of a background task."""
    web, user = stage.deploy("fastapi", stage.database(), version="4.2"), stage.user()
    web("store_in_background", user=user, pause=PAUSE)
    stage.expect(web("summary", user=user)["count"] == 0, "what was confirmed is not there")
    return user


@book.variant(on=BOTH, group={"table": "expenses", "dependence": "trace"}, services=("web",))
def helper_with_a_session_of_its_own(stage: Stage) -> str:
    """The handler adds up the new total through a second session, before the first one commits."""
    web, user = stage.deploy("flask", stage.database()), stage.user()
    answer = web("store_and_show", user=user, cents=350, pause=0.3)
    stage.expect(answer["total"] == 0, "the answer lacks the expense that it tells of")
    return user


@book.variant(
    group={"table": "expenses", "dependence": "job"}, services=("web", "worker"), tells=("REPEATABLE READ",)
)
def snapshot_older_than_the_commit(stage: Stage) -> str:
    """The job reads after the commit, in a transaction at REPEATABLE READ that began before it."""
    database = stage.database()
    worker = stage.deploy("worker", database)
    web = stage.deploy("flask", database, QUEUE=worker.address)
    user, total = hand_in(stage, web, worker, "rebuild_at_leisure", leisure=PAUSE + 0.7)
    stage.expect(total == 0, "a summary of nothing is built")
    return user


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("the job is handed in after the commit", on=BOTH)
def job_handed_in_after_the_commit(stage: Stage) -> str:
    """The same webhook and the same job, in the right order."""
    database = stage.database()
    worker = stage.deploy("worker", database)
    web = stage.deploy("flask", database, QUEUE=worker.address, HAND_IN="after_commit")
    user, total = hand_in(stage, web, worker, "rebuild_summary")
    stage.expect(total == 350, "the summary is right")
    return user


@book.twin("the job looks again until the row is there", on=BOTH)
def job_that_looks_again(stage: Stage) -> str:
    """The job is too early, and prepared for it."""
    database = stage.database()
    worker = stage.deploy("worker", database)
    web = stage.deploy("flask", database, QUEUE=worker.address)
    user, total = hand_in(stage, web, worker, "rebuild_with_patience")
    stage.expect(total == 350, "the summary is right")
    return user


@book.twin("somebody else is read", on=BOTH)
def read_of_another_user(stage: Stage) -> str:
    """While one user's expense waits for its commit, another user looks at theirs."""
    web, one, other = stage.deploy("fastapi", stage.database()), stage.user(), stage.user()
    web("store_expense", user=other)
    web("store_in_background", user=one, pause=PAUSE)
    stage.expect(web("summary", user=other)["count"] == 1, "theirs is there")
    return other


@book.twin("the transaction that wrote it reads it", on=BOTH)
def read_inside_the_transaction(stage: Stage) -> str:
    """The handler adds up the new total in the session that has written it."""
    web = stage.deploy("flask", stage.database(), HELPER="same_session")
    user = stage.user()
    stage.expect(web("store_and_show", user=user, cents=350, pause=0.3)["total"] == 350, "it counts")
    stage.expect(web("summary", user=user)["count"] == 1, "and is found later")
    return user


@book.twin("nobody had been told that it is there", on=BOTH)
def polling_while_the_request_runs(stage: Stage) -> str:
    """A page of the same user asks for the summary all the time."""
    web, page = stage.deploy("flask", stage.database(), HELPER="same_session"), stage.user()
    with ThreadPoolExecutor(1) as pool:
        storing = pool.submit(web, "store_and_show", user=page, pause=PAUSE)
        looks = 0
        while not storing.done():
            looks += web("summary", user=page)["count"] == 0
            stage.wait(0.1)
        storing.result()
    stage.expect(looks > 0, "it was asked for before the commit")
    stage.expect(web("summary", user=page)["count"] == 1, "and is found later")
    return page
