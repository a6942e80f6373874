"""A light HTTP client that makes load: at a fixed rate for latencies, or a closed loop for throughput.

At a fixed rate each request has a time at which it is due, whatever became of those before it, and its
latency counts from then on. A service that stalls therefore shows the stall in every request that was due
meanwhile, and not in one only (coordinated omission).
"""

from __future__ import annotations

import asyncio
import gc
import random
import selectors
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
CONNECTIONS = 48
#: So long without a single answer, and what is under way is given up.
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Request:
    """The bytes to send, and how many SQL statements answering it takes."""

    data: bytes
    statements: int


@dataclass(slots=True)
class Load:
    """What came of it. Latencies and lateness in seconds; an error is any answer but 2xx, or none."""

    latencies: list[float] = field(default_factory=list)
    #: How late the client itself was in sending, while a connection was free.
    lateness: list[float] = field(default_factory=list)
    errors: int = 0
    statements: int = 0
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        return len(self.latencies)


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, done: Callable[[_Connection, bool], None]) -> None:
        self._done = done
        self._buffer = b""
        self._transport: Any = None
        self.due = 0.0
        self.open = True
        self.request: Request | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def send(self, request: Request, due: float) -> None:
        self.request, self.due = request, due
        self._transport.write(request.data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        _, found, rest = head.lower().partition(b"\r\ncontent-length:")
        length = int(rest.split(b"\r\n", 1)[0]) if found else 0
        if len(body) >= length:
            self._buffer = b""
            self._done(self, head[9:10] == b"2")

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self.request is not None:
            self._done(self, False)

    def close(self) -> None:
        self.request = None
        self._transport.close()


class _Client:
    """Connections, those of them that are free, and requests that wait for one."""

    def __init__(self) -> None:
        self.load = Load()
        self._all: list[_Connection] = []
        self._free: list[_Connection] = []
        self._waiting: deque[tuple[Request, float]] = deque()
        self._under_way = 0
        self.next: Callable[[], tuple[Request, float] | None] = self._next_waiting
        self.idle = asyncio.Event()

    async def connect(self, port: int, connections: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: _Connection(self._done), "127.0.0.1", port)
            self._all.append(connection)
        self._free = list(self._all)

    def send(self, request: Request, due: float) -> None:
        """Send now, or as soon as a connection is free."""
        while self._free and not self._free[-1].open:
            self._free.pop()
        if self._free:
            self.load.lateness.append(max(0.0, time.perf_counter() - due))
            self._send(self._free.pop(), request, due)
        else:
            self._waiting.append((request, due))

    def _send(self, connection: _Connection, request: Request, due: float) -> None:
        self._under_way += 1
        self.idle.clear()
        connection.send(request, due)

    def _done(self, connection: _Connection, well: bool) -> None:
        request = connection.request
        assert request is not None
        connection.request = None
        self._under_way -= 1
        if well:
            self.load.latencies.append(time.perf_counter() - connection.due)
            self.load.statements += request.statements
        else:
            self.load.errors += 1
        following = self.next() if connection.open else None
        if following is not None:
            self._send(connection, *following)
            return
        if connection.open:
            self._free.append(connection)
        if not self._under_way:
            self.idle.set()

    def _next_waiting(self) -> tuple[Request, float] | None:
        return self._waiting.popleft() if self._waiting else None

    async def finish(self) -> Load:
        """Wait for what is under way; what is not answered in time, or had no connection, is an error."""
        answered = -1
        while self._under_way and answered < self.load.requests:
            answered = self.load.requests
            with suppress(TimeoutError):
                await asyncio.wait_for(self.idle.wait(), PATIENCE_SECONDS)
        self.load.errors += self._under_way + len(self._waiting)
        for connection in self._all:
            connection.close()
        return self.load


def fixed_rate(
    port: int,
    requests: Sequence[Request],
    *,
    rate: float,
    seconds: float,
    seed: int = 0,
    connections: int = CONNECTIONS,
) -> Load:
    """Send ``rate`` requests a second, evenly but for a jitter, so that they fall into step with no timer."""

    async def run() -> Load:
        client = _Client()
        await client.connect(port, connections)
        jitter = random.Random(seed)
        start = time.perf_counter() + 0.05
        for number in range(int(rate * seconds)):
            due = start + (number + jitter.random()) / rate
            delay = due - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            client.send(requests[(seed + number) % len(requests)], due)
        load = await client.finish()
        load.seconds = time.perf_counter() - start
        return load

    return _run(run())


def closed_loop(
    port: int,
    requests: Sequence[Request],
    *,
    seconds: float = 0.0,
    count: int = 0,
    seed: int = 0,
    connections: int = 16,
) -> Load:
    """Send a connection's next request when the one before is answered, for a time or a number of times."""

    async def run() -> Load:
        client = _Client()
        await client.connect(port, connections)
        start = time.perf_counter()
        sent = 0

        def following() -> tuple[Request, float] | None:
            nonlocal sent
            now = time.perf_counter()
            if (count and sent >= count) or (seconds and now - start >= seconds):
                return None
            sent += 1
            return requests[(seed + sent) % len(requests)], now

        client.next = following
        for _ in range(connections):
            first = following()
            if first is not None:
                client.send(*first)
        load = await client.finish()
        load.seconds = time.perf_counter() - start
        return load

    return _run(run())


def _run(work: Coroutine[Any, Any, T]) -> T:
    # select() sleeps to the microsecond, asyncio's epoll only to the millisecond.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with _undisturbed():
        try:
            return loop.run_until_complete(work)
        finally:
            loop.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The client's own garbage collections are no latency of the service."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
