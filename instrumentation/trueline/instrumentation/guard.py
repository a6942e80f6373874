"""The wall between Trueline and the application: what goes wrong inside a hook stays inside.

Every function that the application, SQLAlchemy or OpenTelemetry calls into is wrapped by :func:`guarded`.
An ``Exception`` is counted, logged at most once a minute and swallowed; a ``BaseException`` that is not
an ``Exception`` (KeyboardInterrupt, CancelledError, GreenletExit) belongs to the application and passes.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("trueline")

_LOG_INTERVAL_SECONDS = 60.0

#: How often each hook failed in this process, by hook name.
internal_errors: Counter[str] = Counter()

#: Set by tests: an internal error is then raised instead of swallowed, so that no bug hides.
raise_internal_errors = False

_last_logged = float("-inf")
_log_lock = threading.Lock()


def _after_fork() -> None:
    # Another thread may have held it at the fork.
    global _log_lock
    _log_lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


def report(where: str, error: BaseException) -> None:
    """Count an internal error and log it, at most once a minute in all."""
    global _last_logged
    internal_errors[where] += 1
    # Never waited for: a garbage collection in here can finalize a connection, which reports in turn.
    lock = _log_lock
    if not lock.acquire(blocking=False):
        return
    try:
        now = time.monotonic()
        if now - _last_logged < _LOG_INTERVAL_SECONDS:
            return
        _last_logged = now
        logger.warning(
            "trueline: internal error in %s (%d so far); your code runs on, with less telemetry\n%s%s",
            where,
            sum(internal_errors.values()),
            # As text: whoever keeps log records would keep the frames of the application with the traceback.
            "".join(traceback.format_tb(error.__traceback__)),
            # The text of an exception can hold row values: its class and place are enough to find the bug.
            f"{type(error).__module__}.{type(error).__qualname__}",
            extra={"trueline_error": type(error).__name__},
        )
    except Exception:
        internal_errors["guard.log"] += 1
    finally:
        lock.release()


def swallow(where: str, error: Exception) -> None:
    """What :func:`guarded` does, for hooks on the hot path that have their own ``except``."""
    if raise_internal_errors:
        raise error
    report(where, error)


def guarded(where: str, default: Any = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a hook: on an exception it returns ``default`` and the application never knows."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except Exception as error:
                if raise_internal_errors:
                    raise
                try:
                    report(where, error)
                except Exception:  # noqa: S110
                    pass  # too deep in recursion, or out of memory, even to count
                return default  # type: ignore[no-any-return]

        return wrapper

    return decorate
