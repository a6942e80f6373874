"""The transaction of a statement that commits by itself: begun, decided and settled at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueline.instrumentation import ambient
from trueline.instrumentation.semconv import Reason
from trueline.instrumentation.transaction import Cause, Transaction

if TYPE_CHECKING:
    from trueline.instrumentation.records import StatementRecord


def alone(
    record: StatementRecord,
    *,
    isolation_level: str,
    orm_session_id: str,
    connection_lost: bool,
    may_halt: bool,
) -> Transaction[StatementRecord]:
    """Return the settled transaction of one statement.

    ``connection_lost``: it failed, and nobody knows whether the server had carried it out before.
    ``may_halt``: where it failed, rows before the failing one may have been kept.
    """
    transaction: Transaction[StatementRecord] = Transaction(ambient.new_transaction_id(), autocommit=True)
    transaction.isolation_level = isolation_level
    transaction.orm_session_id = orm_session_id
    transaction.add(record)
    if record.error is None:
        transaction.committed()
        return transaction
    transaction.statement_failed(aborts=False)
    cause = Cause(record.error.error_type)
    if connection_lost:
        transaction.commit_failed(connection_lost=True, cause=cause)
    elif may_halt:
        transaction.ended_unseen()
    else:
        transaction.rolled_back(Reason.EXCEPTION, cause)
        transaction.settle()
    return transaction
