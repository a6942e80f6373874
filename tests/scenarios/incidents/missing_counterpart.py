"""Write-up E: the drop is there, and the quality check that belongs to it is not."""

from __future__ import annotations

from scenarios.scenario import BOTH, Book, Expected, Whom
from scenarios.stage import Application, Stage

PLAIN = """\
domains: {drop: {plain: true}}
columns: {drops.drop_number: drop, quality_checks.drop_number: drop}
"""
PAIR = "counterparts:\n  - {table: drops, counterpart: quality_checks, domain: drop, within: %s}\n"
QUICK = PLAIN + PAIR % "2s"
#: When it is due, and a little more.
DUE = 3.0
book = Book("missing_counterpart", verdict="commit", declares=QUICK)

CHECKS = {"table": "drops", "counterpart_table": "quality_checks", "domain": "drop"}
#: People rather than numbers: who has said something at onboarding has a budget.
ONBOARDED = """\
columns: {profiles.session_id: user}
derivations: {clerk_to_int: "scenarios.applications.operations.onboarding:clerk_to_int"}
counterparts:
  - {table: profiles, counterpart: budgets, domain: user, within: 2s}
"""


def checked(stage: Stage, bot: Application, monitor: Application, number: str) -> None:
    """A drop with its check."""
    bot("take_drop", number=number)
    monitor("check_drop", number=number, photo=f"{number}.jpg")
    stage.expect(monitor("find_check", number=number)["state"] == "open", "the check is there")


# -- incidents -------------------------------------------------------------------------------------------


@book.variant(
    Expected("acknowledged_but_lost", services=("photo-monitor",)),
    Expected(
        "missing_counterpart",
        CHECKS,
        services=("photo-monitor",),
        versions=("1.9",),
        tells=("DR-2042", "refused by"),
    ),
    on=BOTH,
    also=("constraint_violation_burst", "expected_write_missing"),
)
def photo_seen_before(stage: Stage) -> Whom:
    """One photo shows two drops; the second check is refused, and the monitor goes on."""
    monitor = stage.deploy("worker", stage.database(), service="photo-monitor", version="1.9")
    for number, photo in (("DR-2041", "a.jpg"), ("DR-2042", "a.jpg"), ("DR-2043", "c.jpg")):
        monitor("take_and_check", number=number, photo=photo)
    stage.wait(DUE)
    stage.expect(monitor("find_drop", number="DR-2042")["photos"] == 1, "the drop is there")
    stage.expect(monitor("find_check", number="DR-2042")["state"] is None, "its check is not")
    return Whom("DR-2042", "drop")


@book.variant(
    on=BOTH,
    group=CHECKS,
    services=("bot", "photo-monitor"),
    tells=("DR-2042", "no insert was seen", "whether it still takes its work"),
    verdict=None,
)
def monitor_that_stopped(stage: Stage) -> None:
    """The async bot goes on after the monitor has been killed."""
    bot = stage.deploy("fastapi", stage.database(), service="bot")
    monitor = stage.deploy("worker", stage.database(), service="photo-monitor")
    bot("take_drop_async", number="DR-2041")
    monitor("check_drop", number="DR-2041", photo="a.jpg")
    stage.wait(1.5)
    monitor.kill()
    for number in ("DR-2042", "DR-2043"):
        bot("take_drop_async", number=number)
    stage.wait(DUE)


@book.variant(
    on=BOTH,
    group=CHECKS,
    services=("bot", "photo-monitor"),
    tells=("DR-2042", "rolled back"),
    also=("acknowledged_but_lost", "expected_write_missing"),
)
def rolled_back_in_its_job(stage: Stage) -> Whom:
    """The job that makes the check cannot read what the crew wrote, after it has stored the row."""
    monitor = stage.deploy("worker", stage.database(), service="photo-monitor")
    bot = stage.deploy("flask", stage.database(), service="bot", QUEUE=monitor.address)
    bot("take_drop", number="DR-2041", photo="a.jpg")
    bot("take_drop", number="DR-2042", photo="b.jpg", review="{")
    stage.eventually(lambda: monitor("find_check", number="DR-2041")["state"] == "open", "one is checked")
    stage.wait(DUE)
    stage.expect(monitor("find_check", number="DR-2042")["state"] is None, "the other one is not")
    return Whom("DR-2042", "drop")


@book.variant(
    Expected("acknowledged_but_lost", services=("web",)),
    Expected(
        "missing_counterpart",
        {"table": "profiles", "counterpart_table": "budgets", "domain": "user"},
        services=("web",),
        tells=("refused by",),
    ),
    on=BOTH,
    also=("constraint_violation_burst", "expected_write_missing"),
    declares=ONBOARDED,
)
def onboarded_without_budget(stage: Stage) -> str:
    """Two persistence paths: the profile is stored, the budget breaks a CHECK, and nobody is told."""
    web = stage.deploy("flask", stage.database())
    web("onboard", user=stage.user(), cents=5000)
    user = stage.user()
    web("onboard", user=user, cents=-1)
    stage.wait(DUE)
    stage.expect(web("load_profile", user=user)["goals"] == ["save"], "the profile is there")
    stage.expect(web("budget", user=user)["cents"] is None, "the budget is not")
    return user


# -- benign twins ----------------------------------------------------------------------------------------


@book.twin("it is not due yet", on=BOTH, declares=PLAIN + PAIR % "1h")
def not_yet_due(stage: Stage) -> Whom:
    """Checks are made once an hour."""
    monitor = stage.deploy("worker", stage.database(), service="photo-monitor")
    bot = stage.deploy("flask", stage.database(), service="bot")
    checked(stage, bot, monitor, "DR-2041")
    bot("take_drop", number="DR-2042")
    stage.wait(DUE)
    stage.expect(bot("find_drop", number="DR-2042")["photos"] == 1, "the drop is there")
    return Whom("DR-2042", "drop")


@book.twin("it landed on the second try", on=BOTH, also=("constraint_violation_burst",))
def second_try(stage: Stage) -> Whom:
    """A photo that was seen before is left out on the second try."""
    monitor = stage.deploy("worker", stage.database(), service="photo-monitor", RETRY="yes")
    for number in ("DR-2041", "DR-2042"):
        monitor("take_and_check", number=number, photo="a.jpg")
    stage.wait(DUE)
    stage.expect(monitor("find_check", number="DR-2042")["state"] == "open", "the check is there")
    return Whom("DR-2042", "drop")


@book.twin("the check came through the queue, in time", on=BOTH)
def by_the_queue(stage: Stage) -> Whom:
    """The bot hands each check to the monitor."""
    monitor = stage.deploy("worker", stage.database(), service="photo-monitor")
    bot = stage.deploy("flask", stage.database(), service="bot", QUEUE=monitor.address)
    for number in ("DR-2041", "DR-2042"):
        bot("take_drop", number=number, photo=f"{number}.jpg")
    stage.eventually(lambda: monitor("find_check", number="DR-2042")["state"] == "open", "it is checked")
    stage.wait(DUE)
    return Whom("DR-2042", "drop")


@book.twin("the row is gone again", on=BOTH, verdict=None)
def taken_back(stage: Stage) -> None:
    """A crew takes a drop back before anybody has checked it."""
    monitor = stage.deploy("worker", stage.database(), service="photo-monitor")
    bot = stage.deploy("flask", stage.database(), service="bot")
    checked(stage, bot, monitor, "DR-2041")
    bot("take_drop", number="DR-2042")
    bot("cancel_drop", number="DR-2042")
    stage.wait(DUE)
    stage.expect(bot("find_drop", number="DR-2042")["photos"] is None, "the drop is gone")


@book.twin("a statement that names nobody made them", on=BOTH)
def made_by_a_timer(stage: Stage) -> Whom:
    """A timer makes the checks that are missing, in one statement."""
    bot = stage.deploy("fastapi", stage.database(), service="bot")
    timer = stage.deploy("script", stage.database(), service="timer")
    manual = stage.deploy("flask", stage.database(), service="desk")
    checked(stage, manual, manual, "DR-2040")
    for number in ("DR-2041", "DR-2042"):
        bot("take_drop_async", number=number)
    timer("check_missing")
    stage.wait(DUE)
    stage.expect(manual("find_check", number="DR-2042")["state"] == "open", "the check is there")
    stage.expect(manual("find_drop", number="DR-2042")["photos"] == 1, "and the drop")
    return Whom("DR-2042", "drop")


@book.twin("its counterpart is older than all that is known", on=BOTH)
def old_drop(stage: Stage) -> Whom:
    """Another photo of a drop whose check was made before anybody watched."""
    stage.sql(
        stage.database(),
        "INSERT INTO drops (drop_number, day, photos) VALUES ('DR-1000', '2026-01-01', 1)",
        "INSERT INTO quality_checks (drop_number, photo, state) VALUES ('DR-1000', 'z.jpg', 'done')",
    )
    monitor = stage.deploy("worker", stage.database(), service="photo-monitor")
    bot = stage.deploy("flask", stage.database(), service="bot")
    checked(stage, bot, monitor, "DR-2041")
    bot("more_photos", number="DR-1000")
    stage.wait(DUE)
    stage.expect(bot("find_drop", number="DR-1000")["photos"] == 2, "the drop is there")
    return Whom("DR-1000", "drop")


@book.twin(
    "a trigger makes them, as was declared",
    on=BOTH,
    declares=QUICK + "tables: {quality_checks: {written_by: trigger}}\n",
)
def made_by_a_trigger(stage: Stage) -> Whom:
    """The database makes the check; people at a desk add some by hand."""
    insert = "INSERT INTO quality_checks (drop_number, state) VALUES (NEW.drop_number, 'open')"
    if stage.database().kind == "sqlite":
        trigger = [f"CREATE TRIGGER made AFTER INSERT ON drops BEGIN {insert}; END"]
    else:
        body = f"$$ BEGIN {insert}; RETURN NEW; END $$"
        trigger = [
            f"CREATE FUNCTION make() RETURNS trigger LANGUAGE plpgsql AS {body}",
            "CREATE TRIGGER made AFTER INSERT ON drops FOR EACH ROW EXECUTE FUNCTION make()",
        ]
    stage.sql(stage.database(), *trigger)
    bot = stage.deploy("flask", stage.database(), service="bot")
    desk = stage.deploy("worker", stage.database(), service="desk")
    desk("check_drop", number="DR-1000")
    bot("take_drop", number="DR-2042")
    stage.wait(DUE)
    stage.expect(desk("find_check", number="DR-2042")["state"] == "open", "the check is there")
    stage.expect(bot("find_drop", number="DR-2042")["photos"] == 1, "and the drop")
    return Whom("DR-2042", "drop")
