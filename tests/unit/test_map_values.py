"""Golden vectors of the map encoding: what the Collector's exporter writes for the same values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from support.map_vectors import NUMBERS, VALUES

from trueline.instrumentation.clickhouse.go_json import encode_double
from trueline.monitor.store.map_values import encode_map, encode_value


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
    VALUES,
)
def test_golden_vector(value: Any, text: str) -> None:
    assert encode_value(any_value(value)) == text


@pytest.mark.parametrize(
    ("number", "text"),
    NUMBERS,
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
