"""AI calls: ours, and those of GenAI instrumentations, counted into the transactions held open meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import SpanKind, Status, StatusCode

from trueline.instrumentation import ambient, runtime, scope, semconv
from trueline.instrumentation.block import Block
from trueline.instrumentation.guard import guarded

_OPENINFERENCE_KIND = "openinference.span.kind"
_AI_ATTRIBUTES = frozenset(
    {
        semconv.GEN_AI_OPERATION_NAME,
        semconv.GEN_AI_PROVIDER_NAME,
        "gen_ai.system",
        "traceloop.span.kind",
        "llm.request.type",
    }
)
_OPENINFERENCE_KINDS = frozenset({"LLM", "EMBEDDING", "AGENT", "TOOL", "RERANKER"})

# AI spans under way inside open transactions, by span id. A span that never ends stays until the bound
# pushes it out.
_MAX_UNDER_WAY = 1024
under_way: dict[int, list[Any]] = {}


def is_ai_span(attributes: Mapping[str, Any] | None) -> bool:
    """Whether a span stands for an AI call, by any of the conventions in use."""
    if not attributes:
        return False
    return (
        not _AI_ATTRIBUTES.isdisjoint(attributes)
        or attributes.get(_OPENINFERENCE_KIND) in _OPENINFERENCE_KINDS
    )


def span_started(span: Any) -> None:
    """A span started: if it is an AI call's, the transactions open in this task wait for it."""
    # The SDK's inner dictionary: its public face copies and locks.
    attributes = getattr(getattr(span, "_attributes", None), "_dict", None)
    if not is_ai_span(span.attributes if attributes is None else attributes):
        return
    held = scope.open_transactions()
    for transaction in held:
        with transaction.lock:
            transaction.tally.ai_calls += 1
    if held:
        if len(under_way) >= _MAX_UNDER_WAY:
            under_way.pop(next(iter(under_way)), None)
        under_way[span.get_span_context().span_id] = held


def span_ended(span: Any) -> None:
    """A span ended: add its time and its failure to the transactions that waited."""
    if not under_way:
        return
    held = under_way.pop(span.get_span_context().span_id, None)
    if not held:
        return
    failed = span.status.status_code is StatusCode.ERROR
    waited = max(0, (span.end_time or 0) - (span.start_time or 0))
    for transaction in held:
        with transaction.lock:
            transaction.tally.ai_errors += failed
            transaction.tally.ai_wait_ns += waited


class ai_call(Block, contextlib.ContextDecorator):  # noqa: N801 - used like a function, as contextlib's own
    """Mark a call to a model, for clients that no GenAI instrumentation covers.

    Works as ``with``, ``async with`` and as a decorator of sync functions::

        with ai_call("chat", model="small-1", provider="acme") as call:
            answer = client.chat(...)
            call.finish_reasons(answer.finish_reason)

    An exception that leaves the block fails the call and passes on unchanged.
    """

    def __init__(self, operation: str = "chat", *, model: str = "", provider: str = "") -> None:
        super().__init__()
        self._operation = operation
        self._model = model
        self._provider = provider

    def _recreate_cm(self) -> ai_call:
        return ai_call(self._operation, model=self._model, provider=self._provider)

    @guarded("ai_call.finish_reasons")
    def finish_reasons(self, *reasons: str) -> None:
        """Say why the answer ended: stop, length, content_filter, refusal ..."""
        if self._span is not None:
            self._span.set_attribute(semconv.GEN_AI_RESPONSE_FINISH_REASONS, list(reasons))

    @guarded("ai_call.failed")
    def failed(self, error_type: str) -> None:
        """Say that the call failed although no exception leaves the block."""
        if self._span is not None:
            self._span.set_status(Status(StatusCode.ERROR))
            self._span.set_attribute(semconv.ERROR_TYPE, error_type)

    @guarded("ai_call.begin")
    def _begin(self) -> None:
        current = runtime.current()
        if current is None:
            return
        attributes: dict[str, Any] = {semconv.GEN_AI_OPERATION_NAME: self._operation}
        if self._model:
            attributes[semconv.GEN_AI_REQUEST_MODEL] = self._model
        if self._provider:
            attributes[semconv.GEN_AI_PROVIDER_NAME] = self._provider
        attributes.update(current.context_attributes())
        name = f"{self._operation} {self._model}".strip()
        self._hold(
            current.tracer.start_span(
                name, kind=SpanKind.CLIENT, attributes=attributes, start_time=ambient.now_ns()
            )
        )

    @guarded("ai_call.end")
    def _end(self, error: BaseException | None) -> None:
        if self._span is not None and error is not None and not isinstance(error, GeneratorExit):
            scope.ai_call_failed(error)
        self._release(error)
