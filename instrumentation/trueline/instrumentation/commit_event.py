"""`trueline.write.committed`: once a transaction that wrote, when an identity or a message is bound.

It says in the logs what applications like to log themselves before they can know it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import NonRecordingSpan, set_span_in_context

from trueline.instrumentation import semconv
from trueline.instrumentation.semconv import Outcome

if TYPE_CHECKING:
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.transaction import Transaction


def announce_commit(
    emit: Callable[..., None], transaction: Transaction[StatementRecord], key_id: str
) -> None:
    """Send the event of a settled transaction, if it is due. Called from Trueline's thread."""
    place = transaction.place
    if place is None or not transaction.tally.writes or transaction.outcome is not Outcome.COMMITTED:
        return
    bound = tuple(one.exported for one in place.first.bound if one.value)
    if not bound:
        return
    database = place.first.database.attributes
    attributes: dict[str, Any] = {
        semconv.TRANSACTION_ID: transaction.id,
        semconv.IDENTITY_BOUND: bound,
        semconv.HASH_KEY_ID: key_id,
        semconv.STATEMENT_TABLES: transaction.tally.tables,
    }
    if semconv.DATABASE_FINGERPRINT in database:
        attributes[semconv.DATABASE_FINGERPRINT] = database[semconv.DATABASE_FINGERPRINT]
    context = set_span_in_context(NonRecordingSpan(place.context))
    emit(semconv.EVENT_WRITE_COMMITTED, attributes, context=context, timestamp=transaction.ended_at)
