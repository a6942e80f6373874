"""The spelling of numbers and texts that Go's ``json.Marshal`` has, and with it the Collector's exporter.

The receiver and the exporter straight to ClickHouse read values of different kinds, and write them with this.
"""

from __future__ import annotations

import math
import re
from typing import Final

#: What Go escapes inside JSON strings and Python does not.
_GO_ESCAPES: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
_TO_ESCAPE: Final = re.compile("[<>&\u2028\u2029]")


class NotRepresentableError(ValueError):
    """JSON has no such number: Go's encoder fails for the whole value, and the Collector stores ''."""


def go_escaped(text: str) -> str:
    """JSON as Go writes it. The characters in question stand in JSON inside strings only."""
    return text.translate(_GO_ESCAPES) if _TO_ESCAPE.search(text) else text


def encode_double(number: float) -> str:
    """Encode with the fewest digits that read back the same; with an exponent from 1e21 and below 1e-6."""
    if math.isnan(number):
        return "json: unsupported value: NaN"
    if math.isinf(number):
        return f"json: unsupported value: {'+' if number > 0 else '-'}Inf"
    text = float.__repr__(number)
    if number != 0 and not 1e-6 <= abs(number) < 1e21:
        return text.replace("e-0", "e-")
    if "e" in text:
        text = _without_exponent(text)
    return text.removesuffix(".0")


def _without_exponent(text: str) -> str:
    """Write out 1e+16 as Python does for smaller numbers."""
    sign = "-" if text.startswith("-") else ""
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    shift = int(exponent)
    if shift < 0:
        return f"{sign}0.{'0' * (-shift - 1)}{whole}{fraction}"
    return sign + whole + fraction.ljust(shift, "0")
