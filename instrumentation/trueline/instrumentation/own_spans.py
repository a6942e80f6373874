"""Spans that Trueline passes on: finished, and with attributes that are put together when they are read.

To span processors and exporters they are the SDK's ``ReadableSpan``. An exporter that reads ``attributes``
gets a dictionary; Trueline's own joins the encoded parts and never makes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import (
    DEFAULT_TRACE_STATE,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from trueline.instrumentation import wire

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)
# Numbers of SpanKind in trace.proto; the API's own are one less.
KINDS = {kind: kind.value + 1 for kind in SpanKind}


class Origin:
    """What all spans of one instrumentation in one provider share: resource and scope."""

    __slots__ = ("resource", "scope")

    def __init__(self, resource: Resource | None, scope: InstrumentationScope | None) -> None:
        self.resource = resource
        self.scope = scope


def _make_context() -> Callable[[int, int], SpanContext]:
    def public(trace_id: int, span_id: int) -> SpanContext:
        return SpanContext(trace_id, span_id, False, SAMPLED)

    if tuple(public(1, 2)) != (1, 2, False, SAMPLED, DEFAULT_TRACE_STATE, True):
        return public  # a release of the API that lays it out otherwise

    def quick(trace_id: int, span_id: int) -> SpanContext:
        # Its constructor checks ids, which ours pass, at ten times the cost.
        return tuple.__new__(SpanContext, (trace_id, span_id, False, SAMPLED, DEFAULT_TRACE_STATE, True))

    return quick


#: The context of a span of ours, sampled; both ids are valid: not 0, and no longer than they may be.
own_context: Final[Callable[[int, int], SpanContext]] = _make_context()


def encode_plain(span: ReadableSpan) -> list[bytes] | None:
    """Any span of the SDK in OTLP, in pieces; None if it has what is not encoded here."""
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
        kind=KINDS[span.kind],
        started_at=span.start_time or 0,
        ended_at=span.end_time or 0,
        attributes=wire.encode_attributes(attributes),
        status=status.status_code.value,
        message=status.description or "",
        remote_parent=parent is not None and parent.is_remote,
    )


class OwnSpan(ReadableSpan):
    """A finished span: of ours, or of another instrumentation and adopted.

    The base class's fields are properties of the classes that derive from this one: most are wanted once, if
    at all, and not on the request's path.
    """

    __slots__ = ()

    # The SDK reads some of these by their private names (to_json, processors of other vendors).
    _events = ()
    _links = ()
    _instrumentation_info = None

    @property
    def _origin(self) -> Origin:
        raise NotImplementedError

    @property
    def _error(self) -> str | None:
        """The error's description; None: no error."""
        raise NotImplementedError

    def parts(self) -> tuple[wire.Part, ...]:
        """Attributes that many spans share. No name is in two of them, or in the rest."""
        raise NotImplementedError

    def rest(self) -> dict[str, Any]:
        """Attributes of this span alone."""
        raise NotImplementedError

    @property
    def _attributes(self) -> dict[str, Any]:  # type: ignore[override]
        merged: dict[str, Any] = {}
        for part in self.parts():
            merged.update(part.attributes)
        merged.update(self.rest())
        return merged

    @property
    def _status(self) -> Status:  # type: ignore[override]
        error = self._error
        return _UNSET if error is None else Status(StatusCode.ERROR, error)

    @property
    def _resource(self) -> Resource | None:  # type: ignore[override]
        return self._origin.resource

    @property
    def _instrumentation_scope(self) -> InstrumentationScope | None:  # type: ignore[override]
        return self._origin.scope

    def pieces(self) -> list[bytes]:
        """The span in OTLP, in pieces that others share: joined once, for a whole batch."""
        context, parent, error = self._context, self._parent, self._error
        assert context is not None
        return wire.span(
            trace_id=context[0],
            span_id=context[1],
            parent_id=0 if parent is None else parent[1],
            name=self._name,
            kind=KINDS[self._kind],
            started_at=self._start_time or 0,
            ended_at=self._end_time or 0,
            attributes=b"".join(
                [*[part.encoded() for part in self.parts()], wire.encode_attributes(self.rest())]
            ),
            status=0 if error is None else StatusCode.ERROR.value,
            message=error or "",
            remote_parent=parent is not None and parent[2],
        )
