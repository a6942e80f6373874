"""Spans of contrib's instrumentation, taken over before it ends them.

The span of OpenTelemetry's SDK is not kept and not ended: what it says is read off it at once, and a finished
span with the same ids, name, times, scope and attributes, and ours beside them, leaves when the outcome is
known. That costs a third of ending the SDK's. Where the SDK's span has what we do not read (events, links,
limits) or is another implementation's, it is kept, and ended the public way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from trueline.instrumentation.own_spans import Origin

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

_MAX_ORIGINS = 64
_origins: dict[int, Origin] = {}


class Adopted:
    """What another instrumentation's span says. ``span`` is set where it has to be ended itself."""

    __slots__ = ("attributes", "context", "finish", "kind", "name", "origin", "parent", "span", "started_at")

    def __init__(self, span: Any) -> None:
        self.span: Any = None
        try:
            bounded = span._attributes
            readable = (
                not span._events
                and not span._links
                and span._status.status_code is StatusCode.UNSET
                and bounded.max_value_len is None
                and (bounded.maxlen is None or bounded.maxlen >= 128)
            )
            if readable:
                self.attributes: Mapping[str, Any] = bounded._dict
                self.name: str = span._name
                self.kind: SpanKind = span.kind
                self.parent: SpanContext | None = span._parent
                self.started_at: int = span._start_time
                #: Takes the finished span: the processors of its own provider, which need not be ours.
                self.finish: Callable[[ReadableSpan], None] = span._span_processor.on_end
                self.origin = _origin_of(span._resource, span._instrumentation_scope)
                # The SDK's own metrics count spans that live: this one does not, for them.
                record_end = getattr(span, "_record_end_metrics", None)
                if record_end is not None:
                    record_end()
        except AttributeError:
            readable = False
        self.context: SpanContext = span.get_span_context()
        if not readable:
            self.span = span


def adopt(span: Any) -> Adopted | None:
    """Take over ``span``; None if it does not record: the trace's sampler dropped it."""
    return Adopted(span) if span.is_recording() else None


def _origin_of(resource: Resource, scope: InstrumentationScope) -> Origin:
    """One object a scope, so that an exporter can group by it."""
    known = _origins.get(id(scope))
    if known is None or known.resource is not resource:
        if len(_origins) >= _MAX_ORIGINS:
            _origins.clear()
        known = _origins[id(scope)] = Origin(resource, scope)
    return known
