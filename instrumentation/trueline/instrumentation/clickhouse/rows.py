"""From finished spans and log records to the columns of ``otel_traces`` and ``otel_logs``.

Column for column what the monitor's receiver makes of the same spans and records sent by OTLP.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import SpanKind, StatusCode

from trueline.instrumentation.clickhouse.columns import LOG_COLUMNS, MAX_NANOSECONDS, TRACE_COLUMNS
from trueline.instrumentation.clickhouse.map_values import clean, encode_map, encode_value
from trueline.instrumentation.own_spans import OwnSpan

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link

    from trueline.instrumentation.wire import Part

_KINDS: Final = {kind: kind.name.capitalize() for kind in SpanKind}
_STATUSES: Final = {code: code.name.capitalize() for code in StatusCode}
#: Shared parts and resources whose maps are kept.
_MAX_KEPT: Final = 4096
_EVENTS: Final[tuple[list[int], list[str], list[dict[str, str]]]] = ([], [], [])
_LINKS: Final[tuple[list[str], list[str], list[str], list[dict[str, str]]]] = ([], [], [], [])

Columns = dict[str, list[Any]]


class Rows:
    """Makes columns, and keeps the maps of what many spans share. For one thread at a time."""

    def __init__(self) -> None:
        # The objects are kept with their maps, so that an id stays its own.
        self._parts: dict[int, tuple[Part, dict[str, str]]] = {}
        self._resources: dict[int, tuple[Resource, dict[str, str]]] = {}

    def spans(self, spans: Iterable[ReadableSpan]) -> Columns:
        """Spans as columns of ``otel_traces``, times in ns since the epoch; one without ids is left out."""
        return _columns(TRACE_COLUMNS, [self._span(span) for span in spans if span.context is not None])

    def _span(self, span: ReadableSpan) -> tuple[Any, ...]:
        context, parent = span.context, span.parent
        resource, scope = self._resource(span.resource), span.instrumentation_scope
        started_at = _time(span.start_time)
        if isinstance(span, OwnSpan):
            code, message = (StatusCode.UNSET, "") if span._error is None else (StatusCode.ERROR, span._error)
            attributes = self._own(span)
        else:
            code, message = span.status.status_code, span.status.description or ""
            attributes = encode_map(span.attributes)
        return (
            started_at,
            f"{context.trace_id:032x}",
            f"{context.span_id:016x}",
            "" if parent is None else f"{parent.span_id:016x}",
            context.trace_state.to_header() if context.trace_state else "",
            clean(span.name),
            _KINDS[span.kind],
            resource.get("service.name", ""),
            resource,
            "" if scope is None else scope.name,
            "" if scope is None else scope.version or "",
            attributes,
            max(0, _time(span.end_time) - started_at),
            _STATUSES[code],
            clean(message),
            *(_events(span._events) if span._events else _EVENTS),
            *(_links(span._links) if span._links else _LINKS),
        )

    def _own(self, span: OwnSpan) -> dict[str, str]:
        merged: dict[str, str] = {}
        for part in span.parts():
            known = self._parts.get(id(part))
            if known is None:
                if len(self._parts) >= _MAX_KEPT:
                    self._parts.clear()
                known = self._parts[id(part)] = (part, encode_map(part.attributes))
            merged.update(known[1])
        merged.update(encode_map(span.rest()))
        return merged

    def _resource(self, resource: Resource | None) -> dict[str, str]:
        if resource is None:
            return {}
        known = self._resources.get(id(resource))
        if known is None:
            if len(self._resources) >= 64:
                self._resources.clear()
            known = self._resources[id(resource)] = (resource, encode_map(resource.attributes))
        return known[1]

    def logs(self, records: Iterable[ReadableLogRecord]) -> Columns:
        """Records as columns of ``otel_logs``. One without any time gets the time of now."""
        return _columns(LOG_COLUMNS, [self._log(record) for record in records])

    def _log(self, readable: ReadableLogRecord) -> tuple[Any, ...]:
        record, scope = readable.log_record, readable.instrumentation_scope
        resource = self._resource(readable.resource)
        severity = 0 if record.severity_number is None else record.severity_number.value
        return (
            _time(record.timestamp or record.observed_timestamp or time.time_ns()),
            f"{record.trace_id:032x}" if record.trace_id else "",
            f"{record.span_id:016x}" if record.span_id else "",
            int(record.trace_flags or 0) & 0xFF,
            clean(record.severity_text or ""),
            min(max(severity, 0), 255),
            resource.get("service.name", ""),
            encode_value(record.body),
            "" if readable.resource is None else readable.resource.schema_url or "",
            resource,
            "" if scope is None else scope.schema_url or "",
            "" if scope is None else scope.name,
            "" if scope is None else scope.version or "",
            {} if scope is None else encode_map(scope.attributes),
            encode_map(record.attributes),
            clean(record.event_name or ""),
        )


def _columns(names: Sequence[str], rows: list[tuple[Any, ...]]) -> Columns:
    if not rows:
        return {}
    return {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


def _time(nanoseconds: int | None) -> int:
    return min(max(nanoseconds or 0, 0), MAX_NANOSECONDS)


def _events(events: Iterable[Event]) -> tuple[list[int], list[str], list[dict[str, str]]]:
    times, names, attributes = [], [], []
    for event in events:
        times.append(_time(event.timestamp))
        names.append(clean(event.name))
        attributes.append(encode_map(event.attributes))
    return times, names, attributes


def _links(links: Iterable[Link]) -> tuple[list[str], list[str], list[str], list[dict[str, str]]]:
    traces, spans, states, attributes = [], [], [], []
    for link in links:
        traces.append(f"{link.context.trace_id:032x}")
        spans.append(f"{link.context.span_id:016x}")
        states.append(link.context.trace_state.to_header() if link.context.trace_state else "")
        attributes.append(encode_map(link.attributes))
    return traces, spans, states, attributes
