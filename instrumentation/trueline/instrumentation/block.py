"""What our `with` blocks have in common: sync and async, a span of their own, no exception of their own."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.trace import Span, Status, StatusCode

from trueline.instrumentation import ambient, semconv
from trueline.instrumentation.bound import reset_context


class Block:
    """A block that may hold a current span. Subclasses begin and end it in guarded methods."""

    def __init__(self) -> None:
        self._span: Span | None = None
        self._token: Any = None

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(error)

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end(error)

    def _begin(self) -> None:
        raise NotImplementedError

    def _end(self, error: BaseException | None) -> None:
        raise NotImplementedError

    def _hold(self, span: Span) -> None:
        """Make ``span`` the current one until :meth:`_release`."""
        self._span = span
        self._token = attach(trace.set_span_in_context(span))

    def _release(self, error: BaseException | None) -> None:
        """End the span, failed if an error leaves the block."""
        span, self._span = self._span, None
        token, self._token = self._token, None
        if token is not None:
            reset_context(token)
        if span is not None:
            end_span(span, error)


def end_span(span: Span, error: BaseException | None) -> None:
    """End a block's span: failed, without the text of the exception, if one leaves the block."""
    if error is not None and not isinstance(error, GeneratorExit):
        span.set_status(Status(StatusCode.ERROR))
        span.set_attribute(semconv.ERROR_TYPE, qualified_name(type(error)))
    span.end(ambient.now_ns())


def qualified_name(kind: type[BaseException]) -> str:
    """The class of an exception as OpenTelemetry writes it: builtins without their module."""
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "") else f"{module}.{kind.__qualname__}"
