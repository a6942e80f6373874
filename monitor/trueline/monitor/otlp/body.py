"""Reads and inflates request bodies, bounded in size, time and number."""

from __future__ import annotations

import asyncio
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
#: Of all bodies that are being read or wait to be decoded.
MAX_BUFFERED_BYTES: Final = 128 << 20
MAX_REQUESTS: Final = 256
BODY_SECONDS: Final = 30.0
#: zlib's window size with automatic recognition of gzip and zlib headers.
_ANY_HEADER: Final = 32 + zlib.MAX_WBITS


@dataclass(slots=True)
class Admission:
    """Room for the requests under way in one event loop. What exceeds it is refused, to be tried again."""

    max_requests: int = MAX_REQUESTS
    max_bytes: int = MAX_BUFFERED_BYTES
    requests: int = field(default=0, init=False)
    buffered: int = field(default=0, init=False)

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Read a request's body; its bytes count as buffered until the block is left.

        Raise TooBusyError, TooLargeError, BodyTimeoutError or MalformedBodyError (the client went away).
        """
        if self.requests >= self.max_requests:
            raise TooBusyError("too many requests are under way", retry_after=1)
        self.requests += 1
        taken = 0
        try:
            chunks: list[bytes] = []
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    async for chunk in request.stream():
                        taken += len(chunk)
                        self.buffered += len(chunk)
                        if taken > MAX_BODY_BYTES:
                            raise _too_large()
                        if self.buffered > self.max_bytes:
                            raise TooBusyError("too many bytes wait to be decoded", retry_after=1)
                        chunks.append(chunk)
            except TimeoutError as error:
                raise BodyTimeoutError(f"the body took longer than {BODY_SECONDS:.0f} seconds") from error
            except ClientDisconnect as error:
                raise MalformedBodyError("the connection ended before the body did") from error
            yield b"".join(chunks)
        finally:
            self.requests -= 1
            self.buffered -= taken


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
