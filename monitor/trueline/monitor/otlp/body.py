"""Reads and inflates request bodies, bounded in size, time and number."""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from starlette.requests import ClientDisconnect, Request

from trueline.monitor.otlp.errors import (
    BodyTimeoutError,
    MalformedBodyError,
    TooBusyError,
    TooLargeError,
    UnsupportedMediaError,
)

#: Of one body, before and after it is inflated: what the OTLP specification recommends.
MAX_BODY_BYTES: Final = 20 << 20
#: Of all bodies that are being read or wait to be stored, as they came and inflated.
MAX_BUFFERED_BYTES: Final = 128 << 20
MAX_REQUESTS: Final = 256
#: Bodies that are being read at once.
MAX_READERS: Final = 400
BODY_SECONDS: Final = 30.0
#: zlib's window size with automatic recognition of gzip and zlib headers.
_ANY_HEADER: Final = 32 + zlib.MAX_WBITS


@dataclass(slots=True)
class Admission:
    """Room for the requests under way in one event loop. What exceeds it is refused, to be tried again.

    A body that comes slowly holds no place of a complete one: readers have places of their own, and where
    those are taken the reader that has been silent longest makes room.
    """

    max_requests: int = MAX_REQUESTS
    max_bytes: int = MAX_BUFFERED_BYTES
    max_readers: int = MAX_READERS
    requests: int = field(default=0, init=False)
    buffered: int = field(default=0, init=False)
    _readers: dict[int, _Reader] = field(default_factory=dict, init=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def reading(self) -> int:
        """Bodies that are being read."""
        return len(self._readers)

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Read a request's body; its bytes count as buffered until the block is left.

        Raise TooBusyError, TooLargeError, BodyTimeoutError or MalformedBodyError (the client went away).
        """
        if self.requests >= self.max_requests:
            raise TooBusyError("too many requests are under way", retry_after=1)
        taken = 0
        admitted = False
        try:
            chunks: list[bytes] = []
            async with self._reader() as reader:
                async for chunk in request.stream():
                    taken += len(chunk)
                    self.take(len(chunk))
                    if taken > MAX_BODY_BYTES:
                        raise _too_large()
                    chunks.append(chunk)
                    reader.goes_on()
            if self.requests >= self.max_requests:
                raise TooBusyError("too many requests are under way", retry_after=1)
            self.requests += 1
            admitted = True
            yield b"".join(chunks)
        finally:
            self.requests -= admitted
            self.give_back(taken)

    def take(self, size: int) -> None:
        """Count bytes that are held for a request, from any thread. Raise TooBusyError where none fit."""
        with self._guard:
            self.buffered += size
            if self.buffered <= self.max_bytes:
                return
        raise TooBusyError("too many bytes wait to be stored", retry_after=1)

    def give_back(self, size: int) -> None:
        """Count bytes as free again, those too that were refused."""
        with self._guard:
            self.buffered -= size

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[_Reader]:
        if len(self._readers) >= self.max_readers:
            min(self._readers.values(), key=lambda one: one.heard).leave()
        try:
            async with asyncio.timeout(BODY_SECONDS) as timeout:
                reader = _Reader(timeout)
                self._readers[id(reader)] = reader
                try:
                    yield reader
                finally:
                    del self._readers[id(reader)]
        except TimeoutError as error:
            raise BodyTimeoutError(
                f"the body took longer than {BODY_SECONDS:.0f} seconds, or was silent while others waited"
            ) from error
        except ClientDisconnect as error:
            raise MalformedBodyError("the connection ended before the body did") from error


class _Reader:
    """One body that is being read: when something of it came last, and its time limit."""

    def __init__(self, timeout: asyncio.Timeout) -> None:
        self._timeout = timeout
        self.heard = time.monotonic()

    def goes_on(self) -> None:
        """Something came."""
        self.heard = time.monotonic()

    def leave(self) -> None:
        """End the reading now."""
        # Not looked at again while its end is on the way.
        self.heard = float("inf")
        self._timeout.reschedule(asyncio.get_running_loop().time())


def inflate(body: bytes, encoding: str) -> bytes:
    """Undo a Content-Encoding (none, gzip or deflate), never making more than MAX_BODY_BYTES."""
    match encoding.strip().lower():
        case "" | "identity" | "none":
            return body
        case "gzip" | "deflate":
            return _inflate(body)
        case other:
            raise UnsupportedMediaError(
                f"the content encoding {other[:40]!r} is not spoken: use gzip or none"
            )


def _inflate(body: bytes) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        # A gzip body may consist of several members, one after the other.
        while body:
            inflater = zlib.decompressobj(_ANY_HEADER)
            part = inflater.decompress(body, MAX_BODY_BYTES - size + 1)
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise _too_large()
            if not inflater.eof:
                raise MalformedBodyError("the compressed body is cut off")
            parts.append(part)
            body = inflater.unused_data
    except zlib.error as error:
        raise MalformedBodyError("the body is not what its content encoding says") from error
    return b"".join(parts)


def _too_large() -> TooLargeError:
    return TooLargeError(f"a body may have {MAX_BODY_BYTES >> 20} MiB, inflated: send smaller batches")
