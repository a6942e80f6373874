"""From a settled transaction to spans: statement spans and the transaction span.

Our own spans are finished when they are made, so they go straight to the span processors' ``on_end``:
no sampler hides them and no ``on_start`` sees them. With a tracer provider that is not the SDK's they
take the long way through its tracer. Adopted spans of another instrumentation get our attributes and are
ended at their true time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from trueline.instrumentation import ambient, semconv
from trueline.instrumentation.semconv import Outcome

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.transaction import Transaction

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)
# What contrib's spans carry under either generation of names: literals in it would leave the process.
_STATEMENT_TEXT = ("db.statement", semconv.DB_QUERY_TEXT)

Attributes = dict[str, Any]


class SpanBuilder:
    """Builds the spans of one transaction at a time.

    ``finish`` takes each finished span of ours; ``tracer`` is used instead where there is no SDK provider.
    """

    def __init__(
        self,
        *,
        resource: Resource | None,
        instrumentation_scope: InstrumentationScope,
        finish: Callable[[ReadableSpan], None] | None,
        tracer: trace.Tracer,
        key_id: str,
    ) -> None:
        self._resource = resource
        self._scope = instrumentation_scope
        self._finish = finish
        self._tracer = tracer
        self._key_id = key_id

    def emit(
        self, transaction: Transaction[StatementRecord], statements: list[StatementRecord], settled: bool
    ) -> None:
        """Build and pass on the spans of ``statements``, and the transaction's own if it is settled."""
        first = statements[0] if statements else None
        context, is_root = self._transaction_context(transaction, first)
        for record in statements:
            self._statement(transaction, record, context if is_root else None)
        tally = transaction.tally
        if settled and (tally.writes or tally.failures or tally.left_open or is_root):
            self._transaction(transaction)

    def _transaction_context(
        self, transaction: Transaction[StatementRecord], first: StatementRecord | None
    ) -> tuple[SpanContext | None, bool]:
        """The transaction span's place: a child of the span current at its first statement, else a root."""
        if transaction.span_context is None and first is not None:
            transaction.span_context = _Place(first)
        place = transaction.span_context
        if not isinstance(place, _Place):
            return None, False
        return place.context, place.parent is None

    def _statement(
        self,
        transaction: Transaction[StatementRecord],
        record: StatementRecord,
        root: SpanContext | None,
    ) -> None:
        attributes = self._statement_attributes(transaction, record)
        status = _UNSET if record.error is None else Status(StatusCode.ERROR, record.error.description)
        if record.adopted is not None:
            span = record.adopted
            present = getattr(span, "attributes", None) or ()
            attributes.update((name, record.plan.text) for name in _STATEMENT_TEXT if name in present)
            _add_attributes(span, attributes)
            if record.error is not None:
                span.set_status(status)
            span.end(record.ended_at)
            return
        attributes[semconv.DB_QUERY_TEXT] = record.plan.text
        parent = record.parent or root
        self._pass_on(
            name=record.plan.summary or record.plan.operation or record.database[semconv.DB_SYSTEM_NAME],
            kind=SpanKind.CLIENT,
            context=SpanContext(
                trace_id=parent.trace_id if parent is not None else ambient.new_trace_id(),
                span_id=record.span_number,
                is_remote=False,
                trace_flags=_SAMPLED,
            ),
            parent=parent,
            attributes=attributes,
            status=status,
            started_at=record.started_at,
            ended_at=record.ended_at,
        )

    def _statement_attributes(
        self, transaction: Transaction[StatementRecord], record: StatementRecord
    ) -> Attributes:
        plan = record.plan
        outcome, reason = transaction.outcome_of(record)
        attributes: Attributes = {
            **record.database,
            semconv.STATEMENT_KIND: str(plan.kind),
            semconv.TRANSACTION_ID: transaction.id,
            semconv.TRANSACTION_OUTCOME: str(outcome),
            semconv.TRANSACTION_AUTOCOMMIT: transaction.autocommit,
        }
        if reason is not None:
            attributes[semconv.TRANSACTION_REASON] = str(reason)
            if transaction.cause.error_type:
                attributes[semconv.TRANSACTION_ERROR_TYPE] = transaction.cause.error_type
        if plan.operation:
            attributes[semconv.DB_OPERATION_NAME] = plan.operation
        if plan.summary:
            attributes[semconv.DB_QUERY_SUMMARY] = plan.summary
        if plan.tables:
            attributes[semconv.STATEMENT_TABLES] = plan.tables
            if len(plan.tables) == 1:
                attributes[semconv.DB_COLLECTION_NAME] = plan.tables[0]
        if plan.filters:
            attributes[semconv.STATEMENT_FILTERS] = plan.filters
        if plan.lock:
            attributes[semconv.STATEMENT_LOCK] = True
        if plan.self_update:
            attributes[semconv.STATEMENT_SELF_UPDATE] = True
        if plan.on_conflict:
            attributes[semconv.STATEMENT_CONFLICT] = plan.on_conflict
        if record.rows is not None:
            attributes[semconv.STATEMENT_ROWS] = record.rows
        if record.batch:
            attributes[semconv.DB_OPERATION_BATCH_SIZE] = record.batch
        if record.row_key:
            attributes[semconv.STATEMENT_ROW] = record.row_key
        if record.orm_session_id:
            attributes[semconv.ORM_SESSION_ID] = record.orm_session_id
        identities = record.identities
        if identities.count:
            attributes[semconv.IDENTITY_COLUMNS] = identities.columns
            attributes[semconv.IDENTITY_CLAUSES] = identities.clauses
            attributes[semconv.IDENTITY_ENCODINGS] = identities.encodings
            attributes[semconv.IDENTITY_VALUES] = identities.values
            attributes[semconv.IDENTITY_DOMAINS] = identities.domains
            if identities.count > len(identities.columns):
                attributes[semconv.IDENTITY_COUNT] = identities.count
        self._add_scope(attributes, record)
        if record.error is not None:
            _add_error(attributes, record)
        return attributes

    def _add_scope(self, attributes: Attributes, record: StatementRecord) -> None:
        if record.bound:
            attributes[semconv.IDENTITY_BOUND] = tuple(
                f"{b.domain}:{b.value}" for b in record.bound if b.value
            )
        if record.bound or record.identities.count or record.row_key:
            attributes[semconv.HASH_KEY_ID] = self._key_id
        entry = record.entry
        if entry is not None:
            name = getattr(entry, "name", "")
            context = entry.get_span_context()
            if name:
                attributes[semconv.ENTRY_NAME] = name
            attributes[semconv.ENTRY_SPAN_ID] = f"{context.span_id:016x}"

    def _transaction(self, transaction: Transaction[StatementRecord]) -> None:
        place = transaction.span_context
        if not isinstance(place, _Place):
            return
        first, tally, cause = place.first, transaction.tally, transaction.cause
        database = first.database
        attributes: Attributes = {
            name: database[name]
            for name in (
                semconv.DB_SYSTEM_NAME,
                semconv.DB_NAMESPACE,
                semconv.SERVER_ADDRESS,
                semconv.SERVER_PORT,
                semconv.DATABASE_FINGERPRINT,
                semconv.DATABASE_SCHEMA,
            )
            if name in database
        }
        attributes |= {
            semconv.TRANSACTION_ID: transaction.id,
            semconv.TRANSACTION_OUTCOME: str(transaction.outcome),
            semconv.TRANSACTION_AUTOCOMMIT: transaction.autocommit,
            semconv.TRANSACTION_READS: tally.reads,
            semconv.TRANSACTION_WRITES: tally.writes,
            semconv.TRANSACTION_ROWS: tally.rows,
            semconv.STATEMENT_TABLES: tuple(tally.tables),
            semconv.TRANSACTION_AI_CALLS: tally.ai_calls,
            semconv.TRANSACTION_AI_ERRORS: tally.ai_errors,
            semconv.TRANSACTION_AI_WAIT: tally.ai_wait_ns / 1e6,
        }
        if transaction.isolation_level:
            attributes[semconv.TRANSACTION_ISOLATION] = transaction.isolation_level
        if transaction.reason is not None:
            attributes[semconv.TRANSACTION_REASON] = str(transaction.reason)
        if cause.error_type:
            attributes[semconv.TRANSACTION_ERROR_TYPE] = cause.error_type
            attributes[semconv.TRANSACTION_ERROR_CHAIN] = cause.chain
            attributes[semconv.TRANSACTION_ERROR_FROM_AI] = cause.from_ai
        if tally.left_open:
            attributes[semconv.TRANSACTION_OPEN_STATEMENTS] = tally.left_open
        if transaction.undone_ids:
            attributes[semconv.TRANSACTION_UNDONE] = tuple(transaction.undone_ids)
        if transaction.orm_session_id:
            attributes[semconv.ORM_SESSION_ID] = transaction.orm_session_id
        self._add_scope(attributes, first)
        lost = transaction.outcome in (Outcome.ROLLED_BACK, Outcome.UNKNOWN)
        self._pass_on(
            name=f"TRANSACTION {database.get(semconv.DB_NAMESPACE, '')}".strip(),
            kind=SpanKind.INTERNAL,
            context=place.context,
            parent=place.parent,
            attributes=attributes,
            status=Status(StatusCode.ERROR, cause.error_type) if lost and cause.error_type else _UNSET,
            started_at=transaction.started_at,
            ended_at=transaction.ended_at or transaction.started_at,
        )

    def _pass_on(
        self,
        *,
        name: str,
        kind: SpanKind,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: Attributes,
        status: Status,
        started_at: int,
        ended_at: int,
    ) -> None:
        if self._finish is not None:
            span = ReadableSpan(
                name=name,
                context=context,
                parent=parent,
                resource=self._resource,
                attributes=attributes,
                kind=kind,
                status=status,
                start_time=started_at,
                end_time=ended_at,
                instrumentation_scope=self._scope,
            )
            self._finish(span)
            return
        parent_context = None if parent is None else set_span_in_context(NonRecordingSpan(parent))
        live = self._tracer.start_span(
            name, context=parent_context, kind=kind, attributes=attributes, start_time=started_at
        )
        if status.status_code is StatusCode.ERROR:
            live.set_status(status)
        live.end(ended_at)


class _Place:
    """Where a transaction span hangs in its trace, and the statement that decided it."""

    __slots__ = ("context", "first", "parent")

    def __init__(self, first: StatementRecord) -> None:
        self.first = first
        self.parent = first.parent
        self.context = SpanContext(
            trace_id=self.parent.trace_id if self.parent is not None else ambient.new_trace_id(),
            span_id=ambient.new_span_id(),
            is_remote=False,
            trace_flags=_SAMPLED,
        )


def _add_attributes(span: Any, attributes: Attributes) -> None:
    """Add ``attributes`` to a live span.

    The SDK takes a lock and cleans every value by itself, which costs more than all other work on an adopted
    span together; ours are clean already. Where its inside is another one, the public way is taken.
    """
    bounded = getattr(span, "_attributes", None)
    inner = getattr(bounded, "_dict", None)
    room = getattr(bounded, "maxlen", None)
    unlimited_values = getattr(bounded, "max_value_len", 0) is None
    if (
        isinstance(inner, dict)
        and unlimited_values
        and (room is None or len(inner) + len(attributes) <= room)
    ):
        inner.update(attributes)
    else:
        span.set_attributes(attributes)


def _add_error(attributes: Attributes, record: StatementRecord) -> None:
    error = record.error
    assert error is not None
    attributes[semconv.ERROR_TYPE] = error.status_code or error.error_type
    if error.status_code:
        attributes[semconv.DB_RESPONSE_STATUS_CODE] = error.status_code
    if error.constraint_kind:
        attributes[semconv.CONSTRAINT_KIND] = error.constraint_kind
    if error.constraint_name:
        attributes[semconv.CONSTRAINT_NAME] = error.constraint_name
    if error.constraint_table:
        attributes[semconv.CONSTRAINT_TABLE] = error.constraint_table
    if error.constraint_columns:
        attributes[semconv.CONSTRAINT_COLUMNS] = error.constraint_columns
