"""Group commit: one thread inserts what many requests brought, and each request waits for its own insert.

A request is answered only after the insert that carries it has returned, so what was acknowledged is in the
store. Where a shared insert fails because of what somebody's rows contain, it is repeated request by
request, so that one bad request does not take the others down.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, Protocol

from trueline.monitor.errors import DataRefusedError, StoreError, StoreUnavailableError

_log = logging.getLogger(__name__)

#: How long the first request waits for others, seconds.
GATHER_SECONDS: Final = 0.02
#: Rows of one insert; more is left for the next.
MAX_INSERT_ROWS: Final = 50_000
#: Rows that may wait. At a few kilobytes a row this bounds memory to some hundred megabytes.
MAX_WAITING_ROWS: Final = 200_000


class Inserter(Protocol):
    """What the writer needs of a store."""

    def insert(self, table: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Insert rows given as columns; return when they are stored."""


@dataclass(slots=True)
class _Request:
    table: str
    columns: Mapping[str, Sequence[Any]]
    rows: int
    done: Future[None] = field(default_factory=Future)


class Writer:
    """Owns the inserting thread. ``submit`` may be called from any thread."""

    def __init__(
        self,
        store: Inserter,
        *,
        gather_seconds: float = GATHER_SECONDS,
        max_insert_rows: int = MAX_INSERT_ROWS,
        max_waiting_rows: int = MAX_WAITING_ROWS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._gather_seconds = gather_seconds
        self._max_insert_rows = max_insert_rows
        self._max_waiting_rows = max_waiting_rows
        self._clock = clock
        self._waiting: deque[_Request] = deque()
        self._waiting_rows = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._last_error: str | None = None
        self._thread = threading.Thread(target=self._run, name="trueline-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, table: str, columns: Mapping[str, Sequence[Any]], rows: int) -> Future[None]:
        """Queue rows. The future is done once they are stored, or holds the StoreError that says why not.

        Raise StoreUnavailableError if no more rows may wait, or the writer is stopping.
        """
        request = _Request(table, columns, rows)
        with self._changed:
            if self._stopping or not self._thread.is_alive():
                raise StoreUnavailableError("The monitor is stopping.")
            if self._waiting_rows and self._waiting_rows + rows > self._max_waiting_rows:
                raise StoreUnavailableError(f"{self._waiting_rows:,} rows wait to be stored.")
            self._waiting.append(request)
            self._waiting_rows += rows
            self._changed.notify()
        return request.done

    def problem(self) -> str | None:
        """Why rows cannot be written just now, as far as the last insert told; None if they can."""
        if not self._thread.is_alive():
            return "the writer is not running"
        return self._last_error

    @property
    def waiting_share(self) -> float:
        """How full the queue is, 0 to 1."""
        return min(1.0, self._waiting_rows / self._max_waiting_rows)

    def stop(self, timeout: float) -> bool:
        """Refuse new rows, store what waits, end the thread. False if ``timeout`` seconds did not suffice."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while requests := self._gather():
            by_table: dict[str, list[_Request]] = {}
            for request in requests:
                by_table.setdefault(request.table, []).append(request)
            for table, group in by_table.items():
                self._insert(table, group)

    def _gather(self) -> list[_Request]:
        """Wait for requests, then a little longer for more; empty when the writer is to end."""
        with self._changed:
            while not self._waiting and not self._stopping:
                self._changed.wait()
            deadline = self._clock() + self._gather_seconds
            while self._waiting_rows < self._max_insert_rows and not self._stopping:
                remaining = deadline - self._clock()
                if remaining <= 0:
                    break
                self._changed.wait(remaining)
            taken: list[_Request] = []
            rows = 0
            while self._waiting and (not taken or rows + self._waiting[0].rows <= self._max_insert_rows):
                request = self._waiting.popleft()
                self._waiting_rows -= request.rows
                rows += request.rows
                taken.append(request)
            return taken

    def _insert(self, table: str, group: list[_Request]) -> None:
        error = self._try(table, _join(group))
        if error is None or len(group) == 1 or isinstance(error, StoreUnavailableError):
            for request in group:
                _settle(request, error)
            return
        for request in group:
            _settle(request, self._try(table, request.columns))

    def _try(self, table: str, columns: Mapping[str, Sequence[Any]]) -> StoreError | None:
        try:
            self._store.insert(table, columns)
        except StoreError as error:
            self._note(error)
            return error
        except Exception as error:
            # The thread must outlive whatever happens here: every later request depends on it.
            _log.exception("inserting into %s failed unexpectedly", table)
            wrapped = StoreUnavailableError(f"The rows could not be stored: {error}")
            self._note(wrapped)
            return wrapped
        self._last_error = None
        return None

    def _note(self, error: StoreError) -> None:
        """Remember and log a failure that is the store's, once while it lasts."""
        if isinstance(error, DataRefusedError):
            return
        message = str(error)
        if message != self._last_error:
            _log.error("rows cannot be stored: %s", message)
        self._last_error = message


def _join(group: list[_Request]) -> Mapping[str, Sequence[Any]]:
    if len(group) == 1:
        return group[0].columns
    return {
        name: list(chain.from_iterable(request.columns[name] for request in group))
        for name in group[0].columns
    }


def _settle(request: _Request, error: StoreError | None) -> None:
    # A request whose client went away may have been cancelled; its rows are stored all the same.
    if not request.done.set_running_or_notify_cancel():
        return
    if error is None:
        request.done.set_result(None)
    else:
        request.done.set_exception(error)
