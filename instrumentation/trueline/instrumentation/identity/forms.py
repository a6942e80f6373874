"""What one raw identity is known to become: the texts that its encodings give, each under its name.

Digests first, because that is what applications use; then what they do to a text before they hash it, and
UUIDs that are made from names. Names follow the grammar of encodings: what is no form of the grammar itself
is a function, ``fn:NAME``.
"""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
import uuid
from collections.abc import Callable, Mapping
from typing import Final

from trueline.instrumentation.identity.canonical import text_of

#: The namespaces that RFC 9562 names; more are configured.
UUID_NAMESPACES: Final[Mapping[str, uuid.UUID]] = {
    "dns": uuid.NAMESPACE_DNS,
    "url": uuid.NAMESPACE_URL,
    "oid": uuid.NAMESPACE_OID,
    "x500": uuid.NAMESPACE_X500,
}
#: What is left of a digest that was made an integer of a usual size: moduli, and the name of their family.
#: Not each its own name: a rest with a leading zero is the rest for a smaller modulus too.
MODULI: Final[tuple[tuple[int, str], ...]] = (
    *((10**power, "mod10") for power in range(8, 19)),
    *((2**power, "mod2") for power in (31, 32, 53, 63, 64)),
    *((2**power - 1, "mod2m1") for power in (31, 53, 63)),
)


def digests(
    text: str, canonical: str, hmac_keys: Mapping[str, bytes], *, known_by_hash: bool
) -> list[tuple[str, str]]:
    """Return (encoding, lower-case hex) of the digests of a stripped identity.

    ``known_by_hash``: the identity is a SHA-256 already, so that the other digests of what is behind it
    cannot be known.
    """
    data = _utf8(text)
    found = [("sha256", canonical)]
    if not known_by_hash:
        found.append(("sha1", hashlib.sha1(data, usedforsecurity=False).hexdigest()))
        found.append(("md5", hashlib.md5(data, usedforsecurity=False).hexdigest()))
        lower, upper = text.lower(), text.upper()
        if lower != text:
            found += _digests_of(lower, "lower")
        elif "@" in text and upper != text:
            found += _digests_of(upper, "upper")
    found += [(f"hmac:{name}", hmac.digest(key, data, "sha256").hex()) for name, key in hmac_keys.items()]
    found.append(("fn:sha256.twice", hashlib.sha256(canonical.encode()).hexdigest()))
    return found


def _digests_of(text: str, name: str) -> list[tuple[str, str]]:
    data = _utf8(text)
    return [
        (f"fn:sha256.{name}", hashlib.sha256(data).hexdigest()),
        (f"fn:sha1.{name}", hashlib.sha1(data, usedforsecurity=False).hexdigest()),
        (f"fn:md5.{name}", hashlib.md5(data, usedforsecurity=False).hexdigest()),
    ]


def derived(raw: object, functions: Mapping[str, Callable[[object], object]]) -> list[tuple[str, str]]:
    """Return (``fn:NAME``, text) of what functions of the application make of an identity.

    One that raises, or that gives the identity itself or nothing, is left out.
    """
    found = []
    text = text_of(raw)
    for name, function in functions.items():
        result = _result(function, raw)
        if result and result != text:
            found.append((f"fn:{name}", result))
    return found


def _result(function: Callable[[object], object], raw: object) -> str:
    try:
        return text_of(function(raw))
    except Exception:  # it may not be made for this identity
        return ""


def uuids(text: str, namespaces: Mapping[str, uuid.UUID]) -> list[tuple[str, str]]:
    """Return (``fn:uuid5.NAMESPACE``, text) of the UUIDs of version 5 that are made from an identity."""
    try:
        return [(f"fn:uuid5.{name}", str(uuid.uuid5(space, text))) for name, space in namespaces.items()]
    except UnicodeEncodeError:  # a lone surrogate
        return []


def as_uuid(text: str) -> uuid.UUID | None:
    """Return the UUID that a text of 36 characters, or of 32 hex digits, writes; None for anything else."""
    if len(text) not in (32, 36):
        return None
    try:
        found = uuid.UUID(text)
    except ValueError:
        return None
    return found if text.lower() in (str(found), found.hex) else None


def _utf8(text: str) -> bytes:
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return text.encode("utf-8", "surrogatepass")
