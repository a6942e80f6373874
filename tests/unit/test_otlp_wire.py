"""The count on the wire: equal to what the parser makes, and bounded whatever the bytes are."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from trueline.monitor.otlp import wire
from trueline.monitor.otlp.errors import MalformedBodyError, TooLargeError

GOLDEN = Path(__file__).parents[1] / "data" / "otlp"


def request(spans: int, attributes: int = 0, events: int = 0) -> ExportTraceServiceRequest:
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    for _ in range(spans):
        span = scope.spans.add(name="a span", start_time_unix_nano=2**60, flags=257)
        for number in range(attributes):
            span.attributes.add(key=f"key {number}").value.string_value = "value"
        for _ in range(events):
            span.events.add(name="event").attributes.add(key="k").value.int_value = -1
    return message


def test_counts_spans_and_what_holds_them() -> None:
    body = request(spans=3, attributes=2).SerializeToString()
    assert wire.count_messages(body, wire.ITEMS, 100) == 3 + 2


def test_counts_everything_inside() -> None:
    body = request(spans=3, attributes=2, events=1).SerializeToString()
    # Per span: itself, two attributes of key and value, one event with one attribute and its value.
    assert wire.count_messages(body, wire.TRACES, 100) == 2 + 3 * (1 + 2 * 2 + 1 + 2)


def test_counts_nested_values_of_logs() -> None:
    message = ExportLogsServiceRequest()
    record = message.resource_logs.add().scope_logs.add().log_records.add()
    inner = record.body.kvlist_value.values.add(key="a").value.array_value
    for _ in range(5):
        inner.values.add().int_value = 1
    # Resource, scope, record, body, map, pair, value, array, five items.
    assert wire.count_messages(message.SerializeToString(), wire.LOGS, 100) == 8 + 5


def test_stops_just_above_the_limit() -> None:
    assert wire.count_messages(request(spans=50).SerializeToString(), wire.ITEMS, 10) == 11


def test_refuses_the_bomb_of_empty_spans() -> None:
    spans = b"\x12\x00" * (wire.MAX_ITEMS + 1)
    scope = b"\x12" + _varint(len(spans)) + spans
    body = b"\x0a" + _varint(len(scope)) + scope
    assert len(body) < 500_000
    with pytest.raises(TooLargeError, match="200,000 spans"):
        wire.check(body, wire.TRACES)


def test_refuses_one_span_with_a_million_attributes() -> None:
    attributes = b"\x4a\x00" * (wire.MAX_MESSAGES + 1)
    span = b"\x12" + _varint(len(attributes)) + attributes
    scope = b"\x12" + _varint(len(span)) + span
    body = b"\x0a" + _varint(len(scope)) + scope
    with pytest.raises(TooLargeError, match="1,000,000 values"):
        wire.check(body, wire.TRACES)


def test_a_large_ordinary_request_passes() -> None:
    body = request(spans=5_000, attributes=20).SerializeToString()
    assert len(body) > wire.DEEP_SCAN_BYTES
    wire.check(body, wire.TRACES)


def test_every_cut_is_refused_or_parsed() -> None:
    body = request(spans=2, attributes=1, events=1).SerializeToString()
    for end in range(len(body)):
        cut = body[:end]
        try:
            ExportTraceServiceRequest.FromString(cut)
            parses = True
        except DecodeError:
            parses = False
        try:
            wire.count_messages(cut, wire.TRACES, 1000)
            counts = True
        except MalformedBodyError:
            counts = False
        # What the parser takes must be countable; what cannot be counted must not be parsed.
        assert counts >= parses


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_counted_or_refused(body: bytes) -> None:
    try:
        assert 0 <= wire.count_messages(body, wire.TRACES, 50) <= 51
    except MalformedBodyError:
        with pytest.raises(DecodeError):
            ExportTraceServiceRequest.FromString(body)


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def test_every_submessage_begins_with_a_byte_that_is_counted() -> None:
    def numbers(fields: wire.Fields, seen: set[int]) -> set[int]:
        if id(fields) not in seen:
            seen.add(id(fields))
            return {*fields, *(one for inner in fields.values() for one in numbers(inner, seen))}
        return set()

    known = numbers(wire.TRACES, set()) | numbers(wire.LOGS, set())
    assert {number << 3 | 2 for number in known} <= set(wire._TAGS)
    body = (GOLDEN / "own-traces.pb").read_bytes()
    assert wire.count_messages(body, wire.TRACES, 10**6) <= wire._could_hold(body) < len(body) // 4
