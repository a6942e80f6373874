"""Things that are made when they are first used, by a thread of ours, with all the imports that they need.

A fork in the middle of an import leaves the child with a module that it waits for forever: the thread that
was importing it is not there. A fork therefore waits until such an import is over, or for a second at most.
And what was not made yet is made before the first fork: the children of a server share what it takes, in
memory and in time.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar

from trueline.instrumentation.guard import report

T = TypeVar("T")

#: Long for an import, short for a host that forks while holding what the import waits for.
_FORK_PATIENCE: Final = 1.0
#: How often a module may be met that another thread is still importing, before that is an error.
_HALF_IMPORTED: Final = 5

_lock = threading.RLock()
#: Threads that are about to fork and hold the lock for it.
_forking: set[int] = set()
_all: weakref.WeakSet[Late[Any]] = weakref.WeakSet()


@contextmanager
def importing() -> Iterator[None]:
    """Hold off forks of this process while modules are imported in a thread of ours."""
    with _lock:
        yield


def _before_fork() -> None:
    if _lock.acquire(timeout=_FORK_PATIENCE):
        _forking.add(threading.get_ident())
        for late in list(_all):
            late.get()


def _in_parent() -> None:
    if threading.get_ident() in _forking:
        _forking.discard(threading.get_ident())
        _lock.release()


def _in_child() -> None:
    global _lock
    _forking.clear()
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)


class Late(Generic[T]):
    """What ``make`` returns, made once, when it is first asked for. A failure is counted and tried again.

    Not counted is a module that a thread of the host is importing at the same time: where two threads would
    wait for each other, Python gives one of them the module as far as it is.
    """

    def __init__(self, place: str, make: Callable[[], T]) -> None:
        self._place = place
        self._make = make
        self._made: T | None = None
        self._half_imported = 0
        _all.add(self)

    @property
    def made(self) -> T | None:
        """It, if it was made."""
        return self._made

    def set(self, made: T) -> None:
        """It was made already."""
        self._made = made

    def get(self) -> T | None:
        """It, made if need be; None where that fails, or the interpreter is being taken down."""
        if self._made is None and not sys.is_finalizing():
            try:
                with importing():
                    if self._made is None:
                        # Python loads it with the first name of a host that is looked up.
                        import encodings.idna  # noqa: F401

                        self._made = self._make()
            except Exception as error:
                half_imported = "partially initialized module" in str(error)
                self._half_imported += half_imported
                if not half_imported or self._half_imported > _HALF_IMPORTED:
                    report(self._place, error)
        return self._made
