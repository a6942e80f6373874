"""Serializable transactions, long ones, and a service that samples."""
# ruff: noqa: SIM117 - a transaction stands inside its request

from __future__ import annotations

from typing import Final

from scenarios.noise.company import (
    LEDGER_API,
    LEDGER_BATCH,
)
from scenarios.noise.play import Play
from scenarios.noise.work import Work

_SERIALIZATION: Final = "sqlalchemy.exc.OperationalError"


def _transfer(work: Work) -> None:
    work.select("accounts", "user_id integer user", rows=1, lock=True)
    work.update(
        "accounts",
        "user_id integer user",
        text="UPDATE accounts SET balance = balance - %(x)s WHERE user_id = %(u)s",
    )
    work.rows[-1].columns["self_update"] = True
    work.insert("transfers", "sender_id integer user", "receiver_id integer user+1")


def transferred() -> Play:
    """Two people in one row."""
    play = Play("transfer", 12)
    with play.request(LEDGER_API, "POST /transfers", bound=("user",), status=201) as entry:
        with entry.transaction(isolation="serializable") as work:
            _transfer(work)
    return play


def transfer_retried() -> Play:
    """Serialization errors, twice, then it lands."""
    play = Play("transfer, retried", 2)
    with play.request(LEDGER_API, "POST /transfers", bound=("user",), status=201) as entry:
        for attempt in range(3):
            with entry.transaction(isolation="serializable") as work:
                _transfer(work)
                if attempt < 2:
                    work.refused("audit", "user_id integer user", code="40001")
                    work.rollback("exception", _SERIALIZATION)
                else:
                    work.insert("audit", "user_id integer user")
            play.wait(40 * (attempt + 1))
    return play


def balance_read() -> Play:
    """Read by either of the two people."""
    play = Play("balance read", 100)
    with play.request(LEDGER_API, "GET /balance", bound=("user",)) as entry, entry.transaction() as work:
        work.select("accounts", "user_id integer user", rows=1)
        work.select("transfers", "receiver_id integer user", rows=5)
        work.rollback("not_committed")
    return play


def interest_paid() -> Play:
    """A transaction of minutes: its statements leave as open, and are settled in the end."""
    play = Play("interest paid", 1)
    with play.script(LEDGER_BATCH, "interest") as entry, entry.transaction() as work:
        for _ in range(10):
            work.update("accounts", by="id", rows=500)
            play.wait(9000)
    return play


PLAYS: Final = (
    transferred,
    transfer_retried,
    balance_read,
    interest_paid,
)
