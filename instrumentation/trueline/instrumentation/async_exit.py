"""Why an async block is left.

SQLAlchemy's asyncio layer rolls back inside a greenlet that does not see the exception being handled by
the coroutine around it. The methods by which a coroutine ends a transaction are therefore wrapped: they
put that exception into a context variable, which the greenlet does see, for as long as they run.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from trueline.instrumentation import scope
from trueline.instrumentation.guard import guarded, report

_PACKAGE = "sqlalchemy.ext.asyncio"
_EXITS = ("__aexit__",)
_CALLS = ("rollback", "close")
_originals: list[tuple[type, str, Any]] = []


@guarded("async_exit.wrap")
def wrap_async() -> None:
    """Wrap the asyncio classes if they are loaded, once. Without greenlet there are none."""
    # Loaded for nobody: an application without them pays nothing. Whoever has an async connection has them.
    if _originals or _PACKAGE not in sys.modules or find_spec("greenlet") is None:
        return
    try:
        from sqlalchemy.ext.asyncio import (
            AsyncConnection,
            AsyncSession,
            AsyncSessionTransaction,
            AsyncTransaction,
        )
    except ImportError:
        return
    for owner in (AsyncConnection, AsyncSession, AsyncSessionTransaction, AsyncTransaction):
        for name in _EXITS:
            _replace(owner, name, _watched_exit)
        for name in _CALLS:
            _replace(owner, name, _watched_call)
    from sqlalchemy.ext.asyncio import session

    maker_block = getattr(session, "_AsyncSessionContextManager", None)
    if maker_block is not None:
        _replace(maker_block, "__aexit__", _watched_exit)


def unwrap_async() -> None:
    """Give the classes their own methods back."""
    while _originals:
        owner, name, original = _originals.pop()
        try:
            setattr(owner, name, original)
        except Exception as error:
            report("async_exit.unwrap", error)


def _replace(owner: type, name: str, wrap: Callable[[Any], Any]) -> None:
    original = owner.__dict__.get(name)
    if original is not None:
        _originals.append((owner, name, original))
        setattr(owner, name, wrap(original))


def _watched_exit(original: Any) -> Any:
    @functools.wraps(original)
    async def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        leaving = _leave(args[1] if len(args) > 1 else kwargs.get("value"))
        try:
            return await original(self, *args, **kwargs)
        finally:
            _left(leaving)

    return wrapper


def _watched_call(original: Any) -> Any:
    @functools.wraps(original)
    async def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        leaving = _leave(sys.exc_info()[1], or_as_around=True)
        try:
            return await original(self, *args, **kwargs)
        finally:
            _left(leaving)

    return wrapper


@guarded("async_exit.leave")
def _leave(error: BaseException | None, *, or_as_around: bool = False) -> scope.Leaving:
    return scope.Leaving(scope.leaving_with() if error is None and or_as_around else error)


@guarded("async_exit.left")
def _left(leaving: scope.Leaving | None) -> None:
    if leaving is not None:
        leaving.over()
