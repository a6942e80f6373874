"""From a settled transaction to spans: statement spans and the transaction span.

Our own spans are finished when they are made, so they go straight to the span processors' ``on_end``:
no sampler hides them and no ``on_start`` sees them. With a tracer provider that is not the SDK's they
take the long way through its tracer. Adopted spans of another instrumentation keep their ids, name and times
and get our attributes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    set_span_in_context,
)

from trueline.instrumentation import ambient, semconv
from trueline.instrumentation.own_spans import SAMPLED, Origin, OwnSpan
from trueline.instrumentation.semconv import Outcome, Reason
from trueline.instrumentation.transaction import Tally
from trueline.instrumentation.wire import Part

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from trueline.instrumentation.adopted import Adopted
    from trueline.instrumentation.database_errors import ErrorFacts
    from trueline.instrumentation.identity import Identities
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.sampling import Sampler
    from trueline.instrumentation.statement import Plan
    from trueline.instrumentation.transaction import Transaction

# What contrib's spans carry under either generation of names: literals in it would leave the process.
_OLD_STATEMENT_TEXT = "db.statement"
# There contrib writes the name of its span.
_OPERATION = ("db.operation", semconv.DB_OPERATION_NAME)
_TRANSACTION_DATABASE = (
    semconv.DB_SYSTEM_NAME,
    semconv.DB_NAMESPACE,
    semconv.SERVER_ADDRESS,
    semconv.SERVER_PORT,
    semconv.DATABASE_FINGERPRINT,
    semconv.DATABASE_SCHEMA,
)

Attributes = dict[str, Any]


class SpanBuilder:
    """Builds the spans of one transaction at a time.

    ``finish`` takes each finished span of ours; ``tracer`` is used instead where there is no SDK provider.
    """

    def __init__(
        self,
        *,
        origin: Origin,
        finish: Callable[[ReadableSpan], None] | None,
        tracer: trace.Tracer,
        key_id: str,
        provider: TracerProvider | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        self._origin = origin
        self._finish = finish
        self._tracer = tracer
        self._key_id = key_id
        self._provider = provider
        self._sampler = sampler
        self.samples = sampler is not None

    def emit(
        self, transaction: Transaction[StatementRecord], statements: list[StatementRecord], settled: bool
    ) -> None:
        """Build and pass on the spans of ``statements``, and the transaction's own if it is settled."""
        if self._sampler is not None:
            statements, settled = self._sampler.select(transaction, statements, settled)
        place = transaction.place
        if place is None:
            if not statements:
                return
            place = transaction.place = _Place(statements[0])
        if self._provider is not None and self._provider.resource is not self._origin.resource:
            # A fork gave the child's provider a resource of its own: another instance id.
            self._origin = Origin(self._provider.resource, self._origin.scope)
        endings: dict[tuple[Outcome, Reason | None], Part] = {}
        for record in statements:
            ending = transaction.outcome_of(record)
            part = endings.get(ending)
            if part is None:
                part = endings[ending] = self._ending(transaction, *ending)
            if record.adopted is None:
                self._own(record, part, place)
            else:
                self._adopted(record, record.adopted, part, place)
        if settled:
            tally = transaction.tally
            if tally.writes or tally.failures or tally.left_open or place.parent is None:
                ending = (transaction.outcome, transaction.reason)
                part = endings.get(ending) or self._ending(transaction, *ending)
                self._transaction(transaction, place, part)

    def _own(self, record: StatementRecord, ending: Part, place: _Place) -> None:
        parent = record.parent or place.context
        plan = record.plan
        self._pass_on(
            OwnSpan(
                self._origin,
                plan.summary or plan.operation or record.database.attributes[semconv.DB_SYSTEM_NAME],
                SpanKind.CLIENT,
                SpanContext(parent.trace_id, record.span_number, False, SAMPLED),
                parent,
                record.started_at,
                record.ended_at,
                _StatementFacts(record, ending, self._key_id),
                None if record.error is None else record.error.description,
            )
        )

    def _adopted(self, record: StatementRecord, adopted: Adopted, ending: Part, place: _Place) -> None:
        if adopted.span is not None:
            self._end_adopted(record, adopted.span, ending)
            return
        context, parent = adopted.context, adopted.parent
        if parent is None:
            # In a script it was begun as a root of its own: the transaction holds them together.
            parent = place.context
            context = SpanContext(
                parent.trace_id, context.span_id, False, context.trace_flags, context.trace_state
            )
        adopted.finish(
            OwnSpan(
                adopted.origin,
                _clean_name(adopted.name, record.plan.operation),
                adopted.kind,
                context,
                parent,
                adopted.started_at,
                record.ended_at,
                _AdoptedFacts(record, ending, self._key_id, adopted.attributes),
                None if record.error is None else record.error.description,
            )
        )

    def _end_adopted(self, record: StatementRecord, span: Any, ending: Part) -> None:
        """The public way, which costs more than everything else that is done for the statement."""
        facts = _AdoptedFacts(record, ending, self._key_id, getattr(span, "attributes", None) or {})
        for part in facts.parts():
            span.set_attributes(part.attributes)
        span.set_attributes(facts.rest())
        span.update_name(_clean_name(getattr(span, "name", ""), record.plan.operation))
        if record.error is not None:
            span.set_status(Status(StatusCode.ERROR, record.error.description))
        span.end(record.ended_at)

    def _transaction(self, transaction: Transaction[StatementRecord], place: _Place, ending: Part) -> None:
        cause, database = transaction.cause, place.first.database.attributes
        lost = transaction.outcome in (Outcome.ROLLED_BACK, Outcome.UNKNOWN)
        self._pass_on(
            OwnSpan(
                self._origin,
                f"TRANSACTION {database.get(semconv.DB_NAMESPACE, '')}".strip(),
                SpanKind.INTERNAL,
                place.context,
                place.parent,
                transaction.started_at,
                transaction.ended_at or transaction.started_at,
                _TransactionFacts(transaction, place.first, ending, self._key_id),
                cause.error_type if lost and cause.error_type else None,
            )
        )

    def _ending(
        self, transaction: Transaction[StatementRecord], outcome: Outcome, reason: Reason | None
    ) -> Part:
        """What the statements of one transaction with one outcome say of it."""
        attributes: Attributes = {
            semconv.TRANSACTION_ID: transaction.id,
            semconv.TRANSACTION_OUTCOME: outcome.value,
            semconv.TRANSACTION_AUTOCOMMIT: transaction.autocommit,
        }
        if reason is not None:
            attributes[semconv.TRANSACTION_REASON] = reason.value
            if transaction.cause.error_type:
                attributes[semconv.TRANSACTION_ERROR_TYPE] = transaction.cause.error_type
        if self._sampler is not None:
            attributes[semconv.SAMPLE_RATIO] = self._sampler.ratio
        return Part(attributes)

    def _pass_on(self, span: OwnSpan) -> None:
        if self._finish is not None:
            self._finish(span)
            return
        parent = span.parent
        parent_context = None if parent is None else set_span_in_context(NonRecordingSpan(parent))
        live = self._tracer.start_span(
            span.name,
            context=parent_context,
            kind=span.kind,
            attributes=span.attributes,
            start_time=span.start_time,
        )
        if span.status.status_code is StatusCode.ERROR:
            live.set_status(span.status)
        live.end(span.end_time)


class _StatementFacts:
    """The attributes of one statement's span, put together when they are read or encoded."""

    __slots__ = ("_ending", "_key_id", "_record")

    def __init__(self, record: StatementRecord, ending: Part, key_id: str) -> None:
        self._record = record
        self._ending = ending
        self._key_id = key_id

    def parts(self) -> tuple[Part, ...]:
        """What the statement shares with others: its text, connection, transaction and identities."""
        record = self._record
        said = record.plan.part or _attach(record.plan)
        identities = record.identities
        if identities.count:
            return (record.database, said, self._ending, identities.part or _identities(identities))
        return (record.database, said, self._ending)

    def rest(self) -> Attributes:
        """What is this execution's alone."""
        record = self._record
        attributes: Attributes = {}
        if record.rows is not None:
            attributes[semconv.STATEMENT_ROWS] = record.rows
        if record.batch:
            attributes[semconv.DB_OPERATION_BATCH_SIZE] = record.batch
        if record.row_key:
            attributes[semconv.STATEMENT_ROW] = record.row_key
        if record.orm_session_id:
            attributes[semconv.ORM_SESSION_ID] = record.orm_session_id
        _add_scope(attributes, record, self._key_id)
        if record.error is not None:
            _add_error(attributes, record.error)
        return attributes


class _AdoptedFacts(_StatementFacts):
    """Ours beside what the span had before; ours win, and no literal of the statement's text stays."""

    __slots__ = ("_before",)

    def __init__(self, record: StatementRecord, ending: Part, key_id: str, before: Mapping[str, Any]) -> None:
        super().__init__(record, ending, key_id)
        self._before = before

    def rest(self) -> Attributes:
        """What the span had, and what is this execution's alone."""
        ours = (
            self._record.database.attributes,
            (self._record.plan.part or _attach(self._record.plan)).attributes,
        )
        attributes = {
            name: value for name, value in self._before.items() if name not in ours[0] and name not in ours[1]
        }
        if _OLD_STATEMENT_TEXT in attributes:
            attributes[_OLD_STATEMENT_TEXT] = self._record.plan.text
        for name in _OPERATION:
            if name in attributes:
                attributes[name] = _clean_name(str(attributes[name]), self._record.plan.operation)
        attributes.update(super().rest())
        return attributes


class _TransactionFacts:
    """The attributes of a transaction's span, likewise."""

    __slots__ = ("_ending", "_first", "_key_id", "_transaction")

    def __init__(
        self, transaction: Transaction[StatementRecord], first: StatementRecord, ending: Part, key_id: str
    ) -> None:
        self._transaction = transaction
        self._first = first
        self._ending = ending
        self._key_id = key_id

    def parts(self) -> tuple[Part, ...]:
        """Database, outcome and counts, which most transactions share with others."""
        tally = self._transaction.tally
        return (
            self._first.database.derived(_of_the_database),
            self._ending,
            _counts(tally.reads, tally.writes, tally.rows, tuple(tally.tables)),
            _NO_AI if not tally.ai_calls else _ai(tally),
        )

    def rest(self) -> Attributes:
        """What is this transaction's alone."""
        transaction, first = self._transaction, self._first
        attributes: Attributes = {}
        cause = transaction.cause
        if cause.error_type:
            if transaction.reason is None:
                attributes[semconv.TRANSACTION_ERROR_TYPE] = cause.error_type
            attributes[semconv.TRANSACTION_ERROR_CHAIN] = cause.chain
            attributes[semconv.TRANSACTION_ERROR_FROM_AI] = cause.from_ai
        if cause.violation is not None:
            _add_constraint(attributes, cause.violation)
        if transaction.tally.left_open:
            attributes[semconv.TRANSACTION_OPEN_STATEMENTS] = transaction.tally.left_open
        if transaction.undone_ids:
            attributes[semconv.TRANSACTION_UNDONE] = tuple(transaction.undone_ids)
        if transaction.orm_session_id:
            attributes[semconv.ORM_SESSION_ID] = transaction.orm_session_id
        if transaction.isolation_level:
            attributes[semconv.TRANSACTION_ISOLATION] = transaction.isolation_level
        _add_scope(attributes, first, self._key_id)
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


class _Place:
    """Where a transaction span hangs in its trace, and the statement that decided it."""

    __slots__ = ("context", "first", "parent")

    def __init__(self, first: StatementRecord) -> None:
        self.first = first
        self.parent = first.parent
        trace_id = ambient.new_trace_id() if first.parent is None else first.parent.trace_id
        self.context = SpanContext(trace_id, ambient.new_span_id(), False, SAMPLED)


def _attach(plan: Plan) -> Part:
    """What every execution of a text says; made once and kept with its plan."""
    attributes: Attributes = {
        semconv.STATEMENT_KIND: plan.kind.value,
        semconv.DB_QUERY_TEXT: plan.text,
    }
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
    part = Part(attributes)
    plan.keep(part)
    return part


def _identities(identities: Identities) -> Part:
    attributes: Attributes = {
        semconv.IDENTITY_COLUMNS: identities.columns,
        semconv.IDENTITY_CLAUSES: identities.clauses,
        semconv.IDENTITY_ENCODINGS: identities.encodings,
        semconv.IDENTITY_VALUES: identities.values,
        semconv.IDENTITY_DOMAINS: identities.domains,
    }
    if identities.count > len(identities.columns):
        attributes[semconv.IDENTITY_COUNT] = identities.count
    part = Part(attributes)
    identities.keep(part)
    return part


def _add_scope(attributes: Attributes, record: StatementRecord, key_id: str) -> None:
    """For whom the statement ran, and from where the work came."""
    if record.bound:
        attributes[semconv.IDENTITY_BOUND] = tuple([b.exported for b in record.bound if b.value])
    if record.bound or record.identities.count or record.row_key:
        attributes[semconv.HASH_KEY_ID] = key_id
    entry = record.entry
    if entry is not None:
        name = getattr(entry, "name", "")
        if name:
            attributes[semconv.ENTRY_NAME] = name
        attributes[semconv.ENTRY_SPAN_ID] = f"{entry.get_span_context().span_id:016x}"


def _clean_name(name: str, operation: str) -> str:
    """The name of contrib's span: the text up to its first blank, in which a literal may stand."""
    first, blank, rest = name.partition(" ")
    return name if first.isalpha() else f"{operation or 'SQL'}{blank}{rest}"


def _add_error(attributes: Attributes, error: ErrorFacts) -> None:
    attributes[semconv.ERROR_TYPE] = error.status_code or error.error_type
    if error.status_code:
        attributes[semconv.DB_RESPONSE_STATUS_CODE] = error.status_code
    _add_constraint(attributes, error)


def _add_constraint(attributes: Attributes, error: ErrorFacts) -> None:
    if error.constraint_kind:
        attributes[semconv.CONSTRAINT_KIND] = error.constraint_kind
    if error.constraint_name:
        attributes[semconv.CONSTRAINT_NAME] = error.constraint_name
    if error.constraint_table:
        attributes[semconv.CONSTRAINT_TABLE] = error.constraint_table
    if error.constraint_columns:
        attributes[semconv.CONSTRAINT_COLUMNS] = error.constraint_columns
