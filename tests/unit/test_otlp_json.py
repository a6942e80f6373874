"""OTLP's JSON form means the same as its protobuf form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from trueline.monitor.otlp import json as otlp_json
from trueline.monitor.otlp.errors import MalformedBodyError, RefusedError, TooLargeError
from trueline.monitor.otlp.wire import MAX_MESSAGES


def parse(document: Any) -> ExportTraceServiceRequest:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return otlp_json.parse(body, ExportTraceServiceRequest())


def trace(span: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def test_ids_are_hex_and_enums_numbers_and_long_integers_text() -> None:
    message = parse(
        trace(
            {
                "traceId": "5B8EFFF798038103D269B633813FC60C",
                "spanId": "EEE19B7EC3C1B174",
                "parentSpanId": "eee19b7ec3c1b173",
                "kind": 2,
                "startTimeUnixNano": "1544712660000000000",
                "endTimeUnixNano": 1544712661000000000,
                "status": {"code": 2, "message": "no"},
                "links": [{"traceId": "5b8efff798038103d269b633813fc60d", "spanId": "eee19b7ec3c1b175"}],
                "attributes": [
                    {"key": "i", "value": {"intValue": "9007199254740993"}},
                    {"key": "b", "value": {"bytesValue": "AP8="}},
                    {"key": "a", "value": {"arrayValue": {"values": [{"stringValue": "x"}]}}},
                ],
                "fieldOfTheFuture": {"deep": [1]},
            }
        )
    )
    span = message.resource_spans[0].scope_spans[0].spans[0]
    assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert span.span_id.hex() == "eee19b7ec3c1b174"
    assert span.parent_span_id.hex() == "eee19b7ec3c1b173"
    assert (span.kind, span.status.code) == (2, 2)
    assert span.start_time_unix_nano == 1544712660000000000
    assert span.end_time_unix_nano == 1544712661000000000
    assert span.links[0].trace_id.hex() == "5b8efff798038103d269b633813fc60d"
    assert span.attributes[0].value.int_value == 9007199254740993
    assert span.attributes[1].value.bytes_value == b"\x00\xff"
    assert span.attributes[2].value.array_value.values[0].string_value == "x"


def test_log_records_have_their_ids_converted_too() -> None:
    document = {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"traceId": "00" * 15 + "01"}]}]}]}
    message = otlp_json.parse(json.dumps(document).encode(), ExportLogsServiceRequest())
    assert message.resource_logs[0].scope_logs[0].log_records[0].trace_id == bytes(15) + b"\x01"


@pytest.mark.parametrize("bad", ["", "xyz", "0g" * 16, "abc", "5b8efff7-9803-8103-d269-b633813fc60c"])
def test_an_id_that_is_not_hex_spoils_its_span_only(bad: str) -> None:
    message = parse(trace({"traceId": bad, "name": "kept"}))
    span = message.resource_spans[0].scope_spans[0].spans[0]
    assert span.name == "kept"
    assert len(span.trace_id) != 16


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"resourceSpans": 3}',
        b'{"resourceSpans": [3]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": 12}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": 12}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": -1}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"startTimeUnixNano": "x"}]}]}]}',
        b'{"resourceSpans":' * 5000,
        b"[" * 100_000,
        b'{"resourceSpans":[{"resource":{"attributes":[{"key":"k","value":'
        + b'{"arrayValue":{"values":[' * 200
        + b"]}}" * 200
        + b"}]}}]}",
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(MalformedBodyError) as caught:
        parse(body)
    assert "\n" not in str(caught.value)


def test_too_many_containers_are_refused_before_they_are_made() -> None:
    with pytest.raises(TooLargeError):
        parse(b"[" + b"{}," * MAX_MESSAGES + b"{}]")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["resourceSpans", "scopeSpans", "spans", "traceId", "links", "attributes", "key", "value"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=15,
)


@given(_VALUES)
def test_any_json_is_taken_or_refused(document: Any) -> None:
    try:
        parse(document)
    except RefusedError:
        pass
