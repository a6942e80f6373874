"""Rows that are there already: get or create, upserts, second deliveries, dry runs, what savepoints undo."""

from __future__ import annotations

from typing import Final

from scenarios.noise.company import (
    SHOP,
    SHOP_WEB,
    SHOP_WORKER,
)
from scenarios.noise.play import Play

_INTEGRITY: Final = "sqlalchemy.exc.IntegrityError"


def got_or_created() -> Play:
    """Insert first, and look the row up where it is there already."""
    play = Play("get or create", 3)
    with play.request(SHOP_WEB, "POST /subscriptions", bound=("user",)) as entry, entry.transaction() as work:
        work.refused(
            *("subscriptions", "user_id integer user"),
            constraint="subscriptions_user_id_key",
            columns=["user_id"],
        )
        work.undo(1)
        work.select("subscriptions", "user_id integer user", rows=1)
        work.insert("visits", "user_id integer user")
    return play


def got_or_created_anew() -> Play:
    """The same, and the row is new."""
    play = Play("get or create, new", 2)
    with play.request(SHOP_WEB, "POST /subscriptions", bound=("user",)) as entry, entry.transaction() as work:
        work.insert("subscriptions", "user_id integer user")
        work.insert("visits", "user_id integer user")
    return play


def inserted_else_updated() -> Play:
    """An upsert by hand: the insert is refused within a savepoint, and the row updated instead."""
    play = Play("savepoint probe", 2)
    with play.request(SHOP_WEB, "PUT /address", bound=("user",)) as entry, entry.transaction() as work:
        work.refused("settings", "user_id integer user", constraint="settings_pkey", columns=["user_id"])
        work.undo(1)
        work.update("settings", "user_id integer user")
    return play


def probe_undone() -> Play:
    """What a savepoint undoes on purpose, without an error, within a transaction that commits."""
    play = Play("savepoint undone", 2)
    with play.request(SHOP_WEB, "POST /baskets/quote", bound=("user",)) as entry, entry.transaction() as work:
        work.insert("quotes", "user_id integer user")
        work.insert("quote_lines", owner="user")
        work.undo(1)
    return play


def payment_delivered_twice() -> Play:
    """A message comes a second time: the constraint on its id says so, and all is well."""
    play = Play("payment delivered twice", 2)
    for delivery in (0, 1):
        with (
            play.message(
                SHOP_WORKER, "payment.succeeded", bound=("user", "message"), trace=delivery
            ) as entry,
            entry.transaction() as work,
        ):
            if delivery:
                work.refused(
                    *("receipts", "message_id raw message", "user_id integer user"),
                    constraint="receipts_message_id_key",
                    columns=["message_id"],
                )
                work.rollback("exception", _INTEGRITY)
            else:
                work.insert("receipts", "message_id raw message", "user_id integer user")
        play.wait(4000)
    return play


def dry_run() -> Play:
    """Writes, looks at what would come of it, and rolls back on purpose."""
    play = Play("dry run", 1)
    with play.script(SHOP_WORKER, "import --dry-run") as entry, entry.transaction() as work:
        for _ in range(4):
            work.insert("imports", "user_id integer user")
        work.select("imports", rows=4)
        work.rollback("explicit")
    return play


def tests_run() -> Play:
    """Whatever a test suite does, it is nobody's incident."""
    play = Play("test run", 3, environment="ci", test=True)
    with play.script(SHOP_WEB, "pytest") as entry:
        with entry.transaction() as work:
            work.refused("orders", "user_id integer user", constraint="orders_key", columns=["number"])
            work.rollback("exception", _INTEGRITY)
        with entry.transaction() as work:
            work.insert("orders", "user_id integer user")
            work.rollback("not_committed")
        with entry.transaction(SHOP) as work:
            work.select("orders", "user_id_hash sha256 user", rows=0)
            work.rollback("not_committed")
    return play


PLAYS: Final = (
    got_or_created,
    got_or_created_anew,
    inserted_else_updated,
    probe_undone,
    payment_delivered_twice,
    dry_run,
    tests_run,
)
