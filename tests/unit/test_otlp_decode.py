"""From OTLP messages to rows: ids, times, names, and items that are left out."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from trueline.instrumentation.clickhouse.columns import LOG_COLUMNS, MAX_NANOSECONDS, TRACE_COLUMNS
from trueline.monitor.otlp.decode import Batch, decode_logs, decode_traces

TRACE, SPAN = bytes(range(16)), bytes(range(8, 16))


def request(**span: Any) -> ExportTraceServiceRequest:
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "web"
    scope = resource.scope_spans.add()
    scope.scope.name, scope.scope.version = "a.scope", "1.2"
    scope.spans.add(**({"trace_id": TRACE, "span_id": SPAN, "name": "GET /"} | span))
    return message


def row(batch: Batch, index: int = 0) -> dict[str, Any]:
    return {name: values[index] for name, values in batch.columns.items()}


def test_a_span_keeps_all_that_was_sent() -> None:
    message = request(
        parent_span_id=b"\x01" * 8,
        trace_state="a=b",
        kind=Span.SPAN_KIND_SERVER,
        start_time_unix_nano=1_700_000_000_123_456_789,
        end_time_unix_nano=1_700_000_000_123_456_999,
    )
    span = message.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="http.status_code").value.int_value = 200
    span.status.code, span.status.message = 2, "boom"
    span.events.add(time_unix_nano=5, name="exception").attributes.add(
        key="exception.type"
    ).value.string_value = "ValueError"
    span.links.add(trace_id=b"\xff" * 16, span_id=b"\xee" * 8, trace_state="x=y")
    batch = decode_traces(message)
    assert tuple(batch.columns) == TRACE_COLUMNS
    assert row(batch) == {
        "Timestamp": 1_700_000_000_123_456_789,
        "TraceId": "000102030405060708090a0b0c0d0e0f",
        "SpanId": "08090a0b0c0d0e0f",
        "ParentSpanId": "0101010101010101",
        "TraceState": "a=b",
        "SpanName": "GET /",
        "SpanKind": "Server",
        "ServiceName": "web",
        "ResourceAttributes": {"service.name": "web"},
        "ScopeName": "a.scope",
        "ScopeVersion": "1.2",
        "SpanAttributes": {"http.status_code": "200"},
        "Duration": 210,
        "StatusCode": "Error",
        "StatusMessage": "boom",
        "Events.Timestamp": [5],
        "Events.Name": ["exception"],
        "Events.Attributes": [{"exception.type": "ValueError"}],
        "Links.TraceId": ["ff" * 16],
        "Links.SpanId": ["ee" * 8],
        "Links.TraceState": ["x=y"],
        "Links.Attributes": [{}],
    }


@pytest.mark.parametrize(
    ("span", "reason"),
    [
        ({"trace_id": b""}, "the trace id is not 16 bytes"),
        ({"trace_id": b"x" * 8}, "the trace id is not 16 bytes"),
        ({"trace_id": bytes(16)}, "all zero"),
        ({"span_id": b"x" * 7}, "the span id is not 8 bytes"),
        ({"span_id": bytes(8)}, "all zero"),
        ({"parent_span_id": b"x" * 16}, "the parent span id is not 8 bytes"),
        ({"start_time_unix_nano": 2**64 - 1}, "after the year 2262"),
        ({"end_time_unix_nano": MAX_NANOSECONDS + 1}, "after the year 2262"),
    ],
)
def test_a_bad_span_is_left_out_and_the_others_are_kept(span: dict[str, Any], reason: str) -> None:
    message = request(**span)
    for _ in range(999):
        message.resource_spans[0].scope_spans[0].spans.add(trace_id=TRACE, span_id=SPAN)
    batch = decode_traces(message)
    assert (batch.rows, batch.rejected) == (999, 1)
    assert len(batch.columns["TraceId"]) == 999
    assert batch.rejection.startswith("1 left out: ")
    assert reason in batch.rejection


@pytest.mark.parametrize(
    ("span", "column", "value"),
    [
        ({"parent_span_id": bytes(8)}, "ParentSpanId", ""),
        ({"start_time_unix_nano": 10, "end_time_unix_nano": 4}, "Duration", 0),
        ({"start_time_unix_nano": 10}, "Duration", 0),
        ({"kind": 99}, "SpanKind", "Unspecified"),
        ({"kind": -1}, "SpanKind", "Unspecified"),
        ({"kind": Span.SPAN_KIND_CONSUMER}, "SpanKind", "Consumer"),
        ({"start_time_unix_nano": MAX_NANOSECONDS}, "Timestamp", MAX_NANOSECONDS),
    ],
)
def test_odd_but_legal_values(span: dict[str, Any], column: str, value: Any) -> None:
    assert row(decode_traces(request(**span)))[column] == value


def test_old_and_new_names_are_kept_as_they_came() -> None:
    message = request()
    span = message.resource_spans[0].scope_spans[0].spans[0]
    for key in ("db.system", "db.system.name"):
        span.attributes.add(key=key).value.string_value = "postgresql"
    assert row(decode_traces(message))["SpanAttributes"] == {
        "db.system": "postgresql",
        "db.system.name": "postgresql",
    }


def test_an_empty_request_has_no_rows() -> None:
    for batch in (decode_traces(ExportTraceServiceRequest()), decode_logs(ExportLogsServiceRequest())):
        assert (batch.rows, batch.rejected, batch.columns) == (0, 0, {})


def test_a_log_record_keeps_all_that_was_sent() -> None:
    message = ExportLogsServiceRequest()
    resource = message.resource_logs.add(schema_url="https://r")
    resource.resource.attributes.add(key="service.name").value.string_value = "worker"
    scope = resource.scope_logs.add(schema_url="https://s")
    scope.scope.name, scope.scope.version = "app", "2"
    scope.scope.attributes.add(key="s").value.bool_value = True
    record = scope.log_records.add(
        time_unix_nano=7,
        observed_time_unix_nano=9,
        severity_number=17,
        severity_text="ERROR",
        trace_id=TRACE,
        span_id=SPAN,
        flags=0x101,
        event_name="trueline.write.committed",
    )
    record.body.kvlist_value.values.add(key="b").value.int_value = 1
    record.attributes.add(key="a").value.double_value = 0.5
    batch = decode_logs(message)
    assert tuple(batch.columns) == LOG_COLUMNS
    assert row(batch) == {
        "Timestamp": 7,
        "TraceId": TRACE.hex(),
        "SpanId": SPAN.hex(),
        "TraceFlags": 1,
        "SeverityText": "ERROR",
        "SeverityNumber": 17,
        "ServiceName": "worker",
        "Body": '{"b":1}',
        "ResourceSchemaUrl": "https://r",
        "ResourceAttributes": {"service.name": "worker"},
        "ScopeSchemaUrl": "https://s",
        "ScopeName": "app",
        "ScopeVersion": "2",
        "ScopeAttributes": {"s": "true"},
        "LogAttributes": {"a": "0.5"},
        "EventName": "trueline.write.committed",
    }


def test_log_times_fall_back_to_the_observed_one_then_to_now() -> None:
    message = ExportLogsServiceRequest()
    records = message.resource_logs.add().scope_logs.add().log_records
    records.add(observed_time_unix_nano=9)
    records.add(severity_number=-5)
    records.add(trace_id=b"short")
    batch = decode_logs(message)
    assert (batch.rows, batch.rejected) == (2, 1)
    observed, now = batch.columns["Timestamp"]
    assert observed == 9
    assert now > 1_700_000_000 * 10**9
    assert batch.columns["SeverityNumber"] == [0, 0]
    assert batch.columns["TraceId"] == ["", ""]
