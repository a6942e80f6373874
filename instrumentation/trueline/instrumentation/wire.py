"""OTLP's protobuf encoding of spans, by joining bytes that were made before.

Most of a statement span says what its statement's text, its connection and its transaction say, again and
again. Such groups of attributes are :class:`Part` objects, encoded once; a span joins their bytes. Field
numbers are those of opentelemetry-proto's ``trace.proto`` and ``common.proto``, which never change.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

_DOUBLE: Final = struct.Struct("<d")
_SPAN_TIMES: Final = struct.Struct("<BQBQ")
_VARINTS: Final = tuple(bytes([n]) if n < 0x80 else bytes([n & 0x7F | 0x80, n >> 7]) for n in range(1 << 11))
_U64: Final = (1 << 64) - 1
_ERROR: Final = 2
_TRUE: Final = b"\x10\x01"
_FALSE: Final = b"\x10\x00"
#: Keys come from the contract and from other instrumentations' spans: a small set.
_MAX_KEYS: Final = 4096
_keys: dict[str, bytes] = {}


def varint(number: int) -> bytes:
    """A number as protobuf writes it; negative ones as 64 bits."""
    if 0 <= number < 2048:
        return _VARINTS[number]
    number &= _U64
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(tag: bytes, payload: bytes) -> bytes:
    """A length-delimited field; ``tag`` is its number and wire type."""
    return tag + varint(len(payload)) + payload


def text(tag: bytes, value: str) -> bytes:
    """A string field; lone surrogates, which are no text, are replaced."""
    return field(tag, value.encode("utf-8", "replace"))


def any_value(value: Any) -> bytes:
    """AnyValue of an attribute: str, bool, int, float, bytes, or a list of these. Others by their text."""
    if value.__class__ is str:
        data = value.encode("utf-8", "replace")
        return b"\x0a" + varint(len(data)) + data
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, str):
        return text(b"\x0a", str.__str__(value))
    if isinstance(value, int):
        return b"\x18" + varint(value)
    if isinstance(value, float):
        return b"\x21" + _DOUBLE.pack(value)
    if isinstance(value, tuple | list):
        return field(b"\x2a", b"".join([field(b"\x0a", any_value(item)) for item in value]))
    if isinstance(value, bytes):
        return field(b"\x3a", value)
    if value is None:
        return b""
    return text(b"\x0a", str(value))


def encode_attributes(attributes: Mapping[str, Any], tag: bytes = b"\x4a") -> bytes:
    """Attributes as the repeated field 9 of a Span, or as another by its ``tag``."""
    out = []
    for name, value in attributes.items():
        key = _keys.get(name) or _key(name)
        data = any_value(value)
        data = key + varint(len(data)) + data
        out.append(tag + varint(len(data)) + data)
    return b"".join(out)


def key_value(name: str, value: Any) -> bytes:
    """One KeyValue."""
    return (_keys.get(name) or _key(name)) + field(b"", any_value(value))


def _key(name: str) -> bytes:
    """A KeyValue's key, and the tag of the value that follows."""
    key = text(b"\x0a", name) + b"\x12"
    if len(_keys) < _MAX_KEYS:
        _keys[name] = key
    return key


class Part:
    """Some attributes of a span and their encoding, made once and shared by many spans."""

    __slots__ = ("_derived", "attributes", "bytes")

    def __init__(self, attributes: dict[str, Any]) -> None:
        #: Never changed once the part exists.
        self.attributes = attributes
        #: What :meth:`encoded` returned, once it was asked.
        self.bytes: bytes | None = None
        self._derived: Part | None = None

    def derived(self, make: Callable[[dict[str, Any]], dict[str, Any]]) -> Part:
        """The part that ``make`` makes of this one's attributes, once; there is one such use of a part."""
        derived = self._derived
        if derived is None:
            derived = self._derived = Part(make(self.attributes))
        return derived

    def encoded(self) -> bytes:
        """The attributes as they stand in a Span."""
        encoded = self.bytes
        if encoded is None:
            encoded = self.bytes = encode_attributes(self.attributes)
        return encoded


def trace_head(trace_id: int) -> bytes:
    """Of a Span, its trace's id and the tag of its own, of which 8 bytes follow."""
    return b"\x0a\x10" + trace_id.to_bytes(16, "big") + b"\x12\x08"


def parent_field(parent_id: int) -> bytes:
    """Of a Span, the parent's id."""
    return b"\x22\x08" + parent_id.to_bytes(8, "big")


@functools.lru_cache(maxsize=2048)
def name_head(name: str, kind: int) -> bytes:
    """Of a Span, its name and kind (protobuf's number)."""
    return text(b"\x2a", name) + b"\x30" + varint(kind)


def times(started_at: int, ended_at: int) -> bytes:
    """Of a Span, when it began and ended, ns since the epoch."""
    return _SPAN_TIMES.pack(0x39, started_at, 0x41, ended_at)


def status(message: str | None) -> bytes:
    """Of a Span, that it is an error, and which; None: nothing is said."""
    return b"" if message is None else _status(_ERROR, message)


def flags(remote_parent: bool) -> bytes:
    """Of a Span, whether the parent is remote: known, and the answer."""
    return b"\x85\x01\x00\x03\x00\x00" if remote_parent else b"\x85\x01\x00\x01\x00\x00"


def framed(pieces: list[bytes]) -> bytes:
    """The tag and length that stand before a Span of these ``pieces`` as field 2 of ScopeSpans."""
    size = sum(map(len, pieces))
    return b"\x12" + (_VARINTS[size] if size < 2048 else varint(size))


def span(
    *,
    trace_id: int,
    span_id: int,
    parent_id: int,
    name: str,
    kind: int,
    started_at: int,
    ended_at: int,
    attributes: bytes,
    status: int = 0,
    message: str = "",
    remote_parent: bool = False,
) -> list[bytes]:
    """One Span in pieces. ``kind`` and ``status`` are protobuf's numbers, times ns.

    ``parent_id`` 0: a root.
    """
    return [
        trace_head(trace_id),
        span_id.to_bytes(8, "big"),
        parent_field(parent_id) if parent_id else b"",
        name_head(name, kind),
        times(started_at, ended_at),
        attributes,
        _status(status, message) if status else b"",
        flags(remote_parent),
    ]


def _status(code: int, message: str) -> bytes:
    return field(b"\x7a", (text(b"\x12", message) if message else b"") + b"\x18" + varint(code))
