"""Write-ups E and C: a constraint refuses rows that are right, and nobody adds the errors up."""

from __future__ import annotations

from scenarios.databases import Database
from scenarios.scenario import BOTH, Book, Whom
from scenarios.stage import Stage

book = Book("constraint_violation_burst", verdict="commit")

DROPS = {"table": "drops"}
#: The error is caught and logged, and the caller is told that all is well.
ALSO = ("acknowledged_but_lost", "expected_write_missing", "log_claims_write", "missing_counterpart")
PLAIN = """
version: 1
domains: {drop: {plain: true}}
columns: {drops.drop_number: drop}
"""
NUMBERS = [f"DR-{number}" for number in range(2041, 2046)]
MONDAY, TUESDAY = "2026-11-16", "2026-11-17"


def strict(stage: Stage) -> Database:
    """A database in which a number may come once, though only number and day together have to be unique."""
    stage.declare(PLAIN)
    database = stage.database()
    stage.sql(database, "CREATE UNIQUE INDEX drops_number_key ON drops (drop_number)")
    return database


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    on=BOTH,
    group=DROPS,
    services=("worker",),
    versions=("1.9",),
    also=ALSO,
    tells=("DR-2041", "DR-2045", "drop_number"),
)
def stricter_than_thought(stage: Stage) -> Whom:
    """The numbers of Monday come again on Tuesday, and a constraint allows each number once."""
    worker = stage.deploy("worker", strict(stage), version="1.9")
    stage.expect(
        worker("take_drops", numbers=NUMBERS, day=MONDAY)["stored"] == NUMBERS, "Monday's are stored"
    )
    stage.expect(worker("take_drops", numbers=NUMBERS, day=TUESDAY)["stored"] == [], "Tuesday's are refused")
    return Whom(NUMBERS[0], "drop")


@book.variant(on=BOTH, group=DROPS, services=("monitor",), also=ALSO, tells=("DR-2041", "DR-2044"))
def four_in_a_week(stage: Stage) -> Whom:
    """Every second day one drop is refused: four in a week."""
    database = strict(stage)
    four = NUMBERS[:4]
    stage.deploy("worker", database, service="monitor", days_ago=6.5)("take_drops", numbers=four, day=MONDAY)
    for number, ago in zip(four, (6, 4, 2, 0), strict=True):
        monitor = stage.deploy("script", database, service="monitor", days_ago=ago)
        stage.expect(monitor("take_drops", numbers=[number], day=TUESDAY)["stored"] == [], "it is refused")
    return Whom(four[0], "drop")


@book.variant(on=BOTH, group=DROPS, services=("web",), also=ALSO, tells=("ON CONFLICT",))
def upsert_that_another_constraint_breaks(stage: Stage) -> Whom:
    """The upsert knows number and day; the other constraint knows the number alone."""
    web = stage.deploy("flask", strict(stage), ON_DUPLICATE="update")
    web("take_drops", numbers=NUMBERS, day=MONDAY)
    stage.expect(web("take_drops", numbers=NUMBERS, day=TUESDAY)["stored"] == [], "Tuesday's are refused")
    return Whom(NUMBERS[0], "drop")


@book.variant(on=BOTH, group=DROPS, services=("script",), verdict=None, tells=("seen in the log only",))
def told_by_the_log_only(stage: Stage) -> None:
    """An importer with a raw driver, whose statements nobody sees, logs its errors."""
    script = stage.deploy("logs_only", strict(stage))
    script("take_drops", numbers=NUMBERS, day=MONDAY)
    stage.expect(script("take_drops", numbers=NUMBERS, day=TUESDAY)["stored"] == [], "Tuesday's are refused")


@book.variant(on=BOTH, group=DROPS, services=("worker",), also=ALSO, tells=("A column without a default",))
def deploy_without_its_default(stage: Stage) -> Whom:
    """A migration adds a NOT NULL column without a default; the old version does not fill it."""
    stage.declare(PLAIN)
    database = stage.database()
    worker = stage.deploy("worker", database)
    worker("take_drops", numbers=NUMBERS[:1], day=MONDAY)
    stage.sql(database, "DELETE FROM drops")
    if database.kind == "postgresql":
        stage.sql(database, "ALTER TABLE drops ADD COLUMN crew varchar(20) NOT NULL")
    else:
        stage.sql(
            database,
            "DROP TABLE drops",
            "CREATE TABLE drops (id INTEGER PRIMARY KEY, drop_number TEXT, day TEXT, photos INT, "
            "crew TEXT NOT NULL)",
        )
    stage.expect(worker("take_drops", numbers=NUMBERS, day=TUESDAY)["stored"] == [], "all are refused")
    return Whom(NUMBERS[1], "drop")


@book.variant(
    on=BOTH, group=DROPS, services=("worker",), also=ALSO, tells=("DR-2041", "stored later by a retry: 2")
)
def two_landed_by_a_retry(stage: Stage) -> Whom:
    """Somebody drops the constraint and sends two of the refused numbers again."""
    database = strict(stage)
    worker = stage.deploy("worker", database)
    worker("take_drops", numbers=NUMBERS, day=MONDAY)
    stage.expect(worker("take_drops", numbers=NUMBERS, day=TUESDAY)["stored"] == [], "Tuesday's are refused")
    stage.sql(database, "DROP INDEX drops_number_key")
    stage.expect(len(worker("take_drops", numbers=NUMBERS[3:], day=TUESDAY)["stored"]) == 2, "two land")
    return Whom(NUMBERS[0], "drop")


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("the database refused nothing", on=BOTH)
def on_conflict_do_nothing(stage: Stage) -> Whom:
    """An import is repeated, and says what to do with what is there."""
    stage.declare(PLAIN)
    worker = stage.deploy("worker", stage.database(), ON_DUPLICATE="nothing")
    for _ in range(3):
        stage.expect(worker("take_drops", numbers=NUMBERS, day=MONDAY)["stored"] == NUMBERS, "no error")
    stage.expect(worker("find_drop", number=NUMBERS[0])["photos"] == 1, "a drop is found")
    return Whom(NUMBERS[0], "drop")


@book.twin("the message was stored the first time", on=BOTH)
def one_message_five_times(stage: Stage) -> str:
    """The platform delivers a message five times; the first one is stored, the rest meet its unique id."""
    web, user = stage.deploy("flask", stage.database()), stage.user()
    for _ in range(5):
        stage.expect(web("store_expense", user=user, message=f"m-{user}")["stored"], "all are taken")
    stage.expect(web("summary", user=user)["count"] == 1, "the expense is stored once")
    return user


@book.twin("in test environments constraints are broken on purpose", on=BOTH, verdict=None)
def test_environment(stage: Stage) -> None:
    """A test suite checks that the constraint refuses what it is to refuse."""
    worker = stage.deploy("worker", strict(stage), environment="ci")
    worker("take_drops", numbers=NUMBERS, day=MONDAY)
    stage.expect(worker("take_drops", numbers=NUMBERS, day=TUESDAY)["stored"] == [], "all are refused")


@book.twin("a burst has at least three", on=BOTH, verdict="commit", also=("acknowledged_but_lost",))
def two_by_accident(stage: Stage) -> Whom:
    """Two rows are entered twice by hand, and refused."""
    stage.declare(PLAIN)
    web = stage.deploy("flask", stage.database(), ON_DUPLICATE="answer")
    web("take_drops", numbers=NUMBERS[:2], day=MONDAY)
    for number in NUMBERS[:2]:
        stage.expect(web.ask("take_drops", numbers=[number], day=MONDAY).status == 409, "the caller is told")
    return Whom(NUMBERS[0], "drop")
