"""What one task knows: which transactions it holds open, which exception it unwinds.

All of it lives in context variables, so that threads, tasks and SQLAlchemy's greenlets each see their
own. Nothing here is ever sent anywhere, and nothing is put into baggage (which would leave the process).
"""

from __future__ import annotations

import weakref
from collections import deque
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trueline.instrumentation.transaction import Transaction

#: The exception that an async block is being left with. The greenlet in which SQLAlchemy then rolls back
#: does not see it in sys.exc_info().
_leaving: ContextVar[Leaving | None] = ContextVar("trueline.leaving", default=None)

_open_transactions: ContextVar[tuple[weakref.ref[Transaction[Any]], ...]] = ContextVar(
    "trueline.transactions", default=()
)

# Exceptions that left an AI call, by id and type. An exception is neither kept alive (its traceback holds
# the application's frames) nor marked (its __dict__ is the application's).
_AI_FAILURES_KEPT = 16
_ai_failures: ContextVar[deque[tuple[int, type[BaseException]]] | None] = ContextVar(
    "trueline.ai_failures", default=None
)


class Leaving:
    """An async block being left, with an exception or without.

    A task or a timer that is started meanwhile copies the context and may live for long: what it copies is
    this object, which lets the exception go when the block is left.
    """

    __slots__ = ("_error", "_token")

    def __init__(self, error: BaseException | None) -> None:
        self._error = error
        self._token: Token[Leaving | None] | None = _leaving.set(self)

    @property
    def error(self) -> BaseException | None:
        """The exception; None when the block has been left."""
        return self._error

    def over(self) -> None:
        """The block has been left."""
        self._error = None
        token, self._token = self._token, None  # it holds the context
        if token is None:
            return
        try:
            _leaving.reset(token)
        except ValueError:
            pass  # a coroutine that was closed from another context, as at the end of an event loop


def leaving_with() -> BaseException | None:
    """The exception that this task leaves a block of SQLAlchemy's with, if any."""
    leaving = _leaving.get()
    return None if leaving is None else leaving.error


def transaction_opened(transaction: Transaction[Any]) -> None:
    """Let the current task know that it holds ``transaction``; ended ones are dropped on the way."""
    opened: tuple[weakref.ref[Transaction[Any]], ...] = (weakref.ref(transaction),)
    before = _open_transactions.get()
    if before:
        opened = (*[ref for ref in before if (t := ref()) is not None and not t.ended], *opened)
    _open_transactions.set(opened)


def open_transactions() -> list[Transaction[Any]]:
    """The transactions that this task holds open now."""
    return [t for ref in _open_transactions.get() if (t := ref()) is not None and not t.ended]


def ai_call_failed(error: BaseException) -> None:
    """Remember that ``error`` left an AI call of this task."""
    failures = _ai_failures.get()
    if failures is None:
        failures = deque(maxlen=_AI_FAILURES_KEPT)
        _ai_failures.set(failures)
    failures.append((id(error), type(error)))


#: Clients of models, by package: what they raise is an error of the call, whoever watches it or not.
_AI_CLIENTS = (
    "anthropic", "cohere", "google.genai", "google.generativeai", "groq", "litellm", "mistralai", "ollama",
    "openai", "replicate", "together", "vertexai",
)  # fmt: skip
_AI_CLIENT_PREFIXES = tuple(f"{name}." for name in _AI_CLIENTS)


def came_from_ai(error: BaseException) -> bool:
    """Whether ``error`` itself left an AI call of this task, or is one that a model's client raises."""
    if f"{type(error).__module__}.".startswith(_AI_CLIENT_PREFIXES):
        return True
    failures = _ai_failures.get()
    return bool(failures) and (id(error), type(error)) in failures  # type: ignore[operator]
