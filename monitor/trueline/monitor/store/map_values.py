"""How an OTLP attribute value becomes the text in a ``Map(LowCardinality(String), String)``.

The same as in the Collector's ClickHouse exporter: strings as they are, booleans ``true`` and ``false``,
numbers in decimal, bytes in base64, arrays and maps as the compact JSON of Go's ``json.Marshal`` (keys
sorted; ``<``, ``>`` and ``&`` escaped, which Collectors from spring 2026 on no longer do). Whoever reads an
array reads it as JSON, to which both spellings are the same.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

#: What Go escapes inside JSON strings and Python does not.
_GO_ESCAPES: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
_TO_ESCAPE: Final = re.compile("[<>&\u2028\u2029]")
_quote = json.encoder.encode_basestring


class _NotRepresentableError(ValueError):
    """JSON has no such number."""


def encode_map(attributes: Iterable[KeyValue]) -> dict[str, str]:
    """Encode a list of attributes. The last of several with one key wins."""
    # An empty string takes the long way too, which is right and rare.
    return {pair.key: pair.value.string_value or encode_value(pair.value) for pair in attributes}


def encode_value(value: AnyValue) -> str:
    """Encode one value. An unset value is the empty text."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value":
            return str(value.int_value)
        case "double_value":
            return encode_double(value.double_value)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode("ascii")
        case "array_value" | "kvlist_value":
            try:
                text = _json(value)
            except _NotRepresentableError:
                # Go's encoder fails for the whole value, and the exporter then stores the empty text.
                return ""
            # These characters occur in JSON inside strings only.
            return text.translate(_GO_ESCAPES) if _TO_ESCAPE.search(text) else text
        case _:
            return ""


def encode_double(number: float) -> str:
    """Encode with the fewest digits that read back the same; with an exponent from 1e21 and below 1e-6."""
    if math.isnan(number):
        return "json: unsupported value: NaN"
    if math.isinf(number):
        return f"json: unsupported value: {'+' if number > 0 else '-'}Inf"
    text = repr(number)
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


def _json(value: AnyValue) -> str:
    match value.WhichOneof("value"):
        case "string_value":
            return _quote(value.string_value)
        case "array_value":
            items = value.array_value.values
            return (
                "["
                + ",".join([_quote(text) if (text := item.string_value) else _json(item) for item in items])
                + "]"
            )
        case "kvlist_value":
            pairs = {pair.key: pair.value for pair in value.kvlist_value.values}
            return "{" + ",".join([f"{_quote(key)}:{_json(pairs[key])}" for key in sorted(pairs)]) + "}"
        case "bytes_value":
            return f'"{base64.b64encode(value.bytes_value).decode("ascii")}"'
        case "double_value":
            if not math.isfinite(value.double_value):
                raise _NotRepresentableError
            return encode_double(value.double_value)
        case None:
            return "null"
        case _:
            return encode_value(value)
