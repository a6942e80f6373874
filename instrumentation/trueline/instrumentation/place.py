"""What the spans of one transaction share: where they hang in the trace, and for whom they ran.

Its encodings are made once a transaction, with the first of its spans that is encoded.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import SpanContext

from trueline.instrumentation import ambient, semconv, wire
from trueline.instrumentation.own_spans import Origin, own_context

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from trueline.instrumentation.records import StatementRecord

#: Everything of these attributes but their value, which has 16 hex digits.
_ID_DIGITS: Final = 16
_ID_HEAD: Final = wire.encode_attributes({semconv.TRANSACTION_ID: "0" * _ID_DIGITS})[:-_ID_DIGITS]


class Place:
    """The place of one transaction. ``first``: the statement that left first, which decided it."""

    __slots__ = (
        "_encoded_id",
        "_ids",
        "_scope",
        "_scope_of",
        "context",
        "first",
        "key_id",
        "origin",
        "parent",
        "transaction_id",
    )

    def __init__(self, transaction_id: str, first: StatementRecord, origin: Origin, key_id: str) -> None:
        self.transaction_id = transaction_id
        self.first = first
        self.origin = origin
        self.key_id = key_id
        #: Of the transaction's span; its statements are its siblings, or its children where it is a root.
        self.parent = first.parent
        trace_id = ambient.new_trace_id() if first.parent is None else first.parent.trace_id
        self.context = own_context(trace_id, ambient.new_span_id())
        self._ids: tuple[SpanContext, bytes, bytes] | None = None
        self._encoded_id: bytes | None = None
        self._scope_of: tuple[object, Span | None, str, str] | None = None
        self._scope = b""

    @property
    def encoded_id(self) -> bytes:
        """The attribute with the transaction's id, encoded."""
        encoded = self._encoded_id
        if encoded is None:
            data = self.transaction_id.encode()
            if len(data) == _ID_DIGITS:
                encoded = _ID_HEAD + data
            else:
                encoded = wire.encode_attributes({semconv.TRANSACTION_ID: self.transaction_id})
            self._encoded_id = encoded
        return encoded

    def ids(self, parent: SpanContext) -> tuple[SpanContext, bytes, bytes]:
        """``parent``, and of a span below it what is encoded before its own id, and behind."""
        known = self._ids
        if known is None or known[0] is not parent:
            known = self._ids = (
                parent,
                wire.trace_head(parent[0]),
                wire.parent_field(parent[1]),
            )
        return known

    def encoded_scope(self, record: StatementRecord) -> bytes:
        """Attributes, encoded, that say for whom ``record`` ran and from where its work came."""
        entry = record.entry
        name = "" if entry is None else getattr(entry, "name", "")
        known = self._scope_of
        if (
            known is None
            or known[0] is not record.bound
            or known[1] is not entry
            or known[2] != name
            or known[3] != record.orm_session_id
        ):
            self._scope_of = (record.bound, entry, name, record.orm_session_id)
            attributes: dict[str, Any] = {}
            if record.orm_session_id:
                attributes[semconv.ORM_SESSION_ID] = record.orm_session_id
            add_bound(attributes, record)
            self._scope = wire.encode_attributes(attributes)
        return self._scope


def add_scope(attributes: dict[str, Any], record: StatementRecord, key_id: str) -> None:
    """For whom the statement ran, and from where the work came."""
    add_bound(attributes, record)
    owners = owners_of(record)
    if owners:
        attributes[semconv.IDENTITY_ROW] = owners
    if is_hashed(record):
        attributes[semconv.HASH_KEY_ID] = key_id


def add_bound(attributes: dict[str, Any], record: StatementRecord) -> None:
    """What most statements of a transaction agree on."""
    if record.bound:
        attributes[semconv.IDENTITY_BOUND] = tuple([b.exported for b in record.bound if b.value])
    entry = record.entry
    if entry is not None:
        name = getattr(entry, "name", "")
        if name:
            attributes[semconv.ENTRY_NAME] = name
        attributes[semconv.ENTRY_SPAN_ID] = f"{entry.get_span_context().span_id:016x}"


def owners_of(record: StatementRecord) -> tuple[str, ...]:
    """Whom the rows belong to of a statement that names nobody."""
    if not record.row_owners:
        return ()
    return tuple([f"{domain}:{value}" for domain, value in record.row_owners if value])


def is_hashed(record: StatementRecord) -> bool:
    """Whether the statement's span says anything that was hashed under the key."""
    return bool(record.bound or record.identities.count or record.row_key or owners_of(record))


@functools.lru_cache(maxsize=16)
def encoded_key_id(key_id: str) -> bytes:
    """The attribute that names the key of hashes, encoded."""
    return wire.encode_attributes({semconv.HASH_KEY_ID: key_id})
