"""One way of writing for sync and async: the interpreter is a coroutine that in the sync case never waits.

``await settle(connection.execute(...))`` and ``async with Block(engine.begin())`` call exactly what an
application would call; :func:`drive` runs such a coroutine without an event loop.
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from types import TracebackType
from typing import Any


async def settle(value: Any) -> Any:
    """The value, or what it gives when awaited."""
    return await value if inspect.isawaitable(value) else value


class Block:
    """``async with`` for a sync or async context manager."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._is_async = hasattr(manager, "__aenter__")

    async def __aenter__(self) -> Any:
        return await self._manager.__aenter__() if self._is_async else self._manager.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Any:
        manager, self._manager = self._manager, None
        if self._is_async:
            return await manager.__aexit__(kind, error, traceback)
        return manager.__exit__(kind, error, traceback)


def drive(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise AssertionError("a sync program waited")
