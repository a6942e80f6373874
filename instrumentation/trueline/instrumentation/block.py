"""What our `with` blocks have in common: sync and async, a span of their own, no exception of their own."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Any, Self

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

from trueline.instrumentation import ambient, semconv


class Block:
    """A block that may hold a current span. Subclasses begin and end it in guarded methods."""

    def __init__(self) -> None:
        self._span: Span | None = None
        self._activation: contextlib.AbstractContextManager[Any] | None = None

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
        # Exceptions are left to us: the message of one can hold what the user typed.
        self._activation = trace.use_span(
            span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        )
        self._activation.__enter__()

    def _release(self, error: BaseException | None) -> None:
        """End the span, failed if an error leaves the block."""
        span, self._span = self._span, None
        activation, self._activation = self._activation, None
        if activation is not None:
            activation.__exit__(None, None, None)
        if span is None:
            return
        if error is not None and not isinstance(error, GeneratorExit):
            span.set_status(Status(StatusCode.ERROR))
            span.set_attribute(semconv.ERROR_TYPE, qualified_name(type(error)))
        span.end(ambient.now_ns())


def qualified_name(kind: type[BaseException]) -> str:
    """The class of an exception as OpenTelemetry writes it: builtins without their module."""
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "") else f"{module}.{kind.__qualname__}"
