"""The span of one statement: ours, or another instrumentation's with our attributes beside its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanContext, SpanKind

from trueline.instrumentation import semconv
from trueline.instrumentation.own_spans import Origin, OwnSpan, own_context
from trueline.instrumentation.wire import Part

if TYPE_CHECKING:
    from trueline.instrumentation.adopted import Adopted
    from trueline.instrumentation.database_errors import ErrorFacts
    from trueline.instrumentation.identity import Identities
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.spans import Place
    from trueline.instrumentation.statement import Plan

# What contrib's spans carry under either generation of names: literals in it would leave the process.
_OLD_STATEMENT_TEXT = "db.statement"
# There contrib writes the name of its span.
_OPERATION = ("db.operation", semconv.DB_OPERATION_NAME)

Attributes = dict[str, Any]


class StatementSpan(OwnSpan):
    """One statement's span. It refers to what is known and computes each field when it is read."""

    __slots__ = ("_ending", "_place", "_record")

    @property
    def _kind(self) -> SpanKind:  # type: ignore[override]
        return SpanKind.CLIENT

    def __init__(self, record: StatementRecord, ending: Part, place: Place) -> None:
        self._record = record
        #: What the transaction's end says of it.
        self._ending = ending
        self._place = place

    @property
    def _name(self) -> str:  # type: ignore[override]
        record = self._record
        plan = record.plan
        return plan.summary or plan.operation or record.database.attributes[semconv.DB_SYSTEM_NAME]

    @property
    def _parent(self) -> SpanContext:  # type: ignore[override]
        return self._record.parent or self._place.context

    @property
    def _context(self) -> SpanContext:  # type: ignore[override]
        return own_context(self._parent.trace_id, self._record.span_number)

    @property
    def _start_time(self) -> int:  # type: ignore[override]
        return self._record.started_at

    @property
    def _end_time(self) -> int:  # type: ignore[override]
        return self._record.ended_at

    @property
    def _origin(self) -> Origin:
        return self._place.origin

    @property
    def _error(self) -> str | None:
        error = self._record.error
        return None if error is None else error.description

    def parts(self) -> tuple[Part, ...]:
        """What the statement shares with others: its text, connection, outcome and identities."""
        record = self._record
        said = record.plan.part or _attach(record.plan)
        identities = record.identities
        if identities.count:
            return (record.database, said, self._ending, identities.part or _identities(identities))
        return (record.database, said, self._ending)

    def rest(self) -> Attributes:
        """What is this execution's alone."""
        record = self._record
        attributes: Attributes = {semconv.TRANSACTION_ID: self._place.transaction_id}
        if record.rows is not None:
            attributes[semconv.STATEMENT_ROWS] = record.rows
        if record.batch:
            attributes[semconv.DB_OPERATION_BATCH_SIZE] = record.batch
        if record.row_key:
            attributes[semconv.STATEMENT_ROW] = record.row_key
        if record.orm_session_id:
            attributes[semconv.ORM_SESSION_ID] = record.orm_session_id
        add_scope(attributes, record, self._place.key_id)
        if record.error is not None:
            _add_error(attributes, record.error)
        return attributes


class AdoptedSpan(StatementSpan):
    """Ours beside what the span had before; ours win, and no literal of the statement's text stays."""

    __slots__ = ("_adopted",)

    def __init__(self, record: StatementRecord, adopted: Adopted, ending: Part, place: Place) -> None:
        super().__init__(record, ending, place)
        self._adopted = adopted

    @property
    def _name(self) -> str:  # type: ignore[override]
        return clean_name(self._adopted.name, self._record.plan.operation)

    @property
    def _kind(self) -> SpanKind:  # type: ignore[override]
        return self._adopted.kind

    @property
    def _parent(self) -> SpanContext:  # type: ignore[override]
        # In a script it was begun as a root of its own: the transaction holds them together.
        return self._adopted.parent or self._place.context

    @property
    def _context(self) -> SpanContext:  # type: ignore[override]
        adopted = self._adopted
        context = adopted.context
        if adopted.parent is not None:
            return context
        return SpanContext(
            self._place.context.trace_id, context.span_id, False, context.trace_flags, context.trace_state
        )

    @property
    def _start_time(self) -> int:  # type: ignore[override]
        return self._adopted.started_at

    @property
    def _origin(self) -> Origin:
        return self._adopted.origin

    def rest(self) -> Attributes:
        """What the span had, and what is this execution's alone."""
        return self._beside(self._adopted.attributes)

    def _beside(self, before: Any) -> Attributes:
        plan = self._record.plan
        ours = (self._record.database.attributes, (plan.part or _attach(plan)).attributes)
        attributes = {
            name: value for name, value in before.items() if name not in ours[0] and name not in ours[1]
        }
        if _OLD_STATEMENT_TEXT in attributes:
            attributes[_OLD_STATEMENT_TEXT] = plan.text
        for name in _OPERATION:
            if name in attributes:
                attributes[name] = clean_name(str(attributes[name]), plan.operation)
        attributes.update(super().rest())
        return attributes

    def attributes_beside(self, before: Any) -> Attributes:
        """All attributes for a span that has ``before`` and has to be ended itself."""
        merged: Attributes = {}
        for part in self.parts():
            merged.update(part.attributes)
        merged.update(self._beside(before))
        return merged


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


def add_scope(attributes: Attributes, record: StatementRecord, key_id: str) -> None:
    """For whom the statement ran, and from where the work came."""
    if record.bound:
        attributes[semconv.IDENTITY_BOUND] = tuple([b.exported for b in record.bound if b.value])
    owners = tuple([f"{domain}:{value}" for domain, value in record.row_owners if value])
    if owners:
        attributes[semconv.IDENTITY_ROW] = owners
    if record.bound or record.identities.count or record.row_key or owners:
        attributes[semconv.HASH_KEY_ID] = key_id
    entry = record.entry
    if entry is not None:
        name = getattr(entry, "name", "")
        if name:
            attributes[semconv.ENTRY_NAME] = name
        attributes[semconv.ENTRY_SPAN_ID] = f"{entry.get_span_context().span_id:016x}"


def clean_name(name: str, operation: str) -> str:
    """The name of contrib's span: the text up to its first blank, in which a literal may stand."""
    first, blank, rest = name.partition(" ")
    return name if first.isalpha() else f"{operation or 'SQL'}{blank}{rest}"


def _add_error(attributes: Attributes, error: ErrorFacts) -> None:
    attributes[semconv.ERROR_TYPE] = error.status_code or error.error_type
    if error.status_code:
        attributes[semconv.DB_RESPONSE_STATUS_CODE] = error.status_code
    add_constraint(attributes, error)


def add_constraint(attributes: Attributes, error: ErrorFacts) -> None:
    """The constraint that was violated, if one was."""
    if error.constraint_kind:
        attributes[semconv.CONSTRAINT_KIND] = error.constraint_kind
    if error.constraint_name:
        attributes[semconv.CONSTRAINT_NAME] = error.constraint_name
    if error.constraint_table:
        attributes[semconv.CONSTRAINT_TABLE] = error.constraint_table
    if error.constraint_columns:
        attributes[semconv.CONSTRAINT_COLUMNS] = error.constraint_columns
