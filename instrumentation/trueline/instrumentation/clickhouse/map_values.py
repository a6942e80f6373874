"""How an attribute's value becomes the text in a ``Map(LowCardinality(String), String)``.

The same as in the Collector's ClickHouse exporter and in the monitor's receiver: strings as they are,
booleans ``true`` and ``false``, numbers in decimal, bytes in base64, sequences and mappings as the compact
JSON of Go's ``json.Marshal`` (keys sorted; ``<``, ``>`` and ``&`` escaped). Kept alike by golden vectors.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from trueline.instrumentation.clickhouse.go_json import NotRepresentableError, encode_double, go_escaped

_quote = json.encoder.encode_basestring


def encode_map(attributes: Mapping[str, Any] | None) -> dict[str, str]:
    """Encode attributes."""
    if not attributes:
        return {}
    return {
        name if name.isascii() else clean(name): (
            value if value.__class__ is str and value.isascii() else encode_value(value)
        )
        for name, value in attributes.items()
    }


def clean(text: str) -> str:
    """A text that can be sent: lone surrogates, which are no text, are replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def encode_value(value: Any) -> str:
    """Encode one value. None is the empty text; what is none of OpenTelemetry's kinds, its own text."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Sequence | Mapping) and not isinstance(value, bytes | bytearray):
        try:
            text = clean(_json(value))
        except NotRepresentableError:
            return ""
        return go_escaped(text)
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return encode_double(value)
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode("ascii")
    return clean(str(value))


def _json(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, Mapping):
        pairs = {str(key): item for key, item in value.items()}
        return "{" + ",".join([f"{_quote(key)}:{_json(pairs[key])}" for key in sorted(pairs)]) + "}"
    if isinstance(value, bytes | bytearray):
        return f'"{_scalar(value)}"'
    if isinstance(value, Sequence):
        return "[" + ",".join([_json(item) for item in value]) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        raise NotRepresentableError
    return _scalar(value) if isinstance(value, bool | int | float) else _quote(str(value))
