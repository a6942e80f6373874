"""Write-ups A and B: rows are stored under one key and looked up under another."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book
from scenarios.stage import Application, Stage

book = Book("key_mismatch", verdict="keys")

EXPENSES = {"table": "expenses"}
OLD, NEW = "user_id:raw", "user_id_hash:sha256"


def not_found(stage: Stage, web: Application, reader: Application, summary: str = "summary") -> str:
    """Two users spend money, and the reader finds nothing of it."""
    for user in (stage.user(), stage.user()):
        for cents in (350, 1280):
            web("store_expense", user=user, cents=cents)
        stage.expect(not reader(summary, user=user)["total"], "nothing is found")
    return user


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    on=BOTH, group=EXPENSES, services=("web", "worker"), versions=("2.4.0",), tells=("user_id_hash",)
)
def worker_reads_the_new_key(stage: Stage) -> str:
    """The worker reads user_id_hash; the web process that is to fill it has not been deployed."""
    web = stage.deploy("flask", stage.database(), version="2.3.0", WRITE_KEYS=OLD)
    return not_found(stage, web, stage.deploy("worker", stage.database(), version="2.4.0", READ_KEYS=NEW))


@book.variant(on=BOTH, group=EXPENSES, services=("web", "report"))
def report_reads_the_old_key(stage: Stage) -> str:
    """The async web process writes the hash only; a script still filters by user_id."""
    web = stage.deploy("fastapi", stage.database(), WRITE_KEYS=NEW)
    return not_found(stage, web, stage.deploy("script", stage.database(), service="report", READ_KEYS=OLD))


@book.variant(group=EXPENSES, services=("web", "worker"))
def one_column_two_forms(stage: Stage) -> str:
    """Both use user_id; the web process stores the SHA-256 in it, the worker looks for the bare id."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS="user_id:sha256")
    return not_found(stage, web, stage.deploy("worker", stage.database(), READ_KEYS=OLD))


@book.variant(on=BOTH, group=EXPENSES, services=("web", "worker"))
def upper_case_hash(stage: Stage) -> str:
    """The web process stores the hash in capitals."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS="user_id_hash:upper")
    return not_found(stage, web, stage.deploy("worker", stage.database(), READ_KEYS=NEW))


@book.variant(group=EXPENSES, services=("web", "worker"))
def sum_over_nothing(stage: Stage) -> str:
    """The reader adds up in the database, and gets a row whatever it finds."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS=OLD)
    return not_found(stage, web, stage.deploy("worker", stage.database(), READ_KEYS=NEW), summary="total")


@book.variant(group=EXPENSES, services=("web", "worker"))
def nobody_is_bound(stage: Stage) -> str:
    """The writer runs under zero-code and tells nothing of its users but what its statements say."""
    web = stage.deploy("zero_code", stage.database(), WRITE_KEYS=OLD)
    return not_found(stage, web, stage.deploy("worker", stage.database(), READ_KEYS=NEW))


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("the column that is read is filled", on=BOTH)
def both_columns_written(stage: Stage) -> str:
    """Every row carries both keys."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS=f"{OLD},{NEW}")
    by_hash = stage.deploy("worker", stage.database(), READ_KEYS=NEW)
    by_id = stage.deploy("worker", stage.database(), service="cron", READ_KEYS=OLD)
    user = stage.user()
    web("store_expense", user=user)
    stage.expect(by_hash("summary", user=user)["count"] == 1, "found by its hash")
    stage.expect(by_id("summary", user=user)["count"] == 1, "found by its id")
    return user


@book.twin("the same digits are the same key", on=BOTH)
def integer_and_text(stage: Stage) -> str:
    """The web process binds a number, the worker the same digits as text."""
    web, worker = stage.deploy("flask", stage.database()), stage.deploy("worker", stage.database())
    user = stage.user()
    web("set_budget", user=user, cents=50_000)
    stage.expect(worker("budget", user=user)["cents"] == 50_000, "the budget is found")
    return user


@book.twin("both sides change their key, one shortly after the other", on=BOTH)
def rolling_deploy(stage: Stage) -> str:
    """The next version writes and reads the hash; while it is deployed, the old worker finds nothing new."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS=OLD)
    worker = stage.deploy("worker", stage.database(), READ_KEYS=OLD)
    user = stage.user()
    web("store_expense", user=user)
    stage.expect(worker("summary", user=user)["count"] == 1, "before the deploy")
    web = stage.deploy("flask", stage.database(), version="2.0", WRITE_KEYS=NEW)
    other = stage.user()
    web("store_expense", user=other)
    stage.expect(worker("summary", user=other)["count"] == 0, "in the middle of it")
    worker = stage.deploy("worker", stage.database(), version="2.0", READ_KEYS=NEW)
    stage.expect(worker("summary", user=other)["count"] == 1, "after the deploy")
    return other


@book.twin("a row that is looked up by its own number is found", verdict=None)
def admin_screen(stage: Stage) -> None:
    """Rows are written by user, and an admin screen looks them up by their primary key."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS=OLD, READ_KEYS=OLD)
    admin = stage.deploy("flask", stage.database(), service="admin", BIND="no")
    user = stage.user()
    web("store_expense", user=user)
    stage.expect(admin("expense_by_id")["note"] == "lunch", "the row is found")
    stage.expect(web("summary", user=user)["count"] == 1, "and by its user")


@book.twin("one of the two is filled", on=BOTH)
def read_by_either_key(stage: Stage) -> str:
    """Old rows have one key, and the read accepts both."""
    web = stage.deploy("flask", stage.database(), WRITE_KEYS=OLD)
    worker = stage.deploy("worker", stage.database(), READ_KEYS=f"{OLD},{NEW}")
    user = stage.user()
    web("store_expense", user=user)
    stage.expect(worker("summary", user=user)["count"] == 1, "found by its old key")
    return user


@book.twin("the migration renamed it, and all readers moved", on=BOTH)
def renamed_column(stage: Stage) -> str:
    """user_id becomes account_id: a migration, then new versions of both sides."""
    before = {"KEY_COLUMN": "user_id"}
    after = {"KEY_COLUMN": "account_id"}
    web = stage.deploy("flask", stage.database(), settings=before)
    worker = stage.deploy("worker", stage.database(), settings=before)
    user = stage.user()
    web("store_by_name", user=user)
    stage.expect(worker("list_by_name", user=user)["count"] == 1, "before the migration")
    stage.deploy("script", stage.database(), service="migrate")("rename_key", old="user_id", new="account_id")
    web = stage.deploy("flask", stage.database(), version="2.0", settings=after)
    worker = stage.deploy("worker", stage.database(), version="2.0", settings=after)
    stage.expect(worker("list_by_name", user=user)["count"] == 1, "after the migration")
    web("store_by_name", user=user)
    stage.expect(worker("list_by_name", user=user)["count"] == 2, "and with a new row")
    return user
