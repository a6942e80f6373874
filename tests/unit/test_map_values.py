"""Golden vectors of the map encoding: what the Collector's exporter writes for the same values."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from trueline.monitor.store.map_values import encode_double, encode_map, encode_value


def any_value(value: Any) -> AnyValue:
    result = AnyValue()
    match value:
        case None:
            pass
        case bool():
            result.bool_value = value
        case str():
            result.string_value = value
        case int():
            result.int_value = value
        case float():
            result.double_value = value
        case bytes():
            result.bytes_value = value
        case list():
            result.array_value.SetInParent()
            result.array_value.values.extend(any_value(item) for item in value)
        case dict():
            result.kvlist_value.SetInParent()
            result.kvlist_value.values.extend(
                KeyValue(key=key, value=any_value(item)) for key, item in value.items()
            )
    return result


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("", ""),
        ("strVal", "strVal"),
        ('<a href="x">&y</a>', '<a href="x">&y</a>'),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (-(2**63), "-9223372036854775808"),
        (18.6, "18.6"),
        (b"String bytes", "U3RyaW5nIGJ5dGVz"),
        (b"", ""),
        ([], "[]"),
        ({}, "{}"),
        (["strVal", 7, 18.6, False, None], '["strVal",7,18.6,false,null]'),
        ([b"\x00\xff"], '["AP8="]'),
        (["", "a"], '["","a"]'),
        (
            {
                "strKey": "strVal",
                "intKey": 7,
                "floatKey": 18.6,
                "boolKey": False,
                "nullKey": None,
                "mapKey": {"keyTwo": "valTwo", "keyOne": "valOne"},
                "arrKey": ["strOne", "strTwo"],
            },
            '{"arrKey":["strOne","strTwo"],"boolKey":false,"floatKey":18.6,"intKey":7,'
            '"mapKey":{"keyOne":"valOne","keyTwo":"valTwo"},"nullKey":null,"strKey":"strVal"}',
        ),
        (["<", ">", "&"], '["\\u003c","\\u003e","\\u0026"]'),
        ({"<k>": "a&b"}, '{"\\u003ck\\u003e":"a\\u0026b"}'),
        (["\u2028\u2029"], '["\\u2028\\u2029"]'),
        (['quote " backslash \\'], '["quote \\" backslash \\\\"]'),
        (["\n\r\t\b\f"], '["\\n\\r\\t\\b\\f"]'),
        (["\x00\x1f\x7f"], '["\\u0000\\u001f\x7f"]'),
        (["größe 日本 🙂"], '["größe 日本 🙂"]'),
        ([math.nan], ""),
        ({"a": [math.inf]}, ""),
        (["a", ["b", []]], '["a",["b",[]]]'),
        ([1e21, 1e20, 1e-7], "[1e+21,100000000000000000000,1e-7]"),
    ],
)
def test_golden_vector(value: Any, text: str) -> None:
    assert encode_value(any_value(value)) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.0, "1"),
        (-2.5, "-2.5"),
        (100.0, "100"),
        (0.1, "0.1"),
        (1e16, "10000000000000000"),
        (-1.5e16, "-15000000000000000"),
        (1.2345678901234567e20, "123456789012345670000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (1e-6, "0.000001"),
        (1.5e-6, "0.0000015"),
        (-1.234e-5, "-0.00001234"),
        (1e-7, "1e-7"),
        (1.5e-9, "1.5e-9"),
        (1e-10, "1e-10"),
        (5e-324, "5e-324"),
        (1.7976931348623157e308, "1.7976931348623157e+308"),
        (math.nan, "json: unsupported value: NaN"),
        (math.inf, "json: unsupported value: +Inf"),
        (-math.inf, "json: unsupported value: -Inf"),
    ],
)
def test_number(number: float, text: str) -> None:
    assert encode_double(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_number_reads_back(number: float) -> None:
    text = encode_double(number)
    assert float(text) == number
    assert ("e" in text) == (number != 0 and not 1e-6 <= abs(number) < 1e21)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(_JSON, max_size=4))
def test_array_is_the_json_of_its_values(values: list[Any]) -> None:
    text = encode_value(any_value(values))
    assert json.loads(text) == values
    assert not set("<>&\u2028\u2029") & set(text)


def test_last_of_equal_keys_wins() -> None:
    pairs = [KeyValue(key="k", value=any_value("first")), KeyValue(key="k", value=any_value(2))]
    assert encode_map(pairs) == {"k": "2"}
    nested = AnyValue()
    nested.kvlist_value.values.extend(pairs)
    assert encode_value(nested) == '{"k":2}'
