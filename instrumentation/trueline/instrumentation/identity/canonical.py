"""The canonical form of an identity: one text for a value, whatever type it was passed in."""

from __future__ import annotations

import datetime
import decimal
import enum
import hashlib
import operator
import re
import unicodedata
import uuid
from typing import Final

_SHA256_HEX: Final = re.compile(r"[0-9a-fA-F]{64}")
#: Integers beyond this size are no identities, and str() refuses the largest of them.
_MAX_BITS: Final = 512
#: Types of the usual parameters, which stand for themselves.
_PLAIN: Final = frozenset({str, int, bytes, float, uuid.UUID, decimal.Decimal, bytearray, memoryview})
#: Types whose values never name anybody.
_NEVER: Final = (
    bool,
    dict,
    list,
    tuple,
    set,
    frozenset,
    datetime.date,
    datetime.time,
    datetime.timedelta,
)


def plain_of(value: object) -> object:
    """Return what a value stands for: the value of an enum member, the bytes inside a driver's ``Binary``,
    the integer that a foreign number (numpy's, say) is. Anything else is returned as it is. Never raises.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    try:
        if isinstance(value, enum.Enum) and not isinstance(value, str | int):
            return value.value
        if kind.__name__ == "Binary":  # psycopg2's has .adapted, psycopg's has .obj
            inner = getattr(value, "adapted", None) or getattr(value, "obj", None)
            return inner if isinstance(inner, bytes | bytearray | memoryview) else value
        if not isinstance(value, int) and hasattr(kind, "__index__"):
            return operator.index(value)  # type: ignore[arg-type]  # refuses numpy's booleans, as it should
    except Exception:  # a foreign type may do anything
        return value
    return value


def text_of(value: object) -> str:
    """Return the stripped text that an identity is hashed from, or "" where the value is no identity.

    Integers (also as Decimal, float and foreign integer types) are written in decimal, UUIDs with dashes.
    Bytes count as the UTF-8 text that they hold, otherwise as their hexadecimal digits; an enum member
    counts as its value. None, booleans, dates, containers, objects without a text of their own and blank
    text name nobody. Never raises.
    """
    if isinstance(value, str):
        return str.strip(value)
    if value is None or isinstance(value, _NEVER):
        return ""
    try:
        return _text_of_other(plain_of(value))
    except Exception:  # a foreign __str__ may do anything, and a memoryview may have been released
        return ""


def _text_of_other(value: object) -> str:
    if isinstance(value, str):
        return str.strip(value)
    if value is None or isinstance(value, _NEVER):
        return ""
    if isinstance(value, int):
        return int.__repr__(value) if int.bit_length(value) <= _MAX_BITS else ""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _text_of_bytes(bytes(value))
    if isinstance(value, float):
        return int.__repr__(int(value)) if value.is_integer() else ""
    if isinstance(value, decimal.Decimal):
        return _text_of_decimal(value)
    kind = type(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        return ""  # its text would be an address in memory
    if hasattr(kind, "__index__") or kind.__name__ in ("bool_", "bool"):
        return ""  # a number that would not say which: numpy's truth values
    return str(value).strip()


def _text_of_bytes(value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return value.hex()
    return text.strip() if text.isprintable() else value.hex()


def _text_of_decimal(value: decimal.Decimal) -> str:
    if not value.is_finite() or value.adjusted() > 150 or value != value.to_integral_value():
        return ""
    return int.__repr__(int(value))


def canonical_of_text(text: str) -> str:
    """Return the canonical form (64 lower-case hex digits) of a text that :func:`text_of` made."""
    if len(text) == 64 and _SHA256_HEX.fullmatch(text):
        return text.lower()
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def canonicalize(value: object) -> str:
    """Return the canonical form of an identity: 64 lower-case hex digits, or "" where the value is none.

    A value that is itself 64 hex digits (a SHA-256 already) stays what it is, in lower case; anything
    else becomes the SHA-256 of its stripped NFC text in UTF-8. ``12345`` and ``" 12345 "`` are one
    identity; None and blank text are none. Never raises.
    """
    text = text_of(value)
    return canonical_of_text(text) if text else ""
