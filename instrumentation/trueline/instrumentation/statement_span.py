"""The span of one statement: ours, or another instrumentation's with our attributes beside its own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanContext, SpanKind

from trueline.instrumentation import semconv, wire
from trueline.instrumentation.own_spans import KINDS, Origin, OwnSpan, own_context
from trueline.instrumentation.place import add_scope, encoded_key_id, is_hashed, owners_of
from trueline.instrumentation.wire import Part

if TYPE_CHECKING:
    from trueline.instrumentation.adopted import Adopted
    from trueline.instrumentation.database_errors import ErrorFacts
    from trueline.instrumentation.identity import Identities
    from trueline.instrumentation.place import Place
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.statement import Plan

# What contrib's spans carry under either generation of names: literals in it would leave the process.
_OLD_STATEMENT_TEXT = "db.statement"
# Standard names that not every execution of a statement has.
_OF_EXECUTION = frozenset(
    {semconv.DB_OPERATION_BATCH_SIZE, semconv.DB_RESPONSE_STATUS_CODE, semconv.ERROR_TYPE}
)
# There contrib writes the name of its span.
_OPERATION = ("db.operation", semconv.DB_OPERATION_NAME)

Attributes = dict[str, Any]

_CLIENT = KINDS[SpanKind.CLIENT]
#: What other spans' attributes become, by plan, database and attributes: few of these occur in one process.
_MAX_KEPT = 1024
_MAX_TEXT = 4096
_kept_before: dict[tuple[Any, ...], tuple[bytes, Plan, Part]] = {}


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
        attributes: Attributes = {semconv.TRANSACTION_ID: self._place.transaction_id, **self._rare()}
        if record.rows is not None:
            attributes[semconv.STATEMENT_ROWS] = record.rows
        if record.orm_session_id:
            attributes[semconv.ORM_SESSION_ID] = record.orm_session_id
        add_scope(attributes, record, self._place.key_id)
        return attributes

    def pieces(self) -> list[bytes]:
        """The span in OTLP: the same as its attributes say, put together from what is encoded already."""
        record = self._record
        around = record.parent or self._place.context
        _, head, parent = self._place.ids(around)
        return [
            head,
            record.span_number.to_bytes(8, "big"),
            parent,
            wire.name_head(self._name, _CLIENT),
            wire.times(record.started_at, record.ended_at),
            *self._encoded_attributes(),
            b"" if record.error is None else wire.status(record.error.description),
            wire.flags(around[2]),
        ]

    def _encoded_attributes(self) -> list[bytes]:
        record, place = self._record, self._place
        database, said, ending, identities = (
            record.database,
            record.plan.part,
            self._ending,
            record.identities,
        )
        if said is None:
            said = _attach(record.plan)
        pieces = [
            database.bytes or database.encoded(),
            said.bytes or said.encoded(),
            ending.bytes or ending.encoded(),
            place.encoded_id,
            place.encoded_scope(record),
        ]
        if identities.count:
            part = identities.part or _identities(identities)
            pieces.append(part.bytes or part.encoded())
        if record.rows is not None:
            pieces.append(_encoded_rows(record.rows))
        if is_hashed(record):
            pieces.append(encoded_key_id(place.key_id))
        if record.batch or record.row_key or record.row_owners or record.error is not None:
            pieces.append(wire.encode_attributes(self._rare()))
        return pieces

    def _rare(self) -> Attributes:
        """Attributes that few statements have."""
        record = self._record
        attributes: Attributes = {}
        if record.batch:
            attributes[semconv.DB_OPERATION_BATCH_SIZE] = record.batch
        if record.row_key:
            attributes[semconv.STATEMENT_ROW] = record.row_key
        owners = owners_of(record)
        if owners:
            attributes[semconv.IDENTITY_ROW] = owners
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
        attributes = self._kept(before)
        attributes.update(super().rest())
        return attributes

    def _kept(self, before: Any) -> Attributes:
        """What stays of the attributes that the span had."""
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
        return attributes

    def pieces(self) -> list[bytes]:
        """The span in OTLP."""
        record, adopted = self._record, self._adopted
        around = adopted.parent or self._place.context
        _, head, parent = self._place.ids(around)
        before = self._encoded_before()
        if before is None:
            return super(StatementSpan, self).pieces()
        return [
            head,
            adopted.context.span_id.to_bytes(8, "big"),
            parent,
            wire.name_head(self._name, KINDS[adopted.kind]),
            wire.times(adopted.started_at, record.ended_at),
            before,
            *self._encoded_attributes(),
            b"" if record.error is None else wire.status(record.error.description),
            wire.flags(around[2]),
        ]

    def _encoded_before(self) -> bytes | None:
        """What stays of the attributes that the span had, encoded; None: it has some of the rarer ones."""
        record, before = self._record, self._adopted.attributes
        # With their types: 1 and True are equal.
        key = (id(record.plan), id(record.database), *before.items(), *map(type, before.values()))
        try:
            known = _kept_before.get(key)
        except TypeError:  # a list among them
            return None
        if known is None:
            kept = self._kept(before)
            if any(name in _OF_EXECUTION or name.startswith("trueline.") for name in kept):
                return None  # ours win
            if any(isinstance(value, str) and len(value) > _MAX_TEXT for value in before.values()):
                return None
            if len(_kept_before) >= _MAX_KEPT:
                _kept_before.clear()
            # Plan and database are kept, so that their ids stay their own.
            known = _kept_before[key] = (wire.encode_attributes(kept), record.plan, record.database)
        return known[0]

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


@functools.lru_cache(maxsize=1024)
def _encoded_rows(rows: int) -> bytes:
    return wire.encode_attributes({semconv.STATEMENT_ROWS: rows})


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
