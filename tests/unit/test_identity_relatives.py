"""A bound identity in every form that applications write it in: a table of data."""

from __future__ import annotations

import decimal
import enum
import hashlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor, IdentityHasher
from trueline.instrumentation.semconv import ENCODING_PATTERN
from trueline.instrumentation.statement import Planner

ROWS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "identity_encodings.json").read_text(encoding="utf-8")
)
CONFIG = IdentityConfig(
    derivations={
        "as_int": lambda raw: int(hashlib.sha256(f"v1:{raw}".encode()).hexdigest()[:8], 16) % 10**6,
        "slug": lambda raw: f"usr_{hashlib.blake2b(str(raw).encode(), digest_size=10).hexdigest()}Z",
        "salted": lambda raw: hashlib.sha256(f"salt{raw}".encode()).hexdigest(),
        "broken": lambda raw: 1 // 0,
    },
    hmac_keys={"app": b"app-key"},
    uuid_namespaces={"acme": "0f8fad5b-d9cb-469f-a165-70867728950e"},
)
EXTRACTOR = IdentityExtractor(CONFIG, IdentityHasher("secret"))
PLAN = Planner(CONFIG).plan("SELECT 1 FROM expenses WHERE user_id = ?", "sqlite")


class Number:
    """An integer of a foreign type, as numpy's are."""

    def __init__(self, digits: str) -> None:
        self._number = int(digits)

    def __index__(self) -> int:
        return self._number


class Member(enum.Enum):
    ONE = 12345


TYPES: dict[str, Callable[[Any], object]] = {
    "text": str,
    "integer": int,
    "float": float,
    "decimal": decimal.Decimal,
    "uuid": uuid.UUID,
    "bytes": bytes.fromhex,
    "memoryview": lambda digits: memoryview(bytes.fromhex(digits)),
    "index": Number,
    "enum": lambda digits: Member.ONE,
}


def name_of(row: dict[str, Any]) -> str:
    return f"{row['raw']}-{row.get('type', 'text')}-{row['value']}"


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_how_a_bound_identity_is_written(row: dict[str, Any]) -> None:
    bound = EXTRACTOR.bind(TYPES[row.get("raw_type", "text")](row["raw"]), "user")
    value = TYPES[row.get("type", "text")](row["value"])
    found = EXTRACTOR.extract(PLAN, (value,), bound=(bound,))
    assert found.encodings == (row["encoding"],)
    assert (found.values == (bound.value,)) is row["same"]
    assert ENCODING_PATTERN.fullmatch(row["encoding"])
    # The same again from the cache, and from an extractor that never saw another value.
    assert EXTRACTOR.extract(PLAN, (value,), bound=(bound,)) == found
    fresh = IdentityExtractor(CONFIG, IdentityHasher("secret"))
    assert fresh.extract(PLAN, (value,), bound=(fresh.bind(bound.raw, "user"),)) == found


@pytest.mark.parametrize("row", [row for row in ROWS if not row["same"]], ids=name_of)
def test_strangers_are_what_they_are_without_a_binding(row: dict[str, Any]) -> None:
    value = TYPES[row.get("type", "text")](row["value"])
    bound = EXTRACTOR.bind(TYPES[row.get("raw_type", "text")](row["raw"]), "user")
    assert EXTRACTOR.extract(PLAN, (value,), bound=(bound,)) == EXTRACTOR.extract(PLAN, (value,))


def test_what_the_same_identity_shows_bound_and_unbound() -> None:
    """Where both name one identity they name one encoding: a difference would count as a mismatch."""
    for row in ROWS:
        value = TYPES[row.get("type", "text")](row["value"])
        bound = EXTRACTOR.bind(TYPES[row.get("raw_type", "text")](row["raw"]), "user")
        alone = EXTRACTOR.extract(PLAN, (value,))
        together = EXTRACTOR.extract(PLAN, (value,), bound=(bound,))
        if alone.values == together.values:
            assert alone.encodings == together.encodings, name_of(row)
