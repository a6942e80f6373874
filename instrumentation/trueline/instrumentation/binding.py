"""Saying at the ingress for whom, or for which message, the work is done."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

from opentelemetry import trace
from opentelemetry.trace import Span

from trueline.instrumentation import ambient, bound, runtime, semconv
from trueline.instrumentation.block import Block, end_span
from trueline.instrumentation.bound import Entered
from trueline.instrumentation.decorating import Step, decorate
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

    Works as ``with``, ``async with`` and as a decorator of functions, coroutine functions, generators,
    async generators, class methods and static methods. One object may be entered again, nested or in
    several threads and tasks at once. Blocks nest: all identities count, and of one domain the innermost.

    The raw value stays in this process. Where no span is recording, an entry span is opened, so that AI
    calls, transactions and logs inside share one trace; ``entry`` names it.
    """

    _KIND = "job"

    def __init__(self, value: Any, *, domain: str = "user", entry: str | None = None) -> None:
        super().__init__()
        self._value = value
        self._domain = domain
        self._entry = entry
        self._open: list[Entered] = []

    def __call__(self, function: F) -> F:
        """Decorate; a callable value is called with the arguments of each call.

        Of a generator each step runs bound, and not what its consumer does in between.
        """
        return cast("F", self._decorated(function) or function)

    @guarded("bind_identity.decorate")
    def _decorated(self, function: Any) -> Any:
        return decorate(function, self._fresh)

    @guarded("bind_identity.begin")
    def _begin(self) -> None:
        entered = self._prepared()
        if entered is not None:
            entered.install()
            self._open.append(entered)

    @guarded("bind_identity.end")
    def _end(self, error: BaseException | None) -> None:
        entered = self._innermost()
        if entered is None:
            return
        self._open.remove(entered)
        _close(entered, error)

    def _innermost(self) -> Entered | None:
        """The block of this object that is left now: this task's own, if it has one."""
        if len(self._open) > 1:
            for block in reversed(bound.current().blocks):
                if block.owner is self and block in self._open:
                    return block
        return self._open[-1] if self._open else None

    def _prepared(self) -> Entered | None:
        """A block with its identity and, where no span is recording, its entry span; None while off."""
        current = runtime.current()
        if current is None:
            return None
        identity = None if self._value is None else current.extractor.bind(self._value, self._domain)
        names = [*bound.current(), *(() if identity is None else (identity,))]
        attributes = current.bound_attributes(names) | self._entry_attributes(identity)
        around = trace.get_current_span()
        if around.get_span_context().is_valid:
            entry = entry_of(around)
            if entry.is_recording():
                entry.set_attributes(attributes)
            return Entered(self, identity, None)
        attributes[semconv.ENTRY_KIND] = self._KIND
        name = self._entry or _script_name()
        span = current.tracer.start_span(name, attributes=attributes, start_time=ambient.now_ns())
        return Entered(self, identity, span)

    def _entry_attributes(self, identity: BoundIdentity | None) -> dict[str, Any]:
        return {}

    @guarded("bind_identity.decorated")
    def _fresh(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step:
        """What one call of a decorated function is bound to."""
        name = self._entry or getattr(function, "__qualname__", None)
        value = self._computed(args, kwargs) if callable(self._value) else self._value
        return _Call(type(self)(value, domain=self._domain, entry=name))

    @guarded("bind_identity.value")
    def _computed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._value(*args, **kwargs)


class bind_message(bind_identity):  # noqa: N801
    """Bind everything inside to one delivery, to tell a second delivery of it from a second message::

    with bind_message(event["message"]["mid"]): ...
    """

    _KIND = "message"

    def __init__(self, value: Any, *, domain: str = "message", entry: str | None = None) -> None:
        super().__init__(value, domain=domain, entry=entry)

    def _entry_attributes(self, identity: BoundIdentity | None) -> dict[str, Any]:
        # The id as the store knows it: a delivery's id can hold the sender's.
        return {} if identity is None else {semconv.MESSAGING_MESSAGE_ID: identity.value}


class _Call(Step):
    """One call of a decorated function, bound in one step or, for generators, in many."""

    __slots__ = ("_binding", "_entered", "_left_open", "_started")

    def __init__(self, binding: bind_identity) -> None:
        self._binding = binding
        self._entered: Entered | None = None
        self._left_open: Any = None
        self._started = False

    @guarded("bind_identity.begin")
    def begin(self) -> None:
        """The function's body runs now."""
        if not self._started:
            self._started = True
            self._entered = self._binding._prepared()
        if self._entered is not None:
            self._entered.resume(self._left_open)

    @guarded("bind_identity.pause")
    def pause(self) -> None:
        """The body waits for its consumer."""
        if self._entered is not None:
            self._left_open = self._entered.pause()

    @guarded("bind_identity.end")
    def end(self, error: BaseException | None) -> None:
        """The body is over."""
        entered, self._entered = self._entered, None
        if entered is not None:
            _close(entered, error)


def _close(entered: Entered, error: BaseException | None) -> None:
    span: Span | None = entered.span
    try:
        entered.remove()
    finally:
        if span is not None:
            end_span(span, error)


def _script_name() -> str:
    return os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
