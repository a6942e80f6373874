"""The entry: the span at which work enters this service.

A span processor sees every span start with its local parent. A span without one (or with a remote one) is
an entry; the others inherit their parent's. It also counts AI spans of other instrumentations into the
transactions that the task holds open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from trueline.instrumentation import contrib
from trueline.instrumentation.ai.watching import AiWatch, announce_completed
from trueline.instrumentation.guard import guarded, report, swallow

_ENTRY = "_trueline_entry"


def entry_of(span: Any) -> Any:
    """The entry span of ``span``; the span itself where the processor never saw it start."""
    return getattr(span, _ENTRY, span)


class EntryProcessor(SpanProcessor):
    """Marks entries; on a flush it first lets held statements go."""

    def __init__(self, flush: Callable[[], None], watch: AiWatch) -> None:
        self._flush = flush
        self._watch = watch

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        """Let a span know its entry. Called for every span of the process: it has to be quick."""
        try:
            parent = span.parent
            around = entry = None
            # An entry does not refer to itself: root spans would be left to the garbage collector.
            if parent is not None and not parent.is_remote:
                around = trace.get_current_span(parent_context)
                entry = getattr(around, _ENTRY, around)
                setattr(span, _ENTRY, entry)
            self._watch.started(span, around, entry)
        except Exception as error:
            swallow("entry.on_start", error)

    def on_end(self, span: ReadableSpan) -> None:
        """Count an AI span that ended; clean errors of spans that are not adopted."""
        if self._watch.under_way:
            self._ended(span)
        if span._events:
            self._with_events(span)

    @guarded("entry.on_end")
    def _ended(self, span: ReadableSpan) -> None:
        self._watch.ended(span, announce_completed)

    @guarded("entry.events")
    def _with_events(self, span: ReadableSpan) -> None:
        contrib.clean_errors(span)

    def shutdown(self) -> None:
        """Let held statements go while the processors behind this one still take them."""
        self.force_flush()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Let held statements go."""
        try:
            self._flush()
        except Exception as error:
            report("entry.flush", error)
        return True
