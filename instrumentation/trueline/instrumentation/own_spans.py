"""Spans that Trueline passes on: finished, and with attributes that are put together when they are read.

To span processors and exporters they are the SDK's ``ReadableSpan``. An exporter that reads ``attributes``
gets a dictionary; Trueline's own joins the encoded parts and never makes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from trueline.instrumentation import wire

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)
# Numbers of SpanKind in trace.proto; the API's own are one less.
_KINDS = {kind: kind.value + 1 for kind in SpanKind}


class Origin:
    """What all spans of one instrumentation in one provider share: resource and scope."""

    __slots__ = ("resource", "scope")

    def __init__(self, resource: Resource | None, scope: InstrumentationScope | None) -> None:
        self.resource = resource
        self.scope = scope


class Facts(Protocol):
    """Where a span's attributes come from, once somebody wants them. No name is in two of them."""

    def parts(self) -> tuple[wire.Part, ...]:
        """Attributes that many spans share."""

    def rest(self) -> dict[str, Any]:
        """Attributes of this span alone."""


def encode_plain(span: ReadableSpan) -> bytes | None:
    """Any span of the SDK as it stands in ScopeSpans; None if it has what is not encoded here."""
    context = span.context
    if context is None or span.dropped_attributes or span.dropped_events or span.dropped_links:
        return None
    if context.trace_state or span._events or span._links:
        return None
    attributes = span._attributes or {}
    if any(isinstance(value, Mapping) for value in attributes.values()):
        return None
    parent, status = span.parent, span.status
    return wire.span(
        trace_id=context.trace_id,
        span_id=context.span_id,
        parent_id=0 if parent is None else parent.span_id,
        name=span.name,
        kind=_KINDS[span.kind],
        started_at=span.start_time or 0,
        ended_at=span.end_time or 0,
        attributes=wire.encode_attributes(attributes),
        status=status.status_code.value,
        message=status.description or "",
        remote_parent=parent is not None and parent.is_remote,
    )


class OwnSpan(ReadableSpan):
    """A finished span: of ours, or of another instrumentation and adopted."""

    def __init__(
        self,
        origin: Origin,
        name: str,
        kind: SpanKind,
        context: SpanContext,
        parent: SpanContext | None,
        started_at: int,
        ended_at: int,
        facts: Facts,
        error: str | None = None,
    ) -> None:
        # The base class's fields, set here without its __init__, which costs as much as everything else.
        self._name = name
        self._kind = kind
        self._context = context
        self._parent = parent
        self._start_time = started_at
        self._end_time = ended_at
        self._origin = origin
        self._facts = facts
        self._error = error

    # The SDK reads some of these by their private names (to_json, processors of other vendors).
    _events = ()
    _links = ()
    _instrumentation_info = None

    @property
    def _attributes(self) -> dict[str, Any]:  # type: ignore[override]
        merged: dict[str, Any] = {}
        for part in self._facts.parts():
            merged.update(part.attributes)
        merged.update(self._facts.rest())
        return merged

    @property
    def _status(self) -> Status:  # type: ignore[override]
        return _UNSET if self._error is None else Status(StatusCode.ERROR, self._error)

    @property
    def _resource(self) -> Resource | None:  # type: ignore[override]
        return self._origin.resource

    @property
    def _instrumentation_scope(self) -> InstrumentationScope | None:  # type: ignore[override]
        return self._origin.scope

    def encoded(self) -> bytes:
        """The span as it stands in OTLP's ScopeSpans."""
        context, parent, error, facts = self._context, self._parent, self._error, self._facts
        assert context is not None
        return wire.span(
            trace_id=context.trace_id,
            span_id=context.span_id,
            parent_id=0 if parent is None else parent.span_id,
            name=self._name,
            kind=3 if self._kind is SpanKind.CLIENT else _KINDS[self._kind],
            started_at=self._start_time or 0,
            ended_at=self._end_time or 0,
            attributes=b"".join(
                [*[part.encoded() for part in facts.parts()], wire.encode_attributes(facts.rest())]
            ),
            status=0 if error is None else StatusCode.ERROR.value,
            message=error or "",
            remote_parent=parent is not None and parent.is_remote,
        )
