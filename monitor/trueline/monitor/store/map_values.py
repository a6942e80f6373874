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
from collections.abc import Iterable

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from trueline.instrumentation.clickhouse.go_json import NotRepresentableError, encode_double, go_escaped

_quote = json.encoder.encode_basestring


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
            except NotRepresentableError:
                return ""
            return go_escaped(text)
        case _:
            return ""


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
                raise NotRepresentableError
            return encode_double(value.double_value)
        case None:
            return "null"
        case _:
            return encode_value(value)
