"""Write-ups A and B: the expense is stored, and the summary that people are shown was not made anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

#: Short enough to be waited for.
QUICK = "lineage:\n  - {derived: expense_summaries, sources: [expenses], within: 2s}\n"
BEHIND = 2.5
book = Book("stale_summary", verdict="cache", declares=QUICK)

SUMMARIES = {"table": "expense_summaries", "source_tables": "expenses"}
HASH_ONLY = "user_id_hash:sha256"


def spent_and_shown(stage: Stage, web: Application, job: Application) -> str:
    """A user whose expense of 350 is in the summary."""
    user = stage.user()
    web("store_expense", user=user, cents=350)
    job("refresh_summary", user=user)
    stage.expect(web("show_summary", user=user)["total"] == 350, "the summary is right")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(on=BOTH, group=SUMMARIES, services=("web", "worker"), tells=("worker in refresh_summary",))
def job_stands_still(stage: Stage) -> str:
    """The worker that makes summaries has ended; expenses go on, and everybody is shown old totals."""
    web, worker = stage.deploy("flask", stage.database()), stage.deploy("worker", stage.database())
    users = [spent_and_shown(stage, web, worker) for _ in range(2)]
    worker.end()
    for user in users:
        web("store_expense", user=user, cents=1280)
    stage.wait(BEHIND)
    for user in users:
        stage.expect(web("show_summary", user=user)["total"] == 350, "the old total is shown")
    return user


@book.variant(on=BOTH, group=SUMMARIES, services=("dashboard", "web"), versions=("2.4.0",))
def import_that_keeps_no_totals(stage: Stage) -> str:
    """The web process keeps the total with each expense; a script that imports receipts does not."""
    web = stage.deploy("flask", stage.database())
    dashboard = stage.deploy("worker", stage.database(), service="dashboard")
    receipts = stage.deploy("script", stage.database(), service="import", version="2.4.0")
    user = stage.user()
    web("store_and_total", user=user, cents=350)
    receipts("store_expense", user=user, cents=1280)
    stage.wait(BEHIND)
    stage.expect(dashboard("show_summary", user=user)["total"] == 350, "the receipt is not in the total")
    return user


@book.variant(group=SUMMARIES, services=("web", "report"), also=("key_mismatch",))
def report_goes_by_the_old_column(stage: Stage) -> str:
    """The async web process writes the hash only; the nightly report still finds its users by user_id."""
    old = stage.deploy("fastapi", stage.database(), version="2.3.0")
    report = stage.deploy("script", stage.database(), service="report", READ_KEYS="user_id:raw")
    known, user = stage.user(), stage.user()
    old("store_expense", user=known, cents=350)
    old.end()
    web = stage.deploy("fastapi", stage.database(), version="2.4.0", WRITE_KEYS=HASH_ONLY)
    web("store_expense", user=user, cents=1280)
    stage.expect(report("refresh_each")["users"] == 1, "the report does not find the new user")
    stage.wait(BEHIND)
    stage.expect(web("show_summary_async", user=known)["total"] == 350, "the known user has a summary")
    stage.expect(web("show_summary_async", user=user)["total"] is None, "the new user has none")
    return user


@book.variant(
    on=BOTH,
    group={"table": "expense_summaries", "source_tables": "budgets, expenses"},
    services=("web", "worker"),
    declares="lineage:\n  - {derived: expense_summaries, sources: [expenses, budgets], within: 2s}\n",
)
def second_source(stage: Stage) -> str:
    """What is left of the budget is made anew after each expense, and not when the budget changes."""
    web = stage.deploy("flask", stage.database())
    worker = stage.deploy("worker", stage.database(), BUDGETS="yes")
    user = stage.user()
    web("set_budget", user=user, cents=5000)
    web("store_expense", user=user, cents=350)
    worker("refresh_summary", user=user)
    web("set_budget", user=user, cents=9000)
    stage.wait(BEHIND)
    stage.expect(web("show_summary", user=user)["total"] == 4650, "the old budget is in it")
    return user


@book.variant(group=SUMMARIES, services=("web", "worker"), tells=("learned",), declares="")
def nobody_declared_it(stage: Stage) -> str:
    """For an hour each expense is followed by its summary, then one user's job gets lost."""
    user = stage.user()
    for minutes in range(75, 5, -5):
        ago = minutes / 1440
        spender = user if minutes == 10 else stage.user()
        web = stage.deploy("script", stage.database(), service="web", days_ago=ago)
        worker = stage.deploy("script", stage.database(), service="worker", days_ago=ago)
        web("store_expense", user=spender, cents=350)
        worker("refresh_summary", user=spender)
    late = stage.deploy("script", stage.database(), service="web", days_ago=8 / 1440)
    late("store_expense", user=user, cents=1280)
    reader = stage.deploy("script", stage.database(), service="web")
    stage.expect(reader("show_summary", user=user)["total"] == 350, "the old total is shown")
    return user


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin(
    "it may be so far behind",
    on=BOTH,
    declares="lineage:\n  - {derived: expense_summaries, sources: [expenses], within: 10m}\n",
)
def within_its_time(stage: Stage) -> str:
    """The job runs every ten minutes, and that is declared."""
    web, worker = stage.deploy("flask", stage.database()), stage.deploy("worker", stage.database())
    user = spent_and_shown(stage, web, worker)
    web("store_expense", user=user, cents=1280)
    stage.wait(BEHIND)
    stage.expect(web("show_summary", user=user)["total"] == 350, "it is a little behind")
    stage.expect(web("summary", user=user)["total"] == 1630, "nothing is lost")
    return user


@book.twin("nothing was written since", on=BOTH)
def quiet_users(stage: Stage) -> str:
    """The worker has ended, and those who are shown their summaries have spent nothing since."""
    web, worker = stage.deploy("flask", stage.database()), stage.deploy("worker", stage.database())
    user = spent_and_shown(stage, web, worker)
    worker.end()
    web("store_expense", user=stage.user(), cents=1280)
    stage.wait(BEHIND)
    stage.expect(web("show_summary", user=user)["total"] == 350, "the total is right")
    return user


@book.twin("what makes it anew has begun", on=BOTH)
def rebuild_under_way(stage: Stage) -> str:
    """A long job has the summary in its transaction while it is read."""
    web, worker = stage.deploy("flask", stage.database()), stage.deploy("worker", stage.database())
    user = spent_and_shown(stage, web, worker)
    web("store_expense", user=user, cents=1280)
    stage.wait(BEHIND)
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(worker, "refresh_summary", user=user, pause=2)
        stage.wait(1)
        stage.expect(web("show_summary", user=user)["total"] == 350, "the new total is not there yet")
        job.result()
    stage.expect(web("show_summary", user=user)["total"] == 1630, "now it is")
    return user


@book.twin("it was made anew for everybody", on=BOTH)
def made_in_sql(stage: Stage) -> str:
    """A script makes all summaries in two statements that name nobody."""
    web, worker = stage.deploy("flask", stage.database()), stage.deploy("worker", stage.database())
    user = spent_and_shown(stage, web, worker)
    web("store_expense", user=user, cents=1280)
    stage.deploy("script", stage.database(), service="nightly")("refresh_all")
    stage.wait(BEHIND)
    stage.expect(web("show_summary", user=user)["total"] == 1630, "the total is right")
    return user


#: As each database writes it.
TRIGGERS = {
    "postgresql": (
        "CREATE FUNCTION add_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO expense_summaries (user_id_hash, total_cents, built_at) SELECT user_id_hash, "
        "sum(amount_cents), now() FROM expenses WHERE user_id_hash = NEW.user_id_hash GROUP BY user_id_hash; "
        "RETURN NEW; END $$",
        "CREATE TRIGGER added_up AFTER INSERT ON expenses FOR EACH ROW EXECUTE FUNCTION add_up()",
    ),
    "sqlite": (
        "CREATE TRIGGER added_up AFTER INSERT ON expenses BEGIN "
        "INSERT INTO expense_summaries (user_id_hash, total_cents, built_at) SELECT user_id_hash, "
        "sum(amount_cents), '2026-11-20 12:00:00' FROM expenses WHERE user_id_hash = NEW.user_id_hash; END",
    ),
}


def filled_by_a_trigger(stage: Stage) -> str:
    """Two expenses, which the database adds up by itself."""
    stage.sql(stage.database(), *TRIGGERS[stage.database().kind])
    web, user = stage.deploy("flask", stage.database()), stage.user()
    for cents in (350, 1280):
        web("store_expense", user=user, cents=cents)
    stage.wait(BEHIND)
    stage.expect(web("show_summary", user=user)["total"] == 1630, "the total is right")
    return user


@book.twin(
    "the database itself makes it, as was declared",
    on=BOTH,
    verdict="cannot_tell",
    declares="lineage:\n  - {derived: expense_summaries, sources: expenses, filled_by: trigger}\n",
)
def declared_trigger(stage: Stage) -> str:
    """A trigger makes the summaries; a script made some before there was one."""
    old = stage.deploy("script", stage.database(), service="migrate")
    old("refresh_summary", user=stage.user())
    return filled_by_a_trigger(stage)


@book.twin("no statement of anybody writes it, so something else does", on=BOTH, verdict="cannot_tell")
def trigger_that_nobody_declared(stage: Stage) -> str:
    """A trigger makes the summaries, and the declarations do not say so."""
    return filled_by_a_trigger(stage)


@book.twin("the database makes it from the table itself", verdict="cannot_tell")
def materialized_view(stage: Stage) -> str:
    """The summary is a materialized view, which a script refreshes."""
    stage.sql(
        stage.database(),
        "DROP TABLE expense_summaries",
        "CREATE MATERIALIZED VIEW expense_summaries AS SELECT max(id) AS id, user_id_hash, "
        "sum(amount_cents) AS total_cents, max(spent_at) AS built_at FROM expenses GROUP BY user_id_hash",
    )
    web, user = stage.deploy("flask", stage.database()), stage.user()
    web("store_expense", user=user, cents=350)
    stage.deploy("script", stage.database(), service="nightly")("refresh_view")
    stage.wait(BEHIND)
    stage.expect(web("show_summary", user=user)["total"] == 350, "the total is right")
    return user


@book.twin("what is old is thrown away, and made when it is asked for", on=BOTH)
def made_on_demand(stage: Stage) -> str:
    """A write throws the kept total away; whoever is asked for it adds it up and keeps it."""
    web = stage.deploy("flask", stage.database())
    api = stage.deploy("fastapi", stage.database(), service="api")
    user = stage.user()
    for cents in (350, 1280):
        web("store_and_forget", user=user, cents=cents)
        stage.wait(BEHIND)
        stage.expect(api("show_summary_async", user=user)["total"] is None, "nothing old is shown")
        total = web("show_or_make_summary", user=user)["total"]
    stage.expect(total == 1630, "the total is right")
    return user


@book.twin("how far behind it may be only its owner knows, and has not said", on=BOTH, declares="")
def once_a_night(stage: Stage) -> str:
    """A report is made at night; by day it is behind, which everybody knows and nobody declared."""
    user = stage.user()
    evening = stage.deploy("script", stage.database(), service="web", days_ago=0.5)
    evening("store_expense", user=user, cents=350)
    stage.deploy("script", stage.database(), service="nightly", days_ago=0.4)("refresh_summary", user=user)
    morning = stage.deploy("script", stage.database(), service="web", days_ago=0.1)
    morning("store_expense", user=user, cents=1280)
    web = stage.deploy("flask", stage.database())
    stage.expect(web("show_summary", user=user)["total"] == 350, "yesterday's total is shown")
    stage.expect(web("summary", user=user)["total"] == 1630, "nothing is lost")
    return user
