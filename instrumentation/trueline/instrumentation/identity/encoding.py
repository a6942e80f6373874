"""How an identity is written in a column: by its shape alone, or as a relative of the bound identity."""

from __future__ import annotations

import decimal
import hashlib
import hmac
import re
import uuid
from collections.abc import Mapping
from typing import Final

from trueline.instrumentation.identity.canonical import text_of
from trueline.instrumentation.identity.config import Derivation

_HEX_FORMS: Final = {64: "sha256", 40: "sha1", 32: "md5"}
_HEX: Final = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_UUID: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}"
)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
#: A shorter piece of a digest proves nothing: eight hex digits are 32 bits.
MIN_CUT: Final = 8


def shape_of(value: object) -> str:
    """Return the encoding that a value's type and form show, without knowing whose it is."""
    if isinstance(value, str):
        return _shape_of_text(value.strip())
    if isinstance(value, int | float | decimal.Decimal):
        return "integer"
    if isinstance(value, uuid.UUID):
        return "uuid"
    if isinstance(value, bytes | bytearray | memoryview):
        text = text_of(value)
        return "opaque" if text == bytes(value).hex() else _shape_of_text(text)
    return "opaque"


def _shape_of_text(text: str) -> str:
    form = _HEX_FORMS.get(len(text))
    if form is not None and _HEX.fullmatch(text):
        return f"{form}/upper" if _has_upper(text) else form
    if len(text) == 36 and _UUID.fullmatch(text):
        return "uuid/upper" if _has_upper(text) else "uuid"
    if "@" in text and _EMAIL.fullmatch(text):
        return "email"
    return "raw"


def _derive(function: Derivation, raw: object) -> str:
    try:
        return text_of(function(raw))
    except Exception:  # the application's function may not be made for this identity
        return ""


def _has_upper(text: str) -> bool:
    return text != text.lower()


class Relatives:
    """Everything that one raw identity is known to become, to recognise it in whatever form it is used.

    ``canonical`` is the identity's canonical form. Derivations that raise are left out.
    """

    __slots__ = ("_digests", "_exact", "_raw")

    def __init__(
        self,
        raw: object,
        canonical: str,
        *,
        derivations: Mapping[str, Derivation],
        hmac_keys: Mapping[str, bytes],
    ) -> None:
        text = text_of(raw)
        data = text.encode("utf-8", "surrogatepass")
        self._raw = text
        self._digests: list[tuple[str, str]] = [("sha256", canonical)]
        self._exact: dict[str, str] = {}
        if text.lower() != canonical:
            self._digests.append(("sha1", hashlib.sha1(data, usedforsecurity=False).hexdigest()))
            self._digests.append(("md5", hashlib.md5(data, usedforsecurity=False).hexdigest()))
        for name, key in hmac_keys.items():
            self._digests.append((f"hmac:{name}", hmac.digest(key, data, "sha256").hex()))
        for name, function in derivations.items():
            derived = _derive(function, raw)
            if derived and derived != text:
                self._exact.setdefault(derived, f"fn:{name}")

    def recognise(self, value: object, text: str) -> str | None:
        """Return how ``value`` (its text beside it) is derived from the identity, or None if it is not."""
        if text == self._raw:
            return shape_of(value)
        if text in self._exact:
            return self._exact[text]
        lower = text.lower()
        upper = "/upper" if lower != text else ""
        if len(text) >= MIN_CUT:
            for name, digest in self._digests:
                if digest.startswith(lower) and (not upper or text == text.upper()):
                    cut = "" if len(text) == len(digest) else f"/{len(text)}"
                    return f"{name}{upper}{cut}"
        if text.isdecimal():  # also: the first digits of a number are another number
            return self._as_integer(text)
        if text == self._raw.upper():
            return f"{shape_of(self._raw).removesuffix('/upper')}/upper"
        if len(text) >= MIN_CUT and self._raw.startswith(text):
            return f"raw/{len(text)}"
        return None

    def _as_integer(self, text: str) -> str | None:
        """Recognise int(digest, 16) of a digest or of its first digits."""
        if len(text) > 78:  # more decimal digits than 256 bits have
            return None
        digits = format(int(text), "x")
        for name, digest in self._digests:
            zeros = len(digest) - len(digest.lstrip("0"))
            length = zeros + len(digits)
            if length >= MIN_CUT and digest.startswith(digits, zeros):
                cut = "" if length == len(digest) else f"/{length}"
                return f"{name}{cut}/int"
        return None
