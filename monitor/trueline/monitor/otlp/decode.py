"""From a parsed OTLP request to the columns of ``otel_traces`` and ``otel_logs``.

What was sent is stored as it came; older and newer attribute names alike. An item that cannot be stored
(an id of the wrong length, say) is left out and counted, the rest of the request is kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from trueline.instrumentation.clickhouse.columns import LOG_COLUMNS, MAX_NANOSECONDS, TRACE_COLUMNS
from trueline.monitor.store.map_values import encode_map, encode_value

_KINDS: Final = ("Unspecified", "Internal", "Server", "Client", "Producer", "Consumer")
_STATUSES: Final = ("Unset", "Ok", "Error")
_NO_TRACE: Final = bytes(16)
_NO_SPAN: Final = bytes(8)


@dataclass(slots=True)
class Batch:
    """The rows of one request, as columns of equal length; and the items that were left out."""

    table: str
    columns: dict[str, list[Any]]
    rows: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def reject(self, reason: str) -> None:
        """Count one item that is left out."""
        self.rejected += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1

    @property
    def rejection(self) -> str:
        """The reasons in one sentence, empty if nothing was left out."""
        return "; ".join(f"{count} left out: {reason}" for reason, count in self.reasons.items())


def decode_traces(request: ExportTraceServiceRequest) -> Batch:
    """Turn a request into rows of ``otel_traces``. Times are nanoseconds since 1970, ids lower-case hex."""
    rows: list[tuple[Any, ...]] = []
    batch = Batch("otel_traces", {})
    for resource_spans in request.resource_spans:
        resource = encode_map(resource_spans.resource.attributes)
        service = resource.get("service.name", "")
        for scope_spans in resource_spans.scope_spans:
            scope = scope_spans.scope
            scope_name, scope_version = scope.name, scope.version
            for span in scope_spans.spans:
                reason = span_problem(span)
                if reason:
                    batch.reject(reason)
                    continue
                start = span.start_time_unix_nano
                parent = span.parent_span_id
                rows.append(
                    (
                        start,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        "" if parent == _NO_SPAN else parent.hex(),
                        span.trace_state,
                        span.name,
                        _pick(_KINDS, span.kind),
                        service,
                        resource,
                        scope_name,
                        scope_version,
                        encode_map(span.attributes),
                        # A span without an end, or with clocks that ran backwards, has no duration.
                        max(0, span.end_time_unix_nano - start),
                        _pick(_STATUSES, span.status.code),
                        span.status.message,
                        *_events(span.events),
                        *_links(span.links),
                    )
                )
    return _fill(batch, TRACE_COLUMNS, rows)


def decode_logs(request: ExportLogsServiceRequest, arrived: int | None = None) -> Batch:
    """Turn a request into rows of ``otel_logs``.

    A record without any time gets the time of its arrival: ``arrived`` in nanoseconds, else now.
    """
    rows: list[tuple[Any, ...]] = []
    batch = Batch("otel_logs", {})
    now = time.time_ns() if arrived is None else arrived
    for resource_logs in request.resource_logs:
        resource = encode_map(resource_logs.resource.attributes)
        service = resource.get("service.name", "")
        for scope_logs in resource_logs.scope_logs:
            scope = scope_logs.scope
            scope_attributes = encode_map(scope.attributes)
            for record in scope_logs.log_records:
                timestamp = record.time_unix_nano or record.observed_time_unix_nano or now
                reason = record_problem(record)
                if reason:
                    batch.reject(reason)
                    continue
                rows.append(
                    (
                        timestamp,
                        "" if record.trace_id == _NO_TRACE else record.trace_id.hex(),
                        "" if record.span_id == _NO_SPAN else record.span_id.hex(),
                        record.flags & 0xFF,
                        record.severity_text,
                        min(max(record.severity_number, 0), 255),
                        service,
                        encode_value(record.body),
                        resource_logs.schema_url,
                        resource,
                        scope_logs.schema_url,
                        scope.name,
                        scope.version,
                        scope_attributes,
                        encode_map(record.attributes),
                        record.event_name,
                    )
                )
    return _fill(batch, LOG_COLUMNS, rows)


def _fill(batch: Batch, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Batch:
    batch.rows = len(rows)
    batch.columns = {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=False)}
    return batch


def span_problem(span: Span) -> str:
    """Why a span cannot be stored; empty if it can."""
    if len(span.trace_id) != 16 or span.trace_id == _NO_TRACE:
        return "the trace id is not 16 bytes, or all zero"
    if len(span.span_id) != 8 or span.span_id == _NO_SPAN:
        return "the span id is not 8 bytes, or all zero"
    if len(span.parent_span_id) not in (0, 8):
        return "the parent span id is not 8 bytes"
    if span.start_time_unix_nano > MAX_NANOSECONDS or span.end_time_unix_nano > MAX_NANOSECONDS:
        return "a time is after the year 2262"
    return ""


def record_problem(record: LogRecord) -> str:
    """Why a log record cannot be stored; empty if it can."""
    if len(record.trace_id) not in (0, 16):
        return "the trace id is not 16 bytes"
    if len(record.span_id) not in (0, 8):
        return "the span id is not 8 bytes"
    if (record.time_unix_nano or record.observed_time_unix_nano) > MAX_NANOSECONDS:
        return "a time is after the year 2262"
    return ""


def _events(events: Iterable[Span.Event]) -> tuple[list[int], list[str], list[dict[str, str]]]:
    times: list[int] = []
    names: list[str] = []
    attributes: list[dict[str, str]] = []
    for event in events:
        times.append(min(event.time_unix_nano, MAX_NANOSECONDS))
        names.append(event.name)
        attributes.append(encode_map(event.attributes))
    return times, names, attributes


def _links(links: Iterable[Span.Link]) -> tuple[list[str], list[str], list[str], list[dict[str, str]]]:
    traces: list[str] = []
    spans: list[str] = []
    states: list[str] = []
    attributes: list[dict[str, str]] = []
    for link in links:
        traces.append(link.trace_id.hex())
        spans.append(link.span_id.hex())
        states.append(link.trace_state)
        attributes.append(encode_map(link.attributes))
    return traces, spans, states, attributes


def _pick(names: tuple[str, ...], number: int) -> str:
    """The name of an enum's number; a number of the future reads as unspecified."""
    return names[number] if 0 <= number < len(names) else names[0]
