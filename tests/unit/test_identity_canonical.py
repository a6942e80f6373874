"""The canonical form and the hash: golden vectors, and what is no identity."""

from __future__ import annotations

import datetime
import decimal
import enum
import hashlib
import hmac
import json
import re
import unicodedata
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trueline.instrumentation.identity import (
    Domain,
    IdentityConfig,
    IdentityExtractor,
    IdentityHasher,
    canonicalize,
)
from trueline.instrumentation.statement import Planner
from trueline.monitor.cli import last_write

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent / "data" / "identity_vectors.json").read_text(encoding="utf-8")
)
SHA_12345 = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"


class Number:
    """An integer of a foreign type, as numpy's are."""

    def __init__(self, digits: str) -> None:
        self._number = int(digits)

    def __index__(self) -> int:
        return self._number


TYPES: dict[str, Callable[[Any], object]] = {
    "uuid": uuid.UUID,
    "bytes": bytes.fromhex,
    "decimal": decimal.Decimal,
    "index": Number,
    "text": str,
    "integer": int,
}


def typed(vector: dict[str, Any]) -> object:
    return TYPES[vector["type"]](vector["value"])


def as_the_contract_says(value: object) -> str:
    """The privacy paragraph of the contract, written once more: the vectors do not come from the code."""
    text = value.hex() if isinstance(value, bytes) and not value.isascii() else value
    text = text.decode() if isinstance(text, bytes) else str(text).strip()
    if re.fullmatch("[0-9a-fA-F]{64}", text):
        return text.lower()
    return hashlib.sha256(unicodedata.normalize("NFC", text).encode("utf-8")).hexdigest()


@pytest.mark.parametrize("vector", VECTORS["canonical"], ids=lambda vector: repr(vector["value"]))
def test_canonical_vectors(vector: dict[str, Any]) -> None:
    assert canonicalize(typed(vector)) == vector["canonical"]
    if vector["type"] != "index":
        assert as_the_contract_says(typed(vector)) == vector["canonical"]


@pytest.mark.parametrize("vector", VECTORS["exported"], ids=lambda v: f"{v['secret']}-{v['domain']}")
def test_exported_vectors(vector: dict[str, Any]) -> None:
    hasher = IdentityHasher(vector["secret"])
    assert hasher.export(vector["domain"], canonicalize(vector["value"])) == vector["exported"]
    message = vector["domain"].encode() + b"\0" + as_the_contract_says(vector["value"]).encode()
    expected = hmac.new(vector["secret"].encode(), message, "sha256").hexdigest()[:32]
    assert vector["exported"] == expected


@pytest.mark.parametrize("vector", VECTORS["exported"], ids=lambda v: f"{v['secret']}-{v['domain']}")
def test_statements_and_bindings_export_the_same(vector: dict[str, Any]) -> None:
    config = IdentityConfig(columns={"who": vector["domain"]})
    extractor = IdentityExtractor(config, IdentityHasher(vector["secret"]))
    plan = Planner(config).plan("SELECT 1 FROM t WHERE who = ?", "sqlite")
    assert extractor.extract(plan, (vector["value"],)).values == (vector["exported"],)
    assert extractor.bind(vector["value"], vector["domain"]).value == vector["exported"]


@pytest.mark.parametrize("vector", VECTORS["exported"], ids=lambda v: f"{v['secret']}-{v['domain']}")
def test_the_command_line_hashes_alike(vector: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUELINE_HASH_SECRET", vector["secret"])
    hashed = last_write._hashed(vector["value"], vector["domain"])
    assert hashed == {"identity": vector["exported"], "key_id": IdentityHasher(vector["secret"]).key_id}


@pytest.mark.parametrize("vector", VECTORS["plain"], ids=lambda vector: repr(vector["value"]))
def test_plain_domains_export_the_value_itself(vector: dict[str, Any]) -> None:
    config = IdentityConfig(columns={"number": "receipt"}, domains={"receipt": Domain(plain=True)})
    for secret, export_hashes in (("secret", True), (None, False)):
        extractor = IdentityExtractor(config, IdentityHasher(secret), export_hashes=export_hashes)
        plan = Planner(config).plan("SELECT 1 FROM t WHERE number = ?", "sqlite")
        assert extractor.extract(plan, (vector["value"],)).values == (vector["exported"],)
        assert extractor.bind(vector["value"], "receipt").value == vector["exported"]


def test_two_secrets_are_told_apart() -> None:
    ids = [IdentityHasher(secret).key_id for secret in ("one", "two", None)]
    assert len(set(ids)) == 3
    values = [IdentityHasher(secret).export("user", SHA_12345) for secret in ("one", "two", None)]
    assert len(set(values)) == 3
    assert all("one" not in key and "two" not in key for key in ids)


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


class Truth:
    """As numpy's truth values: there is an index, and it refuses."""

    def __index__(self) -> int:
        raise TypeError("only integers")


class Plain(enum.Enum):
    ONE = 12345
    NOBODY = None


def test_foreign_types() -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    psycopg = pytest.importorskip("psycopg")
    digest = bytes.fromhex(SHA_12345)
    assert canonicalize(psycopg2.Binary(digest)) == SHA_12345
    assert canonicalize(psycopg.Binary(digest)) == SHA_12345
    assert canonicalize(memoryview(b"-12345-")[1:-1]) == SHA_12345
    assert canonicalize(Plain.ONE) == SHA_12345
    assert canonicalize(Plain.NOBODY) == ""
    assert canonicalize(Truth()) == ""
    released = memoryview(b"12345")
    released.release()
    assert canonicalize(released) == ""


def test_numbers_of_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    for kind in ("int64", "int32", "uint64", "int16"):
        assert canonicalize(numpy.dtype(kind).type(12345)) == SHA_12345
    assert canonicalize(numpy.float64(12345.0)) == SHA_12345
    assert canonicalize(numpy.bool_(True)) == ""
    assert canonicalize(numpy.str_("12345")) == SHA_12345


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
