"""The entry of a span, and that knowing it keeps no span alive."""

from __future__ import annotations

import gc
import weakref

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from trueline.instrumentation.ai import AiWatch, ModelHosts
from trueline.instrumentation.entry import EntryProcessor, entry_of


def provider() -> TracerProvider:
    made = TracerProvider()
    made.add_span_processor(EntryProcessor(lambda: None, AiWatch(ModelHosts())))
    return made


def test_the_entry_is_the_first_local_span() -> None:
    tracer = provider().get_tracer("test")
    with (
        tracer.start_as_current_span("request") as request,
        tracer.start_as_current_span("inner") as inner,
        tracer.start_as_current_span("innermost") as innermost,
    ):
        assert entry_of(request) is entry_of(inner) is entry_of(innermost) is request


def test_a_remote_parent_is_no_entry() -> None:
    tracer = provider().get_tracer("test")
    remote = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    context = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    with tracer.start_as_current_span("request", context=context) as request:
        assert entry_of(request) is request


def test_a_finished_span_is_freed_at_once() -> None:
    tracer = provider().get_tracer("test")
    gc.disable()
    try:
        request = tracer.start_span("request")
        inner = tracer.start_span("inner", context=trace.set_span_in_context(request))
        inner.end()
        request.end()
        left = [weakref.ref(request), weakref.ref(inner)]
        del request, inner
        assert [reference() for reference in left] == [None, None]
    finally:
        gc.enable()
