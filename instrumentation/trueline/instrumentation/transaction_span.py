"""The span of one transaction that wrote or failed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanContext, SpanKind

from trueline.instrumentation import semconv
from trueline.instrumentation.own_spans import Origin, OwnSpan
from trueline.instrumentation.semconv import Outcome
from trueline.instrumentation.statement_span import add_constraint, add_scope
from trueline.instrumentation.transaction import Tally
from trueline.instrumentation.wire import Part

if TYPE_CHECKING:
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.spans import Place
    from trueline.instrumentation.transaction import Transaction

_TRANSACTION_DATABASE = (
    semconv.DB_SYSTEM_NAME,
    semconv.DB_NAMESPACE,
    semconv.SERVER_ADDRESS,
    semconv.SERVER_PORT,
    semconv.DATABASE_FINGERPRINT,
    semconv.DATABASE_SCHEMA,
)

Attributes = dict[str, Any]


class TransactionSpan(OwnSpan):
    """Named ``TRANSACTION <namespace>``; of its transaction nothing more will be learned."""

    __slots__ = ("_ending", "_place", "_transaction")

    @property
    def _kind(self) -> SpanKind:  # type: ignore[override]
        return SpanKind.INTERNAL

    def __init__(self, transaction: Transaction[StatementRecord], ending: Part, place: Place) -> None:
        self._transaction = transaction
        self._ending = ending
        self._place = place

    @property
    def _name(self) -> str:  # type: ignore[override]
        namespace = self._place.first.database.attributes.get(semconv.DB_NAMESPACE, "")
        return f"TRANSACTION {namespace}".strip()

    @property
    def _parent(self) -> SpanContext | None:  # type: ignore[override]
        return self._place.parent

    @property
    def _context(self) -> SpanContext:  # type: ignore[override]
        return self._place.context

    @property
    def _start_time(self) -> int:  # type: ignore[override]
        return self._transaction.started_at

    @property
    def _end_time(self) -> int:  # type: ignore[override]
        return self._transaction.ended_at or self._transaction.started_at

    @property
    def _origin(self) -> Origin:
        return self._place.origin

    @property
    def _error(self) -> str | None:
        transaction = self._transaction
        lost = transaction.outcome in (Outcome.ROLLED_BACK, Outcome.UNKNOWN)
        return (transaction.cause.error_type or None) if lost else None

    def parts(self) -> tuple[Part, ...]:
        """Database, outcome and counts, which most transactions share with others."""
        tally = self._transaction.tally
        return (
            self._place.first.database.derived(_of_the_database),
            self._ending,
            _counts(tally.reads, tally.writes, tally.rows, tally.tables),
            _NO_AI if not tally.ai_calls else _ai(tally),
        )

    def rest(self) -> Attributes:
        """What is this transaction's alone."""
        transaction, place = self._transaction, self._place
        attributes: Attributes = {semconv.TRANSACTION_ID: place.transaction_id}
        cause = transaction.cause
        if cause.error_type:
            if transaction.reason is None:
                attributes[semconv.TRANSACTION_ERROR_TYPE] = cause.error_type
            attributes[semconv.TRANSACTION_ERROR_CHAIN] = cause.chain
            attributes[semconv.TRANSACTION_ERROR_FROM_AI] = cause.from_ai
        if cause.violation is not None:
            add_constraint(attributes, cause.violation)
        if transaction.tally.left_open:
            attributes[semconv.TRANSACTION_OPEN_STATEMENTS] = transaction.tally.left_open
        if transaction.undone_ids:
            attributes[semconv.TRANSACTION_UNDONE] = tuple(transaction.undone_ids)
        if transaction.orm_session_id:
            attributes[semconv.ORM_SESSION_ID] = transaction.orm_session_id
        if transaction.isolation_level:
            attributes[semconv.TRANSACTION_ISOLATION] = transaction.isolation_level
        add_scope(attributes, place.first, place.key_id)
        return attributes


def _of_the_database(database: Attributes) -> Attributes:
    return {name: database[name] for name in _TRANSACTION_DATABASE if name in database}


@functools.lru_cache(maxsize=1024)
def _counts(reads: int, writes: int, rows: int, tables: tuple[str, ...]) -> Part:
    return Part(
        {
            semconv.TRANSACTION_READS: reads,
            semconv.TRANSACTION_WRITES: writes,
            semconv.TRANSACTION_ROWS: rows,
            semconv.STATEMENT_TABLES: tables,
        }
    )


def _ai(tally: Tally) -> Part:
    return Part(
        {
            semconv.TRANSACTION_AI_CALLS: tally.ai_calls,
            semconv.TRANSACTION_AI_ERRORS: tally.ai_errors,
            semconv.TRANSACTION_AI_WAIT: tally.ai_wait_ns / 1e6,
        }
    )


_NO_AI = _ai(Tally())
