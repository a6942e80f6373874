"""Taking the binding and the trace along into threads, executors and other processes.

asyncio's tasks and ``asyncio.to_thread`` take them along by themselves. Threads, executors and queues do not.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from opentelemetry.context import set_value
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
    get_current_span,
    set_span_in_context,
)

from trueline.instrumentation import runtime
from trueline.instrumentation.bound import BOUND_KEY, Bound, Carried
from trueline.instrumentation.guard import guarded
from trueline.instrumentation.identity import BoundIdentity
from trueline.instrumentation.runtime import Runtime

F = TypeVar("F", bound=Callable[..., Any])
E = TypeVar("E", bound=Executor)

_MARK: Final = "_trueline_propagating"


def propagate(function: F) -> F:
    """``function``, to run wherever and whenever under the binding and in the trace of now::

        with bind_identity(message.sender):
            queue.put(propagate(store_later))
            pool.submit(propagate(summarise), message)

    Plain functions and coroutine functions. It may be called often, in several threads at once. It can be
    pickled if ``function`` can: what travels is the hashed form of identities, never the raw value, so that
    in another process forms that only the raw value tells (a derivation, a HMAC) are not recognised.
    Where there is nothing to take along, and while Trueline is off, it is ``function`` itself.
    """
    return cast("F", _propagated(function) or function)


def propagating(executor: E) -> E:
    """The same executor, which from now on runs each call under the binding and in the trace of its caller::

        pool = propagating(ThreadPoolExecutor(8))

    For pools of threads and of processes; ``map``, ``loop.run_in_executor(pool, ...)`` and
    ``loop.set_default_executor(pool)`` included. A second call changes nothing.
    """
    _make_propagating(executor)
    return executor


@guarded("propagating")
def _make_propagating(executor: Executor) -> None:
    if getattr(executor, _MARK, False):
        return
    submit: Any = executor.submit

    @functools.wraps(submit)
    def propagating_submit(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return submit(propagate(fn), *args, **kwargs)

    executor.submit = propagating_submit  # type: ignore[method-assign]
    setattr(executor, _MARK, True)


@guarded("propagate")
def _propagated(function: Any) -> Propagated | None:
    if runtime.current() is None or isinstance(function, Propagated):
        return None
    carried = Carried.taken()
    return None if carried is None else Propagated(function, carried)


class Propagated:
    """A callable that runs under what was taken along. Made by :func:`propagate`."""

    def __init__(self, function: Callable[..., Any], carried: Carried | Packed) -> None:
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self._carried = carried
        self._is_coroutine_function = inspect.iscoroutinefunction(function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        if self._is_coroutine_function:
            return self._awaited(args, kwargs)
        tokens = self._put()
        try:
            return self._function(*args, **kwargs)
        finally:
            self._take_back(tokens)

    async def _awaited(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tokens = self._put()
        try:
            return await self._function(*args, **kwargs)
        finally:
            self._take_back(tokens)

    @guarded("propagated.put")
    def _put(self) -> Any:
        carried = self._carried
        if isinstance(carried, Packed):
            carried = carried.unpacked()
        return carried.put()

    @guarded("propagated.take_back")
    def _take_back(self, tokens: Any) -> None:
        if tokens is not None:
            Carried.take_back(tokens)

    def __reduce__(self) -> tuple[Any, ...]:
        carried = self._carried
        packed = carried if isinstance(carried, Packed) else pack(carried)
        if packed is None:
            return _plainly, (self._function,)
        return Propagated, (self._function, packed)


def _plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


@dataclass(frozen=True, slots=True)
class Packed:
    """What leaves for another process. ``identities`` are (domain, exported value), outermost first.

    Exported values compare under one secret only: ``key_id`` tells which it was.
    """

    key_id: str
    identities: tuple[tuple[str, str], ...]
    trace_id: int
    span_id: int
    trace_flags: int
    trace_state: tuple[tuple[str, str], ...]

    def unpacked(self) -> Carried:
        """As it is in this process."""
        current = runtime.current()
        identities: tuple[BoundIdentity, ...] = ()
        if current is not None and current.key_id == self.key_id:
            identities = tuple(arrived(domain, value, current) for domain, value in self.identities)
        bound = Bound.of(identities, ())
        around = SpanContext(
            self.trace_id,
            self.span_id,
            is_remote=True,
            trace_flags=TraceFlags(self.trace_flags),
            trace_state=TraceState(list(self.trace_state)),
        )
        context = set_span_in_context(NonRecordingSpan(around))
        return Carried(bound, set_value(BOUND_KEY, bound, context))


@guarded("propagated.pack")
def pack(carried: Carried) -> Packed | None:
    """What may leave the process of ``carried``. An identity without an exported value stays here."""
    current = runtime.current()
    around = get_current_span(carried.context).get_span_context()
    return Packed(
        "" if current is None else current.key_id,
        tuple((one.domain, one.value) for one in carried.bound.live() if one.value),
        around.trace_id,
        around.span_id,
        int(around.trace_flags),
        tuple(around.trace_state.items()),
    )


def arrived(domain: str, value: str, current: Runtime) -> BoundIdentity:
    """An identity of which only the exported value is known here."""
    again = current.extractor.bind(value, domain)
    if again.value == value:  # a plain domain: what leaves is the identity itself
        return again
    return BoundIdentity(domain, _Elsewhere(), "", value)


class _Elsewhere:
    """Stands for a raw identity that stayed in another process: it equals, and derives to, nothing."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"<identity of another process {id(self):x}>"
