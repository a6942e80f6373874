"""Encodings: by shape, and as relatives of the bound identity."""

from __future__ import annotations

import hashlib
import hmac
import uuid

import pytest

from trueline.instrumentation.identity import (
    BoundIdentity,
    Domain,
    Identities,
    IdentityConfig,
    IdentityExtractor,
    IdentityHasher,
)
from trueline.instrumentation.semconv import ENCODING_PATTERN
from trueline.instrumentation.statement import Planner

RAW = "customer-12345"
DATA = RAW.encode()
SHA = hashlib.sha256(DATA).hexdigest()
CONFIG = IdentityConfig(
    derivations={
        "as_int": lambda raw: int(hashlib.sha256(str(raw).encode()).hexdigest()[:8], 16) % 10**6,
        "broken": lambda raw: 1 // 0,
    },
    hmac_keys={"app": b"app-key"},
)
EXTRACTOR = IdentityExtractor(CONFIG, IdentityHasher("secret"))
PLAN = Planner(CONFIG).plan("SELECT 1 FROM expenses WHERE user_id = ?", "sqlite")


class Ticket:
    def __str__(self) -> str:
        return "T-1"


def one(value: object, *bound: BoundIdentity, extractor: IdentityExtractor = EXTRACTOR) -> tuple[str, str]:
    found = extractor.extract(PLAN, (value,), bound=bound)
    assert len(found.encodings) == 1, value
    assert ENCODING_PATTERN.fullmatch(found.encodings[0])
    return found.encodings[0], found.values[0]


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (12345, "integer"),
        ("12345", "raw"),
        (RAW, "raw"),
        ("alice@example.com", "email"),
        (SHA, "sha256"),
        (SHA.upper(), "sha256/upper"),
        (SHA[:63] + "G", "raw"),
        (hashlib.sha1(DATA).hexdigest(), "sha1"),
        (hashlib.md5(DATA).hexdigest(), "md5"),
        ("6f9619ff-8b86-d011-b42d-00c04fc964ff", "uuid"),
        ("6F9619FF-8B86-D011-B42D-00C04FC964FF", "uuid/upper"),
        (uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff"), "uuid"),
        (b"customer-12345", "raw"),
        (hashlib.sha256(DATA).digest(), "sha256"),
        (memoryview(hashlib.sha1(DATA).digest()), "sha1"),
        (uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff").bytes, "opaque"),
        (" 12345 ", "fn:padded"),
        (Ticket(), "opaque"),
    ],
)
def test_shape(value: object, encoding: str) -> None:
    assert one(value)[0] == encoding


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (RAW, "raw"),
        (f" {RAW} ", "fn:padded"),
        (RAW.upper(), "raw/upper"),
        (RAW[:9], "raw/9"),
        (SHA, "sha256"),
        (SHA.upper(), "sha256/upper"),
        (SHA[:16], "sha256/16"),
        (SHA[:32], "sha256/32"),
        (SHA[:40].upper(), "sha256/upper/40"),
        (int(SHA, 16), "sha256/int"),
        (int(SHA[:15], 16), "sha256/15/int"),
        (str(int(SHA[:15], 16)), "sha256/15/int"),
        (hashlib.sha1(DATA).hexdigest(), "sha1"),
        (hashlib.md5(DATA).hexdigest()[:12], "md5/12"),
        (hmac.digest(b"app-key", DATA, "sha256").hex(), "hmac:app"),
        (int(SHA[:8], 16) % 10**6, "fn:as_int"),
        (bytes.fromhex(SHA), "sha256"),
    ],
)
def test_relatives_join_the_bound_identity(value: object, encoding: str) -> None:
    bound = EXTRACTOR.bind(RAW, "user")
    assert one(value, bound) == (encoding, bound.value)


@pytest.mark.parametrize("value", ["customer-99999", SHA[:7], int(SHA[:6], 16), "other@example.com"])
def test_strangers_stay_themselves(value: object) -> None:
    assert one(value, EXTRACTOR.bind(RAW, "user")) == one(value)
    assert one(value)[1] != EXTRACTOR.bind(RAW, "user").value


def test_a_prefix_of_a_number_is_another_number() -> None:
    bound = EXTRACTOR.bind("1234567890123", "user")
    assert one("12345678", bound)[1] != bound.value


def test_bound_by_its_hash() -> None:
    bound = EXTRACTOR.bind(SHA.upper(), "user")
    assert one(SHA, bound) == ("sha256", bound.value)
    assert one(SHA[:16], bound) == ("sha256/16", bound.value)


def test_integer_and_digits_are_one() -> None:
    bound = EXTRACTOR.bind("12345", "user")
    assert one(12345, bound) == ("integer", bound.value)
    assert one("12345", bound) == ("raw", bound.value)
    assert one(12345)[1] == one("12345")[1]


def test_a_bound_identity_of_another_domain_is_no_relative() -> None:
    assert one(SHA[:16], EXTRACTOR.bind(RAW, "message"))[0] == "raw"


def test_binding_does_not_leak_into_unbound_requests() -> None:
    before = one(SHA[:16])
    one(SHA[:16], EXTRACTOR.bind(RAW, "user"))
    assert one(SHA[:16]) == before


def test_resolver_translates_values() -> None:
    def resolve(domain: str, column: str, value: object) -> object:
        assert (domain, column) == ("user", "expenses.user_id")
        return {7: RAW}[value]  # type: ignore[index]  # raises for the unknown

    extractor = IdentityExtractor(IdentityConfig(resolver=resolve), IdentityHasher("secret"))
    assert one(7, extractor=extractor) == ("integer", EXTRACTOR.bind(RAW, "user").value)
    assert one(8, extractor=extractor) == one(8)


def test_hashes_can_be_withheld() -> None:
    config = IdentityConfig(columns={"drop_number": "drop"}, domains={"drop": Domain(plain=True)})
    extractor = IdentityExtractor(config, IdentityHasher(None), export_hashes=False)
    plan = Planner(config).plan("UPDATE t SET user_id = ? WHERE drop_number = ? AND id = ?", "sqlite")
    found = extractor.extract(plan, ("u1", "D-7", 1))
    assert found.values == ("", "D-7")
    assert found.encodings == ("raw", "raw")
    assert extractor.row_key(plan, ("u1", "D-7", 1)) == ""
    assert extractor.bind("u1", "user").value == ""


def test_content_is_no_identity() -> None:
    assert EXTRACTOR.extract(PLAN, ("x" * 1025,)) == Identities()


def test_blank_binding_is_nobody() -> None:
    assert EXTRACTOR.bind("  ", "user").value == ""
    assert EXTRACTOR.extract(PLAN, ("",), bound=(EXTRACTOR.bind("", "user"),)) == Identities()


def test_raw_values_stay_out_of_repr() -> None:
    assert RAW not in repr(EXTRACTOR.bind(RAW, "user"))
    assert SHA not in repr(EXTRACTOR.bind(RAW, "user"))
