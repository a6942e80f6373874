"""Saying at the ingress for whom, or for which message, the work is done."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from contextvars import Token
from typing import Any, TypeVar

from opentelemetry import trace

from trueline.instrumentation import ambient, runtime, scope, semconv
from trueline.instrumentation.block import Block
from trueline.instrumentation.entry import entry_of
from trueline.instrumentation.guard import guarded
from trueline.instrumentation.identity import BoundIdentity

F = TypeVar("F", bound=Callable[..., Any])


class bind_identity(Block):  # noqa: N801 - used like a function, as contextlib's own
    """Bind everything inside to one identity::

        with bind_identity("12345"):
            handle(message)

        @bind_identity(lambda message: message.sender)  # computed from the call's arguments
        async def handle(message): ...

    The raw value stays in this process. Where no span is recording, an entry span is opened, so that AI
    calls, transactions and logs inside share one trace; ``entry`` names it.
    """

    _KIND = "job"

    def __init__(self, value: Any, *, domain: str = "user", entry: str | None = None) -> None:
        super().__init__()
        self._value = value
        self._domain = domain
        self._entry = entry
        self._token: Token[tuple[BoundIdentity, ...]] | None = None

    def __call__(self, function: F) -> F:
        """Decorate a function or a coroutine function; a callable value is called with its arguments."""
        name = self._entry or getattr(function, "__qualname__", None)

        def fresh(*args: Any, **kwargs: Any) -> bind_identity:
            value = self._computed(args, kwargs) if callable(self._value) else self._value
            return type(self)(value, domain=self._domain, entry=name)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def async_wrapper(*args: Any, **kwargs: Any) -> Any:
                with fresh(*args, **kwargs):
                    return await function(*args, **kwargs)

            return async_wrapper  # type: ignore[return-value]

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with fresh(*args, **kwargs):
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    @guarded("bind_identity.value")
    def _computed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._value(*args, **kwargs)

    @guarded("bind_identity.begin")
    def _begin(self) -> None:
        current = runtime.current()
        if current is None:
            return
        if self._value is not None:
            bound = current.extractor.bind(self._value, self._domain)
            self._token = scope.bound_identities.set((*scope.bound_identities.get(), bound))
        attributes = current.context_attributes()
        span = trace.get_current_span()
        if span.get_span_context().is_valid:
            entry = entry_of(span)
            if entry.is_recording():
                entry.set_attributes(attributes | self._entry_attributes())
            return
        attributes |= {semconv.ENTRY_KIND: self._KIND, **self._entry_attributes()}
        self._hold(
            current.tracer.start_span(
                self._entry or _script_name(), attributes=attributes, start_time=ambient.now_ns()
            )
        )

    def _entry_attributes(self) -> dict[str, Any]:
        return {}

    @guarded("bind_identity.end")
    def _end(self, error: BaseException | None) -> None:
        token, self._token = self._token, None
        try:
            self._release(error)
        finally:
            if token is not None:
                scope.bound_identities.reset(token)


class bind_message(bind_identity):  # noqa: N801
    """Bind everything inside to one delivery, to tell a second delivery of it from a second message::

    with bind_message(event["message"]["mid"]): ...
    """

    _KIND = "message"

    def __init__(self, value: Any, *, domain: str = "message", entry: str | None = None) -> None:
        super().__init__(value, domain=domain, entry=entry)

    def _entry_attributes(self) -> dict[str, Any]:
        current = runtime.current()
        if current is None or self._value is None:
            return {}
        # The id as the store knows it: a delivery's id can hold the sender's.
        return {semconv.MESSAGING_MESSAGE_ID: current.extractor.bind(self._value, self._domain).value}


def _script_name() -> str:
    return os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
