"""Why a rollback happens: the exception with which a block is being left, and what that was raised from."""

from __future__ import annotations

import asyncio
import sys

from trueline.instrumentation import scope
from trueline.instrumentation.block import qualified_name
from trueline.instrumentation.semconv import Reason
from trueline.instrumentation.transaction import Cause

MAX_CAUSES = 8
#: Between the driver's rollback and the session's there are about ten.
_MAX_FRAMES = 40

# These end a block without anything having gone wrong in it.
_NOT_ERRORS = (StopIteration, StopAsyncIteration)

#: Why a rollback happens: the reason, and the exception that caused it.
Why = tuple[Reason, Cause | None]


def why_left() -> Why | None:
    """Why a rollback that is about to happen does, by the exception that is on its way; None without one."""
    error = leaving_with()
    if isinstance(error, GeneratorExit):
        # A generator was closed before it was done: nobody asked for a rollback.
        return Reason.NOT_COMMITTED, None
    if error is not None and not isinstance(error, _NOT_ERRORS):
        abandoned = isinstance(error, asyncio.CancelledError)
        return (Reason.ABANDONED if abandoned else Reason.EXCEPTION), cause_of(error)
    return None


def leaving_with() -> BaseException | None:
    """The exception that is being handled here, or with which an async block is being left."""
    return sys.exc_info()[1] or scope.leaving_with()


def session_rollback_is_running() -> bool:
    """Whether an ORM session's rollback() is among the callers, and not its close()."""
    frame = sys._getframe()
    for _ in range(_MAX_FRAMES):
        if frame.f_code.co_name == "rollback" and frame.f_globals.get("__name__") == "sqlalchemy.orm.session":
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False


def cause_of(error: BaseException) -> Cause:
    """Class names of an exception and of what it was raised from; the exception is not kept.

    SQLAlchemy's wrapper names the driver's exception as its cause already (``raise ... from``).
    """
    chain: list[str] = []
    from_ai = False
    current: BaseException | None = error
    while current is not None and len(chain) < MAX_CAUSES:
        chain.append(qualified_name(type(current)))
        from_ai = from_ai or scope.came_from_ai(current)
        suppressed = current.__suppress_context__
        current = current.__cause__ or (None if suppressed else current.__context__)
    return Cause(chain[0], tuple(chain), from_ai)
