"""``ai_call``: marking the call of a model that no GenAI instrumentation covers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from opentelemetry.trace import SpanKind, Status, StatusCode

from trueline.instrumentation import ambient, runtime, scope, semconv
from trueline.instrumentation.block import Block
from trueline.instrumentation.bound import reset_context
from trueline.instrumentation.decorating import Step, decorate
from trueline.instrumentation.guard import guarded

F = TypeVar("F", bound=Callable[..., Any])


class ai_call(Block):  # noqa: N801 - used like a function, as contextlib's own
    """Mark a call to a model, for clients that no GenAI instrumentation covers.

    Works as ``with``, ``async with`` and as a decorator of functions, coroutine functions and generators::

        with ai_call("chat", model="small-1", provider="acme") as call:
            answer = client.chat(...)
            call.finish_reasons(answer.finish_reason)

    An exception that leaves the block fails the call and passes on unchanged; one whose class is named
    after a
    timeout or a rate limit is told as such.
    """

    def __init__(self, operation: str = "chat", *, model: str = "", provider: str = "") -> None:
        super().__init__()
        self._operation = operation
        self._model = model
        self._provider = provider
        self._retries = 0

    def __call__(self, function: F) -> F:
        """Decorate: every call of ``function`` is a call of the model."""
        return cast("F", self._decorated(function) or function)

    @guarded("ai_call.decorate")
    def _decorated(self, function: Any) -> Any:
        return decorate(
            function,
            lambda function, args, kwargs: _Decorated(
                ai_call(self._operation, model=self._model, provider=self._provider)
            ),
        )

    @guarded("ai_call.finish_reasons")
    def finish_reasons(self, *reasons: str) -> None:
        """Say why the answer ended: stop, length, content_filter, refusal ..."""
        if self._span is not None:
            self._span.set_attribute(semconv.GEN_AI_RESPONSE_FINISH_REASONS, [str(one) for one in reasons])

    @guarded("ai_call.output_tokens")
    def output_tokens(self, count: int) -> None:
        """Say how many tokens the answer has; none at all is an empty answer."""
        if self._span is not None:
            self._span.set_attribute(semconv.GEN_AI_USAGE_OUTPUT_TOKENS, int(count))

    @guarded("ai_call.failed")
    def failed(self, error_type: str) -> None:
        """Say that the call failed although no exception leaves the block."""
        if self._span is not None:
            self._span.set_status(Status(StatusCode.ERROR))
            self._span.set_attribute(semconv.ERROR_TYPE, error_type)

    @guarded("ai_call.retrying")
    def retrying(self) -> None:
        """Say that another attempt begins."""
        self._retries += 1
        if self._span is not None:
            self._span.set_attribute(semconv.AI_ATTEMPTS, self._retries + 1)

    @guarded("ai_call.fell_back")
    def fell_back(self, to: str) -> None:
        """Say what answered instead of the model: ``"rules"``, ``"cache"``, another model's name."""
        if self._span is not None:
            self._span.set_attribute(semconv.AI_FALLBACK, to)

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

    def _pause(self) -> None:
        """The body waits at a ``yield``: the span goes on, and is nobody's current one."""
        token, self._token = self._token, None
        if token is not None:
            reset_context(token)

    def _resume(self) -> None:
        if self._span is not None:
            self._hold(self._span)


class _Decorated(Step):
    """One call of a decorated function."""

    __slots__ = ("_call", "_started")

    def __init__(self, call: ai_call) -> None:
        self._call = call
        self._started = False

    @guarded("ai_call.begin")
    def begin(self) -> None:
        """The body runs now."""
        if self._started:
            self._call._resume()
        else:
            self._started = True
            self._call._begin()

    @guarded("ai_call.pause")
    def pause(self) -> None:
        """The body waits for its consumer."""
        self._call._pause()

    @guarded("ai_call.end")
    def end(self, error: BaseException | None) -> None:
        """The body is over."""
        self._call._end(error)
