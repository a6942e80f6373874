"""The canonical form and the hash: golden vectors, and what is no identity."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from trueline.instrumentation.identity import IdentityHasher, canonicalize

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent / "data" / "identity_vectors.json").read_text(encoding="utf-8")
)
SHA_12345 = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"


def typed(vector: dict[str, Any]) -> object:
    if vector["type"] == "uuid":
        return uuid.UUID(vector["value"])
    return bytes.fromhex(vector["value"]) if vector["type"] == "bytes" else vector["value"]


@pytest.mark.parametrize("vector", VECTORS["canonical"], ids=lambda vector: repr(vector["value"]))
def test_canonical_vectors(vector: dict[str, Any]) -> None:
    assert canonicalize(typed(vector)) == vector["canonical"]


@pytest.mark.parametrize("vector", VECTORS["exported"], ids=lambda v: f"{v['secret']}-{v['domain']}")
def test_exported_vectors(vector: dict[str, Any]) -> None:
    hasher = IdentityHasher(vector["secret"])
    assert hasher.export(vector["domain"], canonicalize(vector["value"])) == vector["exported"]


@pytest.mark.parametrize("vector", VECTORS["key_ids"], ids=lambda v: v["secret"])
def test_key_ids(vector: dict[str, Any]) -> None:
    assert IdentityHasher(vector["secret"]).key_id == vector["key_id"]
    assert IdentityHasher(vector["secret"].encode()).key_id == vector["key_id"]


def test_no_secret_is_unkeyed() -> None:
    assert IdentityHasher(None).key_id == "unkeyed"
    assert IdentityHasher(None).export("user", SHA_12345) == IdentityHasher(b"").export("user", SHA_12345)
    assert IdentityHasher(None).export("user", SHA_12345) != IdentityHasher("s").export("user", SHA_12345)


@pytest.mark.parametrize("value", [12345, "12345", b"12345", bytearray(b"12345"), 12345.0])
def test_one_identity_in_many_types(value: object) -> None:
    assert canonicalize(value) == SHA_12345


def test_decimal_is_an_integer() -> None:
    assert canonicalize(decimal.Decimal("12345")) == SHA_12345
    assert canonicalize(decimal.Decimal("12345.00")) == SHA_12345


@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            pytest.param(object(), id="object"),
            "",
            "  \t",
            True,
            False,
            [],
            {},
            (1,),
            {1},
            b"",
            float("nan"),
            1.5,
            10**400,
        ),
        *(decimal.Decimal("NaN"), decimal.Decimal("1E+9999"), decimal.Decimal("1.5")),
        *(datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
    ],
    ids=repr,
)
def test_what_names_nobody(value: object) -> None:
    assert canonicalize(value) == ""


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_never_raises() -> None:
    assert canonicalize(Hostile()) == ""
    assert len(canonicalize("\ud800 lone surrogate")) == 64


def test_the_cache_is_bounded() -> None:
    hasher = IdentityHasher("secret")
    for number in range(20_000):
        hasher.export("user", str(number))
    assert len(hasher._cache) <= 8192
