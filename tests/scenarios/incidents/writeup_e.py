"""Write-up E: a field-photo monitor lost four drops in a week to a constraint, and nobody noticed."""

from __future__ import annotations

from scenarios.incidents.constraint_violation_burst import ALSO, PLAIN
from scenarios.scenario import BOTH, Book, Expected, Whom
from scenarios.stage import Stage

book = Book("writeup_e", verdict="commit")

LOST = ("DR-1734", "DR-1741", "DR-1756", "DR-1760")
STORED = [f"DR-{number}" for number in range(1730, 1765)]
FINDING = Expected(
    "constraint_violation_burst",
    {"table": "drops", "service": "photo-monitor"},
    services=("photo-monitor",),
    tells=(*(f"drop:{number}" for number in LOST), "drop_number"),
)


@book.variant(FINDING, on=BOTH, also=ALSO)
def four_lost_numbers(stage: Stage) -> Whom:
    """Four numbers of last month come again, are refused, and the monitor goes on: all four are named."""
    stage.declare(PLAIN)
    database = stage.database()
    stage.sql(database, "CREATE UNIQUE INDEX drops_number_key ON drops (drop_number)")
    stage.deploy("script", database, service="photo-monitor", days_ago=6.9)(
        "take_drops", numbers=STORED, day="2026-10-16"
    )
    for lost, ago in zip(LOST, (6.0, 4.2, 2.1, 0.0), strict=True):
        monitor = stage.deploy("script", database, service="photo-monitor", version="1.9", days_ago=ago)
        new = f"DR-{1800 + int(ago * 10)}"
        stored = monitor("take_drops", numbers=[lost, new], day="2026-11-16")["stored"]
        stage.expect(stored == [new], "one is refused, and the monitor goes on")
    return Whom(LOST[0], "drop")


@book.twin("the constraint is right now", on=BOTH)
def after_the_mend(stage: Stage) -> Whom:
    """Number and day are unique together: the numbers of last month are stored again."""
    stage.declare(PLAIN)
    monitor = stage.deploy("worker", stage.database(), service="photo-monitor", version="2.0")
    monitor("take_drops", numbers=list(LOST), day="2026-10-16")
    stage.expect(
        len(monitor("take_drops", numbers=list(LOST), day="2026-11-16")["stored"]) == 4, "all are stored"
    )
    stage.expect(monitor("find_drop", number=LOST[0])["photos"] == 1, "and found")
    return Whom(LOST[0], "drop")
