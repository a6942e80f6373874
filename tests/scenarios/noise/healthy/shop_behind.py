"""Behind the shop: jobs, reports on a replica, admin screens, tables that triggers fill."""
# ruff: noqa: SIM117 - a transaction stands inside its request

from __future__ import annotations

from typing import Final

from scenarios.noise.company import (
    SHOP_ADMIN,
    SHOP_REPORTS,
    SHOP_WEB,
    SHOP_WORKER,
)
from scenarios.noise.play import Play

_SERIALIZATION: Final = "sqlalchemy.exc.OperationalError"


def export_ordered() -> Play:
    """The request writes nothing; a linked job does, later."""
    play = Play("export ordered", 3)
    with play.request(SHOP_WEB, "POST /exports", bound=("user",), status=202):
        play.wait(3)
    play.wait(2500)
    with play.job(SHOP_WORKER, "build_export", bound=("user",), trace=0) as entry:
        with entry.transaction() as work:
            work.select("orders", "user_id integer user", rows=20)
            work.insert("exports", "user_id integer user")
    return play


def job_retried() -> Play:
    """A deadlock; the queue runs the job again, and it lands."""
    play = Play("job retried", 1)
    with (
        play.job(
            SHOP_WORKER, "recalculate", bound=("user",), outcome="retried", error=_SERIALIZATION
        ) as entry,
        entry.transaction() as work,
    ):
        work.update("loyalty", "user_id integer user")
        work.refused("loyalty_log", "user_id integer user", code="40P01")
        work.rollback("exception", _SERIALIZATION)
    play.wait(1500)
    with play.job(SHOP_WORKER, "recalculate", bound=("user",)) as entry, entry.transaction() as work:
        work.update("loyalty", "user_id integer user")
        work.insert("loyalty_log", "user_id integer user")
    return play


def job_failed() -> Play:
    """A job fails, and its queue is told."""
    play = Play("job failed", 1)
    with (
        play.job(
            SHOP_WORKER, "sync_addresses", bound=("user",), outcome="failed", error="builtins.ValueError"
        ) as entry,
        entry.transaction() as work,
    ):
        work.insert("address_syncs", "user_id integer user")
        work.rollback("exception", "builtins.ValueError")
    return play


def report_read() -> Play:
    """A physical replica answers: the same database."""
    play = Play("report read on the replica", 50)
    with (
        play.request(SHOP_REPORTS, "GET /reports/orders", bound=("user+7",)) as entry,
        entry.transaction() as work,
    ):
        work.select("orders", "user_id integer user", rows=9)
        work.select("payments", "user_id integer user", rows=4)
        work.rollback("not_committed")
    return play


def summary_read() -> Play:
    """A table that a trigger fills, and a materialized view: nobody is seen writing them."""
    play = Play("summary read", 30)
    with (
        play.request(SHOP_REPORTS, "GET /reports/summary", bound=("user",)) as entry,
        entry.transaction() as work,
    ):
        work.select("order_totals", "user_id integer user", rows=1)
        work.select("monthly_sales_mv", by="month", rows=12)
        work.rollback("not_committed")
    return play


def admin_looks_up() -> Play:
    """By primary key, by the other key, by both: the one who asks is not the one who is asked for."""
    play = Play("admin screen", 4)
    with play.request(SHOP_ADMIN, "GET /admin/users/{id}", bound=("user+100000",)) as entry:
        with entry.transaction() as work:
            work.select("users", "email_hash sha256 user", rows=1)
            work.select("users", "id integer user", "email_hash sha256 user", rows=1)
            work.select("orders", by="id", rows=1)
            work.select("payments", by="order_id", rows=1)
            work.rollback("not_committed")
    return play


def admin_changes() -> Play:
    """An update by primary key, of whoever."""
    play = Play("admin changes", 2)
    with play.request(SHOP_ADMIN, "POST /admin/orders/{id}", bound=("user+100000",)) as entry:
        with entry.transaction() as work:
            work.select("orders", by="id", rows=1)
            work.update("orders", by="id", owner="user")
    return play


def totals_built() -> Play:
    """A batch job: longer than statements are held, so some leave as open and are settled later."""
    play = Play("totals built", 1)
    with play.job(SHOP_WORKER, "build_totals") as entry, entry.transaction() as work:
        work.select("orders", rows=5000, took=900)
        for _ in range(6):
            work.insert("daily_totals", rows=50)
            play.wait(500)
        work.update("daily_totals", by="day", rows=300)
    return play


def totals_read() -> Play:
    """What the batch job has built."""
    play = Play("totals read", 3)
    with play.request(SHOP_ADMIN, "GET /admin/totals") as entry, entry.transaction() as work:
        work.select("daily_totals", by="day", rows=30)
        work.rollback("not_committed")
    return play


PLAYS: Final = (
    export_ordered,
    job_retried,
    job_failed,
    report_read,
    summary_read,
    admin_looks_up,
    admin_changes,
    totals_built,
    totals_read,
)
