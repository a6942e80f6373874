"""What the direct exporter inserts is what the receiver makes of the same spans and records sent by OTLP."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState
from sqlalchemy import create_engine, text
from support.map_vectors import NUMBERS, VALUES

from trueline.instrumentation import bind_identity, clickhouse
from trueline.instrumentation.clickhouse import map_values
from trueline.instrumentation.clickhouse.go_json import encode_double
from trueline.instrumentation.clickhouse.rows import Rows
from trueline.instrumentation.own_spans import OwnSpan
from trueline.instrumentation.testing import recorded
from trueline.monitor.otlp.decode import decode_logs, decode_traces

RESOURCE = Resource({"service.name": "größe", "tags": ["a", "<b>"], "n": 1.5}, "https://schema.example/1")
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXT
ATTRIBUTES = st.dictionaries(
    TEXT.filter(bool), SCALARS | st.lists(TEXT, max_size=3) | st.lists(st.floats(), max_size=3), max_size=6
)


@pytest.mark.parametrize(("value", "said"), VALUES)
def test_golden_vector(value: Any, said: str) -> None:
    assert map_values.encode_value(value) == said


@pytest.mark.parametrize(("number", "said"), NUMBERS)
def test_number(number: float, said: str) -> None:
    assert encode_double(number) == said


def test_what_is_no_unicode_can_be_sent() -> None:
    encoded = map_values.encode_map({"a\ud800": "b\udfff", "list": ["\ud800"]})
    assert encoded == {"a?": "b?", "list": '["?"]'}


def in_order(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return sorted(rows, key=lambda row: (row["SpanId"], row["Timestamp"]))


def same_rows(spans: list[ReadableSpan]) -> None:
    ours = Rows().spans(spans)
    theirs = decode_traces(encode_spans(spans))
    assert theirs.rejected == 0
    assert list(ours) == list(theirs.columns)
    assert in_order(ours) == in_order(theirs.columns)


def test_spans_of_others_become_the_same_rows() -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False, span_limits=SpanLimits(max_events=2))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("others", "1.2", "https://schema.example/2")
    remote = SpanContext(7, 8, is_remote=True, trace_flags=TraceFlags(1))
    with tracer.start_as_current_span(
        "root", kind=SpanKind.SERVER, links=[Link(remote, {"why": "batch"})]
    ) as root:
        for number in range(3):
            root.add_event(f"event {number}", {"n": number, "list": ["a", "b"]})
        with tracer.start_as_current_span("child", kind=SpanKind.PRODUCER) as child:
            child.set_status(StatusCode.ERROR, "it <broke>")
    tracer.start_span("never ended well", start_time=10, kind=SpanKind.CONSUMER).end(5)
    state = SpanContext(9, 10, True, TraceFlags(1), TraceState([("k", "v"), ("l", "w")]))
    plain = ReadableSpan("state", state, kind=SpanKind.CLIENT, resource=RESOURCE, start_time=1, end_time=2)
    same_rows([*memory.get_finished_spans(), plain])


@given(ATTRIBUTES)
def test_any_attributes_become_the_same_maps(attributes: dict[str, Any]) -> None:
    context = SpanContext(1, 2, False, TraceFlags(1))
    same_rows(
        [ReadableSpan("any", context, attributes=attributes, resource=RESOURCE, start_time=1, end_time=2)]
    )


def test_our_own_spans_become_the_same_rows_again_and_again() -> None:
    with recorded() as telemetry:
        engine = create_engine("sqlite://")
        with bind_identity("7"):
            for _ in range(2):
                with engine.begin() as connection:
                    connection.execute(text("CREATE TABLE IF NOT EXISTS t (user_id TEXT)"))
                    connection.execute(text("INSERT INTO t (user_id) VALUES (:user)"), {"user": "7"})
        spans = list(telemetry.spans)
    assert sum(isinstance(span, OwnSpan) for span in spans) >= 4
    same_rows(spans)


def test_records_become_the_same_rows() -> None:
    scope = InstrumentationScope("scope", "1", "https://schema.example/3", {"scoped": True})
    bodies: list[Any] = ["line", {"a": [1, None, b"x"], "b": {"c": 1.5}}, None, ["<"], 7]
    records = [
        ReadableLogRecord(
            LogRecord(
                timestamp=None if number == 2 else 1_000 + number,
                observed_timestamp=5_000 + number,
                severity_text="WARN",
                severity_number=SeverityNumber.WARN,
                body=body,
                attributes={"n": number, "nested": {"k": ["v"]}},
                event_name="happened" if number else None,
            ),
            RESOURCE,
            scope,
        )
        for number, body in enumerate(bodies)
    ]
    ours, theirs = Rows().logs(records), decode_logs(encode_logs(records), 1)
    assert list(ours) == list(theirs.columns)
    assert ours == theirs.columns


def test_nothing_of_the_monitor_is_imported() -> None:
    folder = Path(str(clickhouse.__file__)).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("trueline.monitor"), path
