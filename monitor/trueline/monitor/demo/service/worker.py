"""The worker process: computes the summaries that users ask for and imports merchants' receipts.

It takes one job a line (JSON) from its queue, which is standard input here, and prints one answer a line.
Configured by its environment:

    DATABASE_URL          the database with the users' expenses
    RECEIPTS_DATABASE_URL the database with the merchants' receipts, where it is not the same
    READ_KEY              key column that summaries filter: `user_id`, `user_id_hash`, or `either`
    DUPLICATE_RECEIPTS    what to do with a receipt that is known: `replace` it, or `keep` the first
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

from opentelemetry.trace import SpanKind, get_tracer
from sqlalchemy import ColumnElement, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError

from trueline.instrumentation import Domain, IdentityConfig, bind_identity, instrument
from trueline.monitor.demo.service.tables import Databases, Expense, Receipt, hash_of

log = logging.getLogger("expenses.worker")

instrument(
    service_name="expenses-worker",
    identities=IdentityConfig(
        # A receipt's number is no secret: declared plain, it can be read in findings.
        columns={"receipts.receipt_number": "receipt"},
        domains={"receipt": Domain(plain=True)},
    ),
)

#: Budgets are keyed by number, users come as text; PostgreSQL compares the two by value.
BUDGET = text("SELECT limit_cents FROM budgets WHERE user_id = :user_id ORDER BY id DESC LIMIT 1")

READ_KEY = os.environ.get("READ_KEY", "user_id_hash")
DUPLICATE_RECEIPTS = os.environ.get("DUPLICATE_RECEIPTS", "replace")

tracer = get_tracer("expenses.worker")
databases = Databases("DATABASE_URL")
receipts = Databases("RECEIPTS_DATABASE_URL", "DATABASE_URL")


def summarise(psid: str) -> dict[str, Any]:
    """What a user has spent, and what is left of the budget."""
    with bind_identity(psid), databases.session_of(psid) as session:
        spent = session.scalars(select(Expense.amount_cents).where(key_filter(psid))).all()
        limit = session.scalar(BUDGET, {"user_id": psid})
        total = sum(spent)
        return {"count": len(spent), "total_cents": total, "left_cents": limit and limit - total}


def key_filter(psid: str) -> ColumnElement[bool]:
    """The rows of one user, by the key that this deployment reads."""
    if READ_KEY == "user_id":
        return Expense.user_id == psid
    if READ_KEY == "user_id_hash":
        return Expense.user_id_hash == hash_of(psid)
    return or_(Expense.user_id == psid, Expense.user_id_hash == hash_of(psid))


def import_receipt(merchant: str, number: str, amount_cents: int) -> bool:
    """Store one receipt; False where the database refused it. One bad receipt must not stop an import."""
    statement = insert(Receipt).values(merchant=merchant, receipt_number=number, amount_cents=amount_cents)
    if DUPLICATE_RECEIPTS == "keep":
        statement = statement.on_conflict_do_nothing()
    else:
        statement = statement.on_conflict_do_update(
            index_elements=["merchant", "receipt_number"], set_={"amount_cents": amount_cents}
        )
    try:
        with receipts.session() as session, session.begin():
            session.execute(statement)
    except IntegrityError as error:
        log.error("receipt not stored: %s", str(error.orig).splitlines()[0])
        return False
    return True


def find_receipt(merchant: str, number: str) -> int | None:
    """The amount on a receipt, or None."""
    with receipts.session() as session:
        return session.scalar(
            select(Receipt.amount_cents).where(Receipt.merchant == merchant, Receipt.receipt_number == number)
        )


def do(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job of the queue."""
    with tracer.start_as_current_span(f"{job['job']} job", kind=SpanKind.CONSUMER):
        match job["job"]:
            case "summary":
                return summarise(job["psid"])
            case "receipts":
                return {"stored": [import_receipt(**receipt) for receipt in job["receipts"]]}
            case "receipt":
                return {"amount_cents": find_receipt(job["merchant"], job["number"])}
            case other:
                raise ValueError(f"unknown job {other!r}")


def main() -> None:
    """Work until the queue is closed."""
    logging.basicConfig(level=logging.INFO)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(do(json.loads(line))), flush=True)
    databases.close()
    receipts.close()


if __name__ == "__main__":
    main()
