"""Our encoding of spans against OpenTelemetry's own, and what is counted when sending fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from support.collector import Mode, collector
from support.matrix import Expense
from support.recorder import Recorder

from trueline.instrumentation import ai_call, bind_identity, wire
from trueline.instrumentation.exporter import CountingBatchProcessor, OtlpExporter
from trueline.instrumentation.losses import EXPORT_FAILED, QUEUE_FULL, Losses
from trueline.instrumentation.own_spans import OwnSpan, encode_plain

pytestmark = pytest.mark.sqlalchemy_rest


@pytest.fixture
def exporter() -> Iterator[OtlpExporter]:
    exporter = OtlpExporter(Losses(), "http://127.0.0.1:9/v1/traces")
    yield exporter
    exporter.shutdown()


def flat(request: ExportTraceServiceRequest) -> dict[bytes, Any]:
    """Everything that is said of each span, by span id, in no order."""
    found: dict[bytes, Any] = {}
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                around = (
                    resource.schema_url,
                    sorted(map(_text, resource.resource.attributes)),
                    scope.scope.SerializeToString(deterministic=True),
                    scope.schema_url,
                )
                attributes = sorted(map(_text, span.attributes))
                bare = Span()
                bare.CopyFrom(span)
                del bare.attributes[:]
                if not bare.status.code:
                    bare.ClearField("status")  # unset, and said to be unset: the same
                found[span.span_id] = (around, attributes, str(bare))
    return found


def _text(one: KeyValue) -> str:
    return str(one)


def some_of_everything(engine: Engine, source: Recorder) -> list[ReadableSpan]:
    with bind_identity("7", entry="job äöü"), Session(engine) as session:
        session.add(Expense(user_id="7", message="once"))
        session.flush()
        with pytest.raises(TimeoutError), ai_call("chat"):
            raise TimeoutError
        session.commit()
        session.scalars(select(Expense).where(Expense.id == 1)).all()
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="8", message="once"))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO expenses (user_id) VALUES (:u)"), [{"u": "1"}, {"u": "2"}])
        nested = connection.begin_nested()
        connection.execute(insert(Expense).values(user_id="9"))
        nested.rollback()
    return list(source.spans())


def test_our_encoding_says_what_opentelemetrys_says(
    engine: Engine, source: Recorder, exporter: OtlpExporter
) -> None:
    spans = some_of_everything(engine, source)
    assert len(spans) > 10
    assert all(isinstance(s, OwnSpan) or s.name.split()[0] != "TRANSACTION" for s in spans)
    ours = ExportTraceServiceRequest.FromString(exporter.encode(spans))
    assert flat(ours) == flat(encode_spans(spans))


def test_spans_of_others_are_encoded_alike(exporter: OtlpExporter) -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider(span_limits=SpanLimits(max_attributes=4))
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("others", "1", schema_url="https://example.org/1")
    remote = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
    state = SpanContext(3, 4, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("a", "b")]))
    with tracer.start_as_current_span("plain", attributes={"a": 1, "b": [True, False], "c": 0.5, "d": b"x"}):
        with tracer.start_as_current_span("inner", kind=SpanKind.SERVER) as inner:
            inner.set_status(StatusCode.ERROR, "why")
        with tracer.start_as_current_span("with an event") as span:
            span.add_event("something", {"x": 1})
        with tracer.start_as_current_span("with a link", links=[Link(remote)]):
            pass
        with tracer.start_as_current_span("dropped", attributes=dict.fromkeys("abcdef", 1)):
            pass
    for around in (remote, state):
        context = set_span_in_context(NonRecordingSpan(around))
        tracer.start_span("remote", context=context, kind=SpanKind.CONSUMER).end()
    spans = list(memory.get_finished_spans())
    assert len(spans) == 7
    assert [span.name for span in spans if encode_plain(span) is not None] == ["inner", "plain", "remote"]
    ours = ExportTraceServiceRequest.FromString(exporter.encode(spans))
    assert flat(ours) == flat(encode_spans(spans))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(alphabet=st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)


@given(st.dictionaries(st.text(alphabet=st.characters(codec="utf-8"), min_size=1), values, max_size=8))
@settings(max_examples=300, deadline=None)
def test_any_attributes_are_encoded_as_protobuf_does(attributes: dict[str, Any]) -> None:
    from opentelemetry.exporter.otlp.proto.common._internal import _encode_attributes

    span = Span.FromString(wire.encode_attributes(attributes))
    expected = _encode_attributes(attributes)
    assert [str(one) for one in span.attributes] == [str(one) for one in expected]


def test_a_text_that_is_no_unicode_is_sent_all_the_same() -> None:
    (attribute,) = Span.FromString(wire.encode_attributes({"a": "x\ud800"})).attributes
    assert attribute.value.string_value == "x?"


def test_another_release_of_the_exporter_encodes_by_itself(
    engine: Engine, source: Recorder, exporter: OtlpExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = some_of_everything(engine, source)
    sent: list[Any] = []

    def export(batch: Any) -> SpanExportResult:
        sent.append(encode_spans(batch))
        return SpanExportResult.SUCCESS

    inner = exporter._late.get()
    assert inner is not None
    monkeypatch.setattr(inner._client, "export", None)
    monkeypatch.setattr(inner, "export", export)
    assert exporter.export(spans) is SpanExportResult.SUCCESS
    assert len(flat(sent[0])) == len(spans)


def test_what_cannot_be_sent_is_counted(
    engine: Engine, source: Recorder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    spans = some_of_everything(engine, source)
    losses = Losses()
    exporter = OtlpExporter(losses, "http://127.0.0.1:9/v1/traces")
    with caplog.at_level(logging.CRITICAL):
        assert exporter.export(spans) is SpanExportResult.FAILURE
    exporter.shutdown()
    assert losses.total == {EXPORT_FAILED: len(spans)}


def test_what_does_not_fit_into_the_queue_is_counted(
    engine: Engine, source: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    spans = some_of_everything(engine, source)
    losses, memory = Losses(), InMemorySpanExporter()
    processor = CountingBatchProcessor(
        memory, losses, max_queue_size=4, max_export_batch_size=4, schedule_delay_millis=60_000
    )
    # Nothing is taken out meanwhile.
    with caplog.at_level(logging.CRITICAL), processor._batch_processor._export_lock:
        for span in spans[:10]:
            processor.on_end(span)
    processor.force_flush()
    processor.shutdown()  # type: ignore[no-untyped-call]
    assert losses.total == {QUEUE_FULL: 6}
    assert len(memory.get_finished_spans()) == 4


def test_losses_are_reported_once_an_interval_and_say_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    from trueline.instrumentation import ambient, semconv

    now = 1_000_000_000_000
    monkeypatch.setattr(ambient, "now_ns", lambda: now)
    sent: list[tuple[str, dict[str, Any]]] = []
    send: Callable[[str, dict[str, Any]], None] = lambda name, attributes: sent.append((name, attributes))  # noqa: E731
    losses = Losses()
    losses.add(QUEUE_FULL, 3)
    losses.report(send)
    assert sent == []
    now += 20_000_000_000
    losses.report(send)
    losses.report(send)
    expected = {semconv.LOSS_REASON: QUEUE_FULL, semconv.LOSS_COUNT: 3, semconv.LOSS_SECONDS: 20.0}
    assert sent == [(semconv.EVENT_EXPORT_LOSS, expected)]
    losses.add(QUEUE_FULL)
    losses.report(send, final=True)
    assert sent[1][1][semconv.LOSS_COUNT] == 1


def spans_of_others() -> list[ReadableSpan]:
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    for number in range(3):
        provider.get_tracer("others").start_span(f"span {number}").end()
    return list(memory.get_finished_spans())


def test_what_was_not_answered_in_time_is_sent_again_and_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that took the spans and answers late has them: `export_failed` would be untrue."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    spans = spans_of_others()
    with collector(Mode.LATE_ONCE) as received:
        losses = Losses()
        exporter = OtlpExporter(losses, f"{received.endpoint}/v1/traces")
        assert exporter.export(spans) is SpanExportResult.SUCCESS
        exporter.shutdown()
    assert losses.total == {}
    first, second = received.requests
    assert first.body == second.body
    assert len(received.spans()) == 2 * len(spans)


def test_a_receiver_that_never_answers_is_asked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    spans = spans_of_others()
    with collector(Mode.SILENT) as received:
        losses = Losses()
        exporter = OtlpExporter(losses, f"{received.endpoint}/v1/traces")
        assert exporter.export(spans) is SpanExportResult.FAILURE
        exporter.shutdown()
    assert losses.total == {EXPORT_FAILED: len(spans)}
    assert len(received.requests) == 2
