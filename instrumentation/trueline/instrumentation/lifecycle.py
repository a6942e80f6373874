"""The life of a process: what has to happen after a fork, and before the end.

``os.register_at_fork`` and ``atexit`` forget nothing, so each is used once here, whoever comes and goes.
And ``atexit`` is not enough. Children of multiprocessing and Celery's workers end by ``os._exit``, uvicorn by
raising the signal that stopped it once more: both skip it. Each has a place for last things, which is used if
the module is loaded anyway; nothing is imported for it.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from trueline.instrumentation.guard import guarded, report

#: After multiprocessing's own queues (-5) have been emptied; only that it is set matters much.
_LAST = -50


class Forkable(Protocol):
    """Has state that a forked child must not share with its parent."""

    def after_fork(self) -> None:
        """Make it the child's own."""


_forkable: weakref.WeakSet[Forkable] = weakref.WeakSet()
_last_things: list[Callable[[], None]] = []
_flushes: list[Callable[[], None]] = []
_registered = False
#: multiprocessing calls :func:`_in_worker` in each child.
_watching = False
#: The worker process that has done its last things.
_finished_pid = 0


class _Anchor:
    """multiprocessing calls for as long as this object lives."""


_anchor = _Anchor()


def survives_fork(owner: Forkable) -> None:
    """Call ``owner.after_fork()`` in each forked child for as long as ``owner`` lives."""
    _forkable.add(owner)


def at_exit(callback: Callable[[], None]) -> None:
    """Call ``callback`` at the end of this process and of its children, the last registered first."""
    global _registered
    _last_things.append(callback)
    if not _registered:
        _registered = True
        atexit.register(_finish)
    watch_workers()


def at_flush(callback: Callable[[], None]) -> None:
    """Call ``callback`` where a process may end without ``atexit``: send all, close nothing."""
    _flushes.append(callback)
    watch_workers()


def forget(callback: Callable[[], None]) -> None:
    """Take back what :func:`at_exit` or :func:`at_flush` was told."""
    for things in (_last_things, _flushes):
        if callback in things:
            things.remove(callback)


def bounded(flush: Callable[[], Any], seconds: Callable[[], float]) -> Callable[[], None]:
    """``flush()`` as a callback that waits ``seconds()`` at most: OpenTelemetry's knows no time limit."""

    def callback() -> None:
        thread = threading.Thread(target=_quietly, args=(flush,), name="trueline-flush", daemon=True)
        thread.start()
        thread.join(seconds())

    return callback


def _quietly(function: Callable[[], Any]) -> None:
    try:
        function()
    except Exception as error:
        report("lifecycle.flush", error)


def _finish() -> None:
    for callback in reversed(_last_things.copy()):
        try:
            callback()
        except Exception as error:
            report("lifecycle.exit", error)


@guarded("lifecycle.worker_exit")
def _finish_worker(*_: Any, **__: Any) -> None:
    global _finished_pid
    if _finished_pid == os.getpid():
        return
    _finished_pid = os.getpid()
    _finish()
    # An application's own provider was not among the last things: its ``atexit`` hook is skipped here.
    _flush()


def flush_now() -> None:
    """Send everything, and wait for it as long as at an end: this process may end without another word."""
    _flush()


@guarded("lifecycle.flush")
def _flush() -> None:
    for callback in _flushes.copy():
        callback()


# -- processes that end without atexit -------------------------------------------------------------------


@guarded("lifecycle.watch")
def watch_workers() -> None:
    """Ask for a call at the end of worker processes of all kinds that are loaded by now."""
    global _watching
    # billiard shares these registries of multiprocessing.
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        if not _watching:
            _watching = True
            # A child begins by dropping its parent's finalizers; what is registered here runs after that.
            util.register_after_fork(_anchor, _in_worker)
        if sys.modules["multiprocessing.process"].parent_process() is not None:
            _in_worker()
    signals: Any = sys.modules.get("celery.signals")
    if signals is not None:
        # Celery's pool ends its workers by os._exit, past finalizers too.
        signals.worker_process_shutdown.connect(_finish_worker, weak=False, dispatch_uid="trueline.lifecycle")
    server: Any = getattr(sys.modules.get("uvicorn.server"), "Server", None)
    if server is not None and not hasattr(server.shutdown, "__wrapped__"):
        server.shutdown = _flushed_after(server.shutdown)


def _flushed_after(shutdown: Any) -> Any:
    """uvicorn's shutdown, after which it may raise SIGTERM once more, this time with its default action."""

    @functools.wraps(shutdown)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return await shutdown(*args, **kwargs)
        finally:
            # The event loop has nothing left to do: it may be held.
            _flush()

    return wrapper


@guarded("lifecycle.in_worker")
def _in_worker(*_: Any) -> None:
    sys.modules["multiprocessing.util"].Finalize(None, _finish_worker, exitpriority=_LAST)


def _after_fork() -> None:
    for owner in list(_forkable):
        try:
            owner.after_fork()
        except Exception as error:
            report("lifecycle.fork", error)
    if _last_things or _flushes:
        # The parent may have loaded multiprocessing or Celery after Trueline was switched on.
        watch_workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
