"""Group commit: one thread inserts what many requests brought, and each request waits for its own insert.

A request is answered only after the insert that carries it has returned, so what was acknowledged is in the
store. Each is stored once, whatever is sent again in whatever company: one that is known to be stored is
acknowledged at once, an insert that broke off is repeated under its own token (see :mod:`.journal`) before
anything else is inserted. Where a shared insert fails because of what somebody's rows contain, it is repeated
request by request, so that one bad request does not take the others down.
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

from trueline.monitor.errors import DataRefusedError, OddValueError, StoreError, StoreUnavailableError
from trueline.monitor.store.journal import Decoder, Entry, Journal
from trueline.monitor.store.requests import Key, StoredRequests

_log = logging.getLogger(__name__)

#: A group is closed when no request has come for so long, seconds.
GATHER_SECONDS: Final = 0.02
#: It is closed after this at the latest, and after no longer than the last insert took. Under load those who
#: were just answered come again at once: together with who waited meanwhile they make a group twice as large,
#: and 16,000 rows cost half of what four times 4,000 do.
MAX_GATHER_SECONDS: Final = 0.5
#: Rows and bytes of one insert; more is left for the next.
MAX_INSERT_ROWS: Final = 50_000
MAX_INSERT_BYTES: Final = 64 << 20
#: Plain rows from which on the engine decodes them. Its statement takes a while to plan, whatever its size: a
#: few rows are stored faster by way of Python, a flood in a third of the time by the engine.
ENGINE_ROWS: Final = 3_000
#: Rows and bytes that may wait.
MAX_WAITING_ROWS: Final = 200_000
MAX_WAITING_BYTES: Final = 128 << 20
#: Pause before an insert that broke off is tried again with nothing else to do, seconds.
RETRY_SECONDS: Final = 2.0

Columns = Mapping[str, Sequence[Any]]


@dataclass(slots=True)
class Load:
    """The rows of one request.

    ``columns`` makes them, as late as possible. ``body`` is the request as our parser serialised it, by which
    it is kept until it is stored, and which the engine can decode where ``plain`` says so. ``request`` is the
    hash that it is known by; empty where it is not to be remembered.
    """

    table: str
    rows: int
    columns: Callable[[], Columns]
    body: bytes = b""
    request: bytes = b""
    plain: bool = False

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.table, self.request


class Inserter(Protocol):
    """What the writer needs of a store."""

    def insert(self, table: str, columns: Columns, *, token: str = "") -> None:
        """Insert rows given as columns; return when they are stored."""


class Framing(Protocol):
    """How requests are written to a file, and inserted from there."""

    @property
    def decodes(self) -> bool:
        """Whether the engine decodes plain requests."""

    def frame(self, loads: Sequence[Load]) -> list[bytes]:
        """The content of a file."""

    def insert(self, entry: Entry) -> None:
        """Insert a file under its token. Raise OddValueError if the engine cannot, and Python has to."""

    def keys(self, entry: Entry) -> Sequence[Key]:
        """The requests in a file."""


class Meter(Protocol):
    """Is told what happens, for metrics."""

    def inserted(self, table: str, rows: int, requests: int, seconds: float, decoder: Decoder) -> None:
        """An insert succeeded."""

    def failed(self, table: str, error: StoreError) -> None:
        """An insert failed."""

    def repeated(self, table: str, rows: int) -> None:
        """A request that is stored was sent again."""


@dataclass(slots=True)
class _Request:
    load: Load
    done: Future[None] = field(default_factory=Future)


class Writer:
    """Owns the inserting thread. ``submit`` may be called from any thread."""

    def __init__(
        self,
        store: Inserter,
        *,
        journal: Journal | None = None,
        framing: Framing | None = None,
        stored: StoredRequests | None = None,
        meter: Meter | None = None,
        gather_seconds: float = GATHER_SECONDS,
        max_insert_rows: int = MAX_INSERT_ROWS,
        engine_rows: int = ENGINE_ROWS,
        max_waiting_rows: int = MAX_WAITING_ROWS,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._journal = journal
        self._framing = framing
        self._stored = stored if stored is not None else StoredRequests()
        self._meter = meter
        self._gather_seconds = gather_seconds
        self._max_insert_rows = max_insert_rows
        self._engine_rows = engine_rows
        self._max_waiting_rows = max_waiting_rows
        self._max_waiting_bytes = max_waiting_bytes
        self._clock = clock
        self._waiting: deque[_Request] = deque()
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self._changed = threading.Condition()
        self._stopping = False
        self._last_error: str | None = None
        self._last_seconds = 0.0
        #: Inserts that broke off: nothing else is inserted before they are through.
        self._broken: deque[Entry] = deque()
        self._thread = threading.Thread(target=self._run, name="trueline-writer", daemon=True)
        #: Set when the engine met a value that it cannot express: seconds of the clock.
        self.odd_at = float("-inf")

    def start(self) -> None:
        """Finish what an earlier process was inserting, then start the thread."""
        if self._journal is not None:
            self._broken.extend(self._journal.entries())
            if self._broken:
                _log.warning("%d inserts that broke off are repeated", len(self._broken))
                self._finish_broken()
        self._thread.start()

    def submit(self, load: Load) -> Future[None]:
        """Queue a request. The future is done once it is stored, or holds the StoreError that says why not.

        Raise StoreUnavailableError if no more may wait, or the writer is stopping.
        """
        request = _Request(load)
        rows, size = load.rows, len(load.body)
        with self._changed:
            if self._stopping or not self._thread.is_alive():
                raise StoreUnavailableError("The monitor is stopping.")
            if self._waiting_rows and (
                self._waiting_rows + rows > self._max_waiting_rows
                or self._waiting_bytes + size > self._max_waiting_bytes
            ):
                raise StoreUnavailableError(f"{self._waiting_rows:,} rows wait to be stored.")
            self._waiting.append(request)
            self._waiting_rows += rows
            self._waiting_bytes += size
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
        return min(
            1.0,
            max(self._waiting_rows / self._max_waiting_rows, self._waiting_bytes / self._max_waiting_bytes),
        )

    @property
    def waiting(self) -> tuple[int, int, int]:
        """Requests, rows and bytes that wait."""
        return len(self._waiting), self._waiting_rows, self._waiting_bytes

    @property
    def engine_decodes(self) -> bool:
        """Whether plain requests are decoded by the engine."""
        return self._framing is not None and self._framing.decodes

    def stop(self, timeout: float) -> bool:
        """Refuse new rows, store what waits, end the thread. False if ``timeout`` seconds did not suffice."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (requests := self._gather()) is not None:
            try:
                self._store_all(requests)
            except Exception as error:
                # The thread must outlive whatever happens here: every later request depends on it.
                _log.exception("storing %d requests failed unexpectedly", len(requests))
                for request in requests:
                    if not request.done.done():
                        _settle(request, StoreUnavailableError(f"The rows could not be stored: {error}"))

    def _store_all(self, requests: list[_Request]) -> None:
        trouble = self._finish_broken() if self._broken else None
        if trouble is not None:
            for request in requests:
                _settle(request, trouble)
            return
        groups: dict[str, list[_Request]] = {}
        twins: dict[Key, list[_Request]] = {}
        for request in requests:
            load = request.load
            if load.request and load.key in self._stored:
                self._acknowledge_again(request)
            elif load.request and load.key in twins:
                twins[load.key].append(request)
            else:
                if load.request:
                    twins[load.key] = []
                if self._stored.is_doubtful(load.key):
                    self._insert(load.table, "python", [request])
                else:
                    groups.setdefault(load.table, []).append(request)
        for table, group in groups.items():
            plain = [request for request in group if request.load.plain]
            if self.engine_decodes and sum(request.load.rows for request in plain) >= self._engine_rows:
                self._insert(table, "engine", plain)
                rest = [request for request in group if not request.load.plain]
            else:
                rest = group
            if rest:
                self._insert(table, "python", rest)
        for key, others in twins.items():
            for request in others:
                if key in self._stored:
                    self._acknowledge_again(request)
                else:
                    self._insert(request.load.table, "python", [request])

    def _acknowledge_again(self, request: _Request) -> None:
        if self._meter:
            self._meter.repeated(request.load.table, request.load.rows)
        _settle(request, None)

    def _gather(self) -> list[_Request] | None:
        """Wait for requests, then for more while they come; None when the writer is to end."""
        with self._changed:
            while not self._waiting and not self._stopping:
                if not self._changed.wait(RETRY_SECONDS if self._broken else None):
                    return []
            if not self._waiting:
                return None
            now, rows = self._clock(), self._waiting_rows
            quiet = now + self._gather_seconds
            latest = max(quiet, now + min(self._last_seconds, MAX_GATHER_SECONDS))
            while self._waiting_rows < self._max_insert_rows and not self._stopping:
                remaining = min(quiet, latest) - self._clock()
                if remaining <= 0:
                    break
                self._changed.wait(remaining)
                if self._waiting_rows != rows:
                    rows, quiet = self._waiting_rows, self._clock() + self._gather_seconds
            taken: list[_Request] = []
            rows = size = 0
            while self._waiting:
                load = self._waiting[0].load
                if taken and (
                    rows + load.rows > self._max_insert_rows or size + len(load.body) > MAX_INSERT_BYTES
                ):
                    break
                taken.append(self._waiting.popleft())
                rows += load.rows
                size += len(load.body)
                self._waiting_rows -= load.rows
                self._waiting_bytes -= len(load.body)
            return taken

    def _insert(self, table: str, decoder: Decoder, group: list[_Request]) -> None:
        """Store a group in one insert, or else each of its requests in one of its own; settle them all."""
        error = self._try(table, decoder, [request.load for request in group])
        if error is None or len(group) == 1 or isinstance(error, StoreUnavailableError):
            for request in group:
                _settle(request, error)
            return
        for request in group:
            _settle(request, self._try(table, decoder, [request.load]))

    def _try(self, table: str, decoder: Decoder, loads: list[Load]) -> StoreError | None:
        began = self._clock()
        rows = sum(load.rows for load in loads)
        # One request alone always has the same token, so that an insert that broke off can be repeated by it.
        token = loads[0].request.hex() if len(loads) == 1 else ""
        entry: Entry | None = None
        try:
            if self._journal is not None and self._framing is not None and loads[0].body:
                entry = self._journal.write(table, decoder, self._framing.frame(loads), token)
            self._put(table, entry, loads, token)
        except StoreError as error:
            self._note(table, error)
            self._give_up(entry, loads, error)
            return error
        except Exception as error:
            _log.exception("inserting into %s failed unexpectedly", table)
            wrapped = StoreUnavailableError(f"The rows could not be stored: {error}")
            self._note(table, wrapped)
            self._give_up(entry, loads, wrapped)
            return wrapped
        for load in loads:
            self._stored.add(load.key)
        if entry is not None and self._journal is not None:
            self._journal.remove(entry)
        self._last_seconds = self._clock() - began
        if self._meter:
            self._meter.inserted(table, rows, len(loads), self._last_seconds, decoder)
        self._last_error = None
        return None

    def _put(self, table: str, entry: Entry | None, loads: list[Load], token: str) -> None:
        if entry is not None and self._framing is not None and entry.decoder == "engine":
            try:
                self._framing.insert(entry)
                return
            except OddValueError:
                # Nothing is stored. The receiver looks closer for a while, so that this stays rare.
                self.odd_at = self._clock()
        self._store.insert(table, _join(loads), token=entry.token if entry is not None else token)

    def _give_up(self, entry: Entry | None, loads: list[Load], error: StoreError) -> None:
        """An insert failed: is it known that nothing of it is stored?"""
        if entry is None or self._journal is None:
            for load in loads:
                self._stored.doubt(load.key)
        elif isinstance(error, StoreUnavailableError):
            self._broken.append(entry)
        else:
            for load in loads:
                self._stored.doubt(load.key)
            self._journal.remove(entry)

    def _finish_broken(self) -> StoreError | None:
        """Repeat the inserts that broke off; return why that is not possible yet."""
        assert self._journal is not None
        assert self._framing is not None
        while self._broken:
            entry = self._broken[0]
            try:
                keys = self._finish(entry)
            except StoreUnavailableError as error:
                self._note(entry.table, error)
                return error
            except StoreError as error:
                # It will never go in. Nobody was told that it is stored.
                _log.error("a group of requests cannot be stored and is set aside: %s", error)
                self._journal.set_aside(entry)
            else:
                for key in keys:
                    self._stored.add(key)
                self._journal.remove(entry)
                self._last_error = None
            self._broken.popleft()
        return None

    def _finish(self, entry: Entry) -> Sequence[Key]:
        assert self._framing is not None
        try:
            self._framing.insert(entry)
        except OddValueError:
            self._framing.insert(Entry(entry.path, entry.token, entry.table, "python"))
        return self._framing.keys(entry)

    def _note(self, table: str, error: StoreError) -> None:
        """Remember and log a failure that is the store's, once while it lasts."""
        if self._meter:
            self._meter.failed(table, error)
        if isinstance(error, DataRefusedError):
            return
        message = str(error)
        if message != self._last_error:
            _log.error("rows cannot be stored: %s", message)
        self._last_error = message


def _join(loads: list[Load]) -> Columns:
    parts = [load.columns() for load in loads]
    if len(parts) == 1:
        return parts[0]
    return {name: list(chain.from_iterable(part[name] for part in parts)) for name in parts[0]}


def _settle(request: _Request, error: StoreError | None) -> None:
    # A request whose client went away may have been cancelled; its rows are stored all the same.
    if not request.done.set_running_or_notify_cancel():
        return
    if error is None:
        request.done.set_result(None)
    else:
        request.done.set_exception(error)
