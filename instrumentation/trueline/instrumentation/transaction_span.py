"""The span of one transaction that wrote or failed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanContext, SpanKind

from trueline.instrumentation import semconv, wire
from trueline.instrumentation.own_spans import KINDS, Origin, OwnSpan
from trueline.instrumentation.place import add_scope, encoded_key_id, is_hashed
from trueline.instrumentation.semconv import Outcome
from trueline.instrumentation.statement_span import add_constraint
from trueline.instrumentation.transaction import NO_CAUSE, Tally
from trueline.instrumentation.wire import Part

if TYPE_CHECKING:
    from trueline.instrumentation.place import Place
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.transaction import Transaction

_TRANSACTION_DATABASE = (
    semconv.DB_SYSTEM_NAME,
    semconv.DB_NAMESPACE,
    semconv.SERVER_ADDRESS,
    semconv.SERVER_PORT,
    semconv.DATABASE_FINGERPRINT,
    semconv.DATABASE_SCHEMA,
)

_INTERNAL = KINDS[SpanKind.INTERNAL]

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
            _NO_AI if not tally.ai_calls else _ai(tally, self._end_time),
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

    def pieces(self) -> list[bytes]:
        """The span in OTLP, put together from what is encoded already where it is an ordinary one."""
        transaction, place = self._transaction, self._place
        first, parent, tally = place.first, place.parent, transaction.tally
        if (
            transaction.cause is not NO_CAUSE
            or tally.left_open
            or transaction.undone_ids
            or transaction.orm_session_id != first.orm_session_id
            or first.row_owners
        ):
            return super().pieces()
        # A root's statements are below it: what stands before their ids stands before its own.
        _, head, above = place.ids(place.context if parent is None else parent)
        pieces = [
            head,
            place.context[1].to_bytes(8, "big"),
            b"" if parent is None else above,
            wire.name_head(self._name, _INTERNAL),
            wire.times(transaction.started_at, transaction.ended_at or transaction.started_at),
            *[part.bytes or part.encoded() for part in self.parts()],
            place.encoded_id,
            place.encoded_scope(first),
            wire.flags(parent is not None and parent[2]),
        ]
        if transaction.isolation_level:
            pieces.append(_encoded_level(transaction.isolation_level))
        if is_hashed(first):
            pieces.append(encoded_key_id(place.key_id))
        return pieces


def _of_the_database(database: Attributes) -> Attributes:
    return {name: database[name] for name in _TRANSACTION_DATABASE if name in database}


@functools.lru_cache(maxsize=64)
def _encoded_level(level: str) -> bytes:
    return wire.encode_attributes({semconv.TRANSACTION_ISOLATION: level})


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


def _ai(tally: Tally, until: int) -> Part:
    attributes: Attributes = {
        semconv.TRANSACTION_AI_CALLS: tally.ai_calls,
        semconv.TRANSACTION_AI_ERRORS: tally.ai_errors,
        semconv.TRANSACTION_AI_WAIT: tally.ai_waited_ns(until) / 1e6,
    }
    if tally.ai_problems:
        attributes[semconv.TRANSACTION_AI_PROBLEMS] = tally.ai_problems
    if tally.ai_under_way:
        attributes[semconv.TRANSACTION_AI_UNFINISHED] = tally.ai_under_way
    return Part(attributes)


_NO_AI = _ai(Tally(), 0)
