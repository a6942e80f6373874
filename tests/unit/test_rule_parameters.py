"""Values of query parameters are of their types, to the edges."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from trueline.monitor.engine.parameters import MAX_ITEMS, is_parameter_type, value_problem


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        *(("UInt8", 0), ("UInt8", 255), ("Int8", -128), ("UInt64", 2**64 - 1), ("Int64", -(2**63))),
        *(("Float64", 1), ("Float32", 0.5), ("Bool", True), ("String", ""), ("Array(String)", [])),
        *(("Array(UInt8)", [1, 255]), ("DateTime64(3)", datetime(2026, 1, 1, tzinfo=UTC))),
    ],
)
def test_values_of_their_type(declared: str, value: Any) -> None:
    assert is_parameter_type(declared)
    assert value_problem(declared, value) == ""


@pytest.mark.parametrize(
    ("declared", "value", "said"),
    [
        ("UInt8", 256, "256 is not a whole number from 0 to 255, as UInt8 is"),
        ("UInt8", -1, "from 0 to 255"),
        ("Int8", 128, "from -128 to 127"),
        ("UInt8", True, "True is not a whole number"),
        ("UInt8", "5", "'5' is not a whole number"),
        ("UInt32", 1.0, "1.0 is not a whole number"),
        ("Float64", float("nan"), "nan is not a number"),
        ("Float64", "1", "is not a number"),
        ("Bool", 1, "1 is neither true nor false"),
        ("String", 5, "put it in quotes"),
        ("String", "x" * 10_001, "10001 characters"),
        ("Array(String)", "prod", "'prod' is not a list"),
        ("Array(String)", ["prod", 5], "5 is not text"),
        ("Array(UInt8)", [1] * (MAX_ITEMS + 1), "more than 10000"),
        ("DateTime64(3)", "yesterday", "is not a time"),
    ],
)
def test_values_of_another_type(declared: str, value: Any, said: str) -> None:
    assert said in value_problem(declared, value)


@pytest.mark.parametrize(
    "declared", ["Identifier", "Array(Array(String))", "Map(String, String)", "", "Int7"]
)
def test_other_types_are_none(declared: str) -> None:
    assert not is_parameter_type(declared)
