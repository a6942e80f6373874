"""A cheap look at a protobuf body before it is parsed.

A byte limit does not bound memory: twenty kilobytes of gzip can hold ten million empty spans, each of which
would become an object. Messages are therefore counted on the wire first, without making any.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, TypeAlias

from trueline.monitor.otlp.errors import MalformedBodyError, TooLargeError

#: Field number to the submessage's own fields; an empty mapping counts the submessage without entering it.
Fields: TypeAlias = "dict[int, Fields]"

_LEAF: Final[Fields] = {}

# Any contains itself through arrays and maps, hence the late assignment.
_ANY: Final[Fields] = {}
_KEY_VALUE: Final[Fields] = {2: _ANY}
_ANY.update({5: {1: _ANY}, 6: {1: _KEY_VALUE}})
_RESOURCE: Final[Fields] = {1: _KEY_VALUE}
_SCOPE: Final[Fields] = {3: _KEY_VALUE}
_SPAN: Final[Fields] = {9: _KEY_VALUE, 11: {3: _KEY_VALUE}, 13: {4: _KEY_VALUE}}
_LOG_RECORD: Final[Fields] = {5: _ANY, 6: _KEY_VALUE}

#: Resource, scope, item: the same numbers for traces and logs.
ITEMS: Final[Fields] = {1: {2: {2: _LEAF}}}
TRACES: Final[Fields] = {1: {1: _RESOURCE, 2: {1: _SCOPE, 2: _SPAN}}}
LOGS: Final[Fields] = {1: {1: _RESOURCE, 2: {1: _SCOPE, 2: _LOG_RECORD}}}

MAX_ITEMS: Final = 200_000
MAX_MESSAGES: Final = 1_000_000
#: A smaller body cannot hold enough messages to matter, and counting all of them costs as much as decoding.
DEEP_SCAN_BYTES: Final = 1 << 20
#: Of a large body, parts longer than this are all counted, of the others so many, chosen at random.
LARGE_PART_BYTES: Final = 64 << 10
SAMPLED_PARTS: Final = 200
#: First bytes of the tags of every submessage above, the longer form too that says the same.
_TAGS: Final = bytes(
    number << 3 | 2 | longer for number in (1, 2, 3, 4, 5, 6, 9, 11, 13) for longer in (0, 0x80)
)
#: Deeper nesting than the parser takes.
_MAX_DEPTH: Final = 100


def check(body: bytes, fields: Fields) -> None:
    """Refuse a body that would become too many objects. ``fields`` is TRACES or LOGS.

    Raise TooLargeError or MalformedBodyError.
    """
    if count_messages(body, ITEMS, MAX_ITEMS) > MAX_ITEMS:
        raise TooLargeError(f"one request may hold {MAX_ITEMS:,} spans or log records: send smaller batches")
    if len(body) > DEEP_SCAN_BYTES and _could_hold(body) > MAX_MESSAGES and _holds_too_many(body, fields):
        raise TooLargeError(f"one request may hold {MAX_MESSAGES:,} values: send smaller batches")


def _could_hold(body: bytes) -> int:
    """More messages than these are not in a body: each begins with a tag of its own. Looks at bytes only."""
    return len(body) - len(body.translate(None, _TAGS))


def _holds_too_many(body: bytes, fields: Fields) -> bool:
    """Whether a large body holds too many messages; counted in full only where a sample makes that likely.

    Counting every value of ten thousand ordinary spans costs more than storing them.
    """
    small: list[tuple[int, int, Fields]] = []
    count = 0
    for start, end, inner in _parts(body, fields):
        if end - start <= LARGE_PART_BYTES:
            small.append((start, end, inner))
            continue
        count += count_messages(body[start:end], inner, MAX_MESSAGES)
        if count > MAX_MESSAGES:
            return True
    sample = random.sample(small, min(len(small), SAMPLED_PARTS))
    counted = sum(count_messages(body[start:end], inner, MAX_MESSAGES) for start, end, inner in sample)
    size = sum(end - start for start, end, _ in sample)
    all_sizes = sum(end - start for start, end, _ in small)
    # Half of the limit leaves room for the chance of the sample.
    if not size or count + counted * all_sizes / size < MAX_MESSAGES / 2:
        return False
    return count_messages(body, fields, MAX_MESSAGES) > MAX_MESSAGES


def _parts(body: bytes, fields: Fields) -> Iterator[tuple[int, int, Fields]]:
    """Where resources, scopes and items are, with their fields. The body has been counted: it can be read."""
    resource_fields = fields[1]
    scope_fields = resource_fields[2]
    for start, end, number in _children(body, 0, len(body)):
        if number != 1:
            continue
        for inner_start, inner_end, inner in _children(body, start, end):
            if inner == 1:
                yield inner_start, inner_end, resource_fields[1]
            elif inner == 2:
                for item_start, item_end, item in _children(body, inner_start, inner_end):
                    if item in scope_fields:
                        yield item_start, item_end, scope_fields[item]


def _children(body: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The length-delimited fields of a message: start, end, number."""
    try:
        while position < end:
            tag, position = _varint(body, position)
            match tag & 7:
                case 2:
                    length, position = _varint(body, position)
                    if position + length > end:
                        raise MalformedBodyError("a field is longer than the message around it")
                    yield position, position + length, tag >> 3
                    position += length
                case 0:
                    _, position = _varint(body, position)
                case 1:
                    position += 8
                case 5:
                    position += 4
                case _:
                    pass
    except IndexError as error:
        raise MalformedBodyError("it ends in the middle of a field") from error


def count_messages(body: bytes, fields: Fields, limit: int) -> int:
    """Count the submessages that ``fields`` describes, stopping just above ``limit``."""
    count = 0
    position, end = 0, len(body)
    outer: list[tuple[int, int, Fields]] = []
    try:
        while True:
            if position >= end:
                if position > end:
                    raise MalformedBodyError("a field is longer than the message around it")
                if not outer:
                    return count
                position, end, fields = outer.pop()
                continue
            tag, position = _varint(body, position)
            match tag & 7:
                case 2:
                    length, position = _varint(body, position)
                    child = fields.get(tag >> 3)
                    if child is None:
                        position += length
                        continue
                    count += 1
                    if count > limit:
                        return count
                    if not child:
                        position += length
                        continue
                    if len(outer) >= _MAX_DEPTH or position + length > end:
                        raise MalformedBodyError("values are nested too deeply or cut off")
                    outer.append((position + length, end, fields))
                    end, fields = position + length, child
                case 0:
                    _, position = _varint(body, position)
                case 1:
                    position += 8
                case 5:
                    position += 4
                case 3 | 4:
                    # The ends of a group, an obsolete form: what is between is scanned as if it stood alone.
                    pass
                case _:
                    raise MalformedBodyError("it is not protobuf")
    except IndexError as error:
        raise MalformedBodyError("it ends in the middle of a field") from error


def _varint(body: bytes, position: int) -> tuple[int, int]:
    byte = body[position]
    position += 1
    if byte < 0x80:
        return byte, position
    value, shift = byte & 0x7F, 7
    while True:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise MalformedBodyError("a number is longer than 64 bits")
