"""Running a function inside something that begins and ends, whatever kind of function it is.

A generator leaves its frame at each ``yield`` and its consumer goes on in the same context: what began would
hold for the consumer too. So it is paused there, and goes on with the next step.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


class Step(Protocol):
    """What holds while a function's body runs. No method raises."""

    def begin(self) -> None:
        """The body runs now, for the first time or again."""

    def pause(self) -> None:
        """The body waits at a ``yield``."""

    def end(self, error: BaseException | None) -> None:
        """The body is over; ``begin`` was called before. The exception is the one that left it."""


#: Called with the function and the arguments of a call; None where nothing is to hold.
Maker = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Step | None]


class _Nothing:
    def begin(self) -> None:
        pass

    def pause(self) -> None:
        pass

    def end(self, error: BaseException | None) -> None:
        pass


_NOTHING = _Nothing()


def decorate(function: F, make: Maker) -> F:
    """``function`` with ``make(function, args, kwargs)`` around each call, of the same kind as before."""
    if isinstance(function, classmethod | staticmethod):
        return cast("F", type(function)(decorate(function.__func__, make)))

    def step(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Step:
        return make(function, args, kwargs) or _NOTHING

    wrapper: Callable[..., Any]
    if inspect.isasyncgenfunction(function):
        wrapper = _async_generator(function, step)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(function, step)
    elif inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose calls are coroutines
    ):
        wrapper = _coroutine(function, step)
    else:
        wrapper = _plain(function, step)
    return cast("F", functools.update_wrapper(wrapper, function))


_Steps = Callable[[tuple[Any, ...], dict[str, Any]], Step]


def _plain(function: Callable[..., Any], step: _Steps) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        held = step(args, kwargs)
        held.begin()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            held.end(error)
            raise
        held.end(None)
        return result

    return wrapper


def _coroutine(function: Callable[..., Any], step: _Steps) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        held = step(args, kwargs)
        held.begin()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            held.end(error)
            raise
        held.end(None)
        return result

    return wrapper


def _generator(function: Callable[..., Any], step: _Steps) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        held = step(args, kwargs)
        resume: Callable[[], Any] = generator.__next__
        while True:
            held.begin()
            try:
                item = resume()
            except StopIteration as stop:
                held.end(None)
                return stop.value
            except BaseException as error:
                held.end(error)
                raise
            held.pause()
            resume = generator.__next__  # lets a thrown exception go
            try:
                sent = yield item
            except GeneratorExit as closing:
                held.begin()
                try:
                    generator.close()
                finally:
                    held.end(closing)
                raise
            except BaseException as thrown:
                resume = functools.partial(generator.throw, thrown)
            else:
                resume = functools.partial(generator.send, sent)

    return wrapper


def _async_generator(function: Callable[..., Any], step: _Steps) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        held = step(args, kwargs)
        resume: Callable[[], Any] = generator.__anext__
        while True:
            held.begin()
            try:
                item = await resume()
            except StopAsyncIteration:
                held.end(None)
                return
            except BaseException as error:
                held.end(error)
                raise
            held.pause()
            resume = generator.__anext__  # lets a thrown exception go
            try:
                sent = yield item
            except GeneratorExit as closing:
                held.begin()
                try:
                    await generator.aclose()
                finally:
                    held.end(closing)
                raise
            except BaseException as thrown:
                resume = functools.partial(generator.athrow, thrown)
            else:
                resume = functools.partial(generator.asend, sent)

    return wrapper
