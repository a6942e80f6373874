"""Query parameters: which types they may have, and whether a value is of its type."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

_INTEGER: Final = re.compile(r"(U?)Int(8|16|32|64)")
_ARRAY: Final = re.compile(r"Array\((.+)\)")
_TUPLE: Final = re.compile(r"Tuple\((.+)\)")
#: Between the parts of a tuple's type, not within DateTime64(3).
_COMMA: Final = re.compile(r",(?![^(]*\))")
#: Types that a query parameter may have. Identifier is not here: it would name a table at run time.
PARAMETER_TYPES: Final = frozenset(
    {
        *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
        *("Float32", "Float64", "String", "Bool", "DateTime", "DateTime64(3)", "DateTime64(9)"),
    }
)
#: Longest list and text that a value may be.
MAX_ITEMS: Final = 10_000
MAX_TEXT: Final = 10_000


def is_parameter_type(declared: str) -> bool:
    """Whether a query parameter may have this type: one of PARAMETER_TYPES, an Array of it or of tuples."""
    inner = _ARRAY.fullmatch(declared)
    parts = _TUPLE.fullmatch(inner[1]) if inner else None
    if parts:
        return all(part.strip() in PARAMETER_TYPES for part in _COMMA.split(parts[1]))
    return (inner[1] if inner else declared) in PARAMETER_TYPES


def value_problem(declared: str, value: Any) -> str:
    """What is wrong with a value of a declared type, empty if nothing: ``-1 is not a UInt32: 0 to ...``."""
    array = _ARRAY.fullmatch(declared)
    if array is None:
        return _scalar_problem(declared, value)
    if not isinstance(value, list):
        return f"{_shown(value)} is not a list, as {declared} is"
    if len(value) > MAX_ITEMS:
        return f"the list has {len(value)} items, more than {MAX_ITEMS}"
    return next((problem for item in value if (problem := _scalar_problem(array[1], item))), "")


def _scalar_problem(declared: str, value: Any) -> str:
    if (integer := _INTEGER.fullmatch(declared)) is not None:
        bits = int(integer[2])
        least, most = (0, (1 << bits) - 1) if integer[1] else (-(1 << bits - 1), (1 << bits - 1) - 1)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            return f"{_shown(value)} is not a whole number from {least} to {most}, as {declared} is"
    elif declared.startswith("Float"):
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            return f"{_shown(value)} is not a number, as {declared} is"
    elif declared == "Bool":
        if not isinstance(value, bool):
            return f"{_shown(value)} is neither true nor false, as {declared} is"
    elif declared.startswith("DateTime"):
        if not isinstance(value, datetime):
            return f"{_shown(value)} is not a time as 2026-11-20 10:00:00, as {declared} is"
    elif not isinstance(value, str):
        return f"{_shown(value)} is not text, as {declared} is: put it in quotes"
    elif len(value) > MAX_TEXT:
        return f"the text has {len(value)} characters, more than {MAX_TEXT}"
    return ""


def _shown(value: Any) -> str:
    return repr(value)[:60]
