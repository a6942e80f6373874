"""Messages with business numbers, two databases in one process, and a service that only logs."""

from __future__ import annotations

from typing import Final

from scenarios.noise.company import (
    DROPS_BOARD,
    DROPS_BOT,
    DROPS_IMPORTER,
    QUALITY,
)
from scenarios.noise.play import Play


def drop_posted() -> Play:
    """A message with a business number, written to two databases by one process."""
    play = Play("drop posted", 10)
    with play.message(DROPS_BOT, "photo", bound=("message",)) as entry:
        with entry.transaction() as work:
            work.insert("drops", "number raw drop")
        with entry.transaction(QUALITY) as work:
            work.insert("quality_photos", "drop_number raw drop")
    return play


def drop_posted_again() -> Play:
    """The same message again: ON CONFLICT DO NOTHING."""
    play = Play("drop posted again", 2)
    for delivery in (0, 1):
        with play.message(DROPS_BOT, "photo", bound=("message",), trace=delivery) as entry:
            with entry.transaction() as work:
                work.insert("drops", "number raw drop", conflict="nothing", rows=1 - delivery)
            with entry.transaction(QUALITY) as work:
                work.insert("quality_photos", "drop_number raw drop", conflict="nothing", rows=1 - delivery)
        play.wait(2000)
    return play


def drop_shown() -> Play:
    """Posted, and a moment later shown by another service."""
    play = Play("drop posted and shown", 5)
    with play.message(DROPS_BOT, "photo", bound=("message",)) as entry, entry.transaction() as work:
        work.insert("drops", "number raw drop")
    play.wait(3000)
    with play.request(DROPS_BOARD, "GET /drops/{number}", trace=1) as entry, entry.transaction() as work:
        work.select("drops", "number raw drop", rows=1)
        work.rollback("not_committed")
    return play


def drops_listed() -> Play:
    """Read by number."""
    play = Play("drop read", 10)
    with play.job(DROPS_BOT, "check") as entry, entry.transaction() as work:
        work.select("drops", by="created_at", rows=20)
        work.rollback("not_committed")
    return play


def imported() -> Play:
    """A service that only logs; of its errors it says that they are none of a constraint."""
    play = Play("imported (log only)", 6)
    entry = play.job(DROPS_IMPORTER, "import")
    entry.began = play.now
    entry.says("imported 20 rows")
    return play


def import_deadlocked() -> Play:
    """Another error than a constraint's."""
    play = Play("deadlock (log only)", 1)
    entry = play.job(DROPS_IMPORTER, "import")
    entry.says("deadlock detected, trying again", "WARN", **{"db.response.status_code": "40P01"})
    return play


PLAYS: Final = (
    drop_posted,
    drop_posted_again,
    drop_shown,
    drops_listed,
    imported,
    import_deadlocked,
)
