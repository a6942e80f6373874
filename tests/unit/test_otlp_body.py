"""Bodies: inflated within bounds, admitted within bounds."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.requests import Request

from trueline.monitor.otlp import body as module
from trueline.monitor.otlp.body import MAX_BODY_BYTES, Admission, inflate
from trueline.monitor.otlp.errors import (
    BodyTimeoutError,
    MalformedBodyError,
    RefusedError,
    TooBusyError,
    TooLargeError,
    UnsupportedMediaError,
)

TEXT = b"some body " * 1000
PACKED = gzip.compress(TEXT)


def test_known_encodings() -> None:
    assert inflate(TEXT, "") == inflate(TEXT, "identity") == TEXT
    assert inflate(gzip.compress(TEXT), "gzip") == TEXT
    assert inflate(gzip.compress(TEXT), " GZIP ") == TEXT
    assert inflate(zlib.compress(TEXT), "deflate") == TEXT
    assert inflate(gzip.compress(TEXT) + gzip.compress(b"more"), "gzip") == TEXT + b"more"
    assert inflate(b"", "gzip") == b""


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x" * 1000])
def test_unknown_encoding(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaError, match="use gzip or none"):
        inflate(TEXT, encoding)


@pytest.mark.parametrize(
    "body",
    [TEXT, PACKED[:-9], PACKED[:5], PACKED + b"tail", b"\x1f\x8b"],
    ids=["none", "cut", "header", "tail", "magic"],
)
def test_broken_gzip(body: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        inflate(body, "gzip")


def test_a_gzip_bomb_stops_at_the_limit() -> None:
    bomb = gzip.compress(bytes(MAX_BODY_BYTES + 1))
    assert len(bomb) < 40_000
    with pytest.raises(TooLargeError, match="20 MiB"):
        inflate(bomb, "gzip")
    exact = gzip.compress(bytes(MAX_BODY_BYTES))
    assert len(inflate(exact, "gzip")) == MAX_BODY_BYTES


def test_a_bomb_is_never_held_in_memory() -> None:
    deflater = zlib.compressobj(wbits=31)
    zeros = bytes(1 << 20)
    bomb = b"".join([*(deflater.compress(zeros) for _ in range(200)), deflater.flush()])
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            inflate(bomb, "gzip")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * MAX_BODY_BYTES


def test_members_are_bounded_together() -> None:
    half = gzip.compress(bytes(MAX_BODY_BYTES // 2 + 1))
    with pytest.raises(TooLargeError):
        inflate(half + half, "gzip")


def posted(chunks: Iterable[bytes], *, end: str = "done") -> Request:
    """A request as a server hands it over; ``end`` is 'done', 'gone' (client left) or 'silent'."""
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
    ]
    if end == "done":
        messages.append({"type": "http.request", "body": b"", "more_body": False})
    elif end == "gone":
        messages.append({"type": "http.disconnect"})

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop(0)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


async def read(admission: Admission, request: Request) -> bytes:
    async with admission.read(request) as body:
        return body


def test_a_body_is_read_and_its_room_given_back() -> None:
    admission = Admission()
    assert asyncio.run(read(admission, posted([b"a", b"b"]))) == b"ab"
    assert (admission.requests, admission.buffered) == (0, 0)


@pytest.mark.parametrize(
    ("admission", "chunks", "end", "error"),
    [
        (Admission(), [b"x" * (1 << 20)] * 21, "done", TooLargeError),
        (Admission(max_bytes=10), [b"12345", b"678901"], "done", TooBusyError),
        (Admission(max_requests=0), [b"x"], "done", TooBusyError),
        (Admission(), [b"x"], "gone", MalformedBodyError),
        (Admission(), [b"x"], "silent", BodyTimeoutError),
    ],
)
def test_what_does_not_fit_is_refused_and_its_room_given_back(
    monkeypatch: pytest.MonkeyPatch,
    admission: Admission,
    chunks: list[bytes],
    end: str,
    error: type[RefusedError],
) -> None:
    monkeypatch.setattr(module, "BODY_SECONDS", 0.05)
    with pytest.raises(error) as caught:
        asyncio.run(read(admission, posted(chunks, end=end)))
    assert (caught.value.retry_after is not None) == (error is TooBusyError)
    assert (admission.requests, admission.buffered) == (0, 0)
