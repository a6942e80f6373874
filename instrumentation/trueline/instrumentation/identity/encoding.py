"""How an identity is written in a column: by its shape alone, or as a relative of the bound identity."""

from __future__ import annotations

import decimal
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Final

from trueline.instrumentation.identity import forms
from trueline.instrumentation.identity.canonical import canonical_of_text, plain_of, text_of

_HEX_FORMS: Final = {64: "sha256", 40: "sha1", 32: "md5"}
_BINARY_FORMS: Final = {32: "sha256", 20: "sha1"}
_HEX: Final = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_UUID: Final = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}"
)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_LOWER_HEX: Final = re.compile(r"[0-9a-f]+")
#: A shorter piece of a digest proves nothing: eight hex digits are 32 bits.
MIN_CUT: Final = 8
#: What is written around the identity is not part of it, but a database compares it.
PADDED: Final = "fn:padded"


def shape_of(value: object) -> str:
    """Return the encoding that a value's type and form show, without knowing whose it is."""
    value = plain_of(value)
    if isinstance(value, str):
        text = value.strip()
        return _shape_of_text(text) if len(text) == len(value) else PADDED
    if isinstance(value, int | float | decimal.Decimal):
        return "integer"
    if isinstance(value, uuid.UUID):
        return "uuid"
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        text = text_of(data)
        return _BINARY_FORMS.get(len(data), "opaque") if text == data.hex() else _shape_of_text(text)
    return "opaque"


def _shape_of_text(text: str) -> str:
    form = _HEX_FORMS.get(len(text))
    if form is not None and _HEX.fullmatch(text):
        return f"{form}/upper" if text != text.lower() else form
    if len(text) == 36 and _UUID.fullmatch(text):
        return "uuid/upper" if text != text.lower() else "uuid"
    if "@" in text and _EMAIL.fullmatch(text):
        return "email"
    return "raw"


class Relatives:
    """Everything that one raw identity is known to become, to recognise it in whatever form it is used.

    ``canonical`` is the identity's canonical form. Derivations that raise are left out. Nothing is derived
    before a value comes that is not the identity as it stands. Thread-safe: made twice it is the same.
    """

    __slots__ = (
        "_canonical",
        "_derivations",
        "_digests",
        "_hmac_keys",
        "_namespaces",
        "_others",
        "_raw",
        "_text",
        "_uuid",
        "_uuids",
    )

    def __init__(
        self,
        raw: object,
        canonical: str,
        *,
        derivations: Mapping[str, Callable[[object], object]],
        hmac_keys: Mapping[str, bytes],
        uuid_namespaces: Mapping[str, uuid.UUID] = forms.UUID_NAMESPACES,
    ) -> None:
        self._raw = raw
        self._text = text_of(raw)
        self._canonical = canonical
        self._derivations = derivations
        self._hmac_keys = hmac_keys
        self._namespaces = uuid_namespaces
        self._uuid = forms.as_uuid(self._text)
        #: Hexadecimal digits that can be cut, put in upper case, and read as a number.
        self._digests: list[tuple[str, str]] | None = None
        #: Other texts, that can be cut and put in upper case.
        self._others: list[tuple[str, str]] = []
        self._uuids: list[tuple[str, str]] | None = None

    def recognise(self, value: object, text: str) -> str | None:
        """Return how ``value`` (its stripped text beside it) is made from the identity, None if it is not."""
        found = self._recognise(value, text)
        if found is not None and isinstance(value, str) and len(value) != len(text):
            return PADDED
        return found

    def _recognise(self, value: object, text: str) -> str | None:
        if text == self._text:
            return shape_of(value)
        if self._digests is None:
            self._derive()
        found = self._as_text(text) or self._as_uuid(value, text)
        if found is not None:
            return found
        if text.isdecimal() or (text.startswith("-") and text[1:].isdecimal()):
            return self._as_integer(text)
        if canonical_of_text(text) == self._canonical:
            return shape_of(value)  # another Unicode spelling, or hex digits in mixed case
        return self._as_recased(text)

    def _derive(self) -> None:
        known_by_hash = self._text.lower() == self._canonical
        found = forms.digests(self._text, self._canonical, self._hmac_keys, known_by_hash=known_by_hash)
        others: list[tuple[str, str]] = []
        for name, text in forms.derived(self._raw, self._derivations):
            hexadecimal = len(text) >= 2 * MIN_CUT and _LOWER_HEX.fullmatch(text) and not text.isdecimal()
            (found if hexadecimal else others).append((name, text))
        self._others = others
        self._digests = found  # last: another thread looks at it first

    def _as_text(self, text: str) -> str | None:
        for name, derived in self._others:
            if text == derived:
                return name
        if len(text) < MIN_CUT:
            return None
        lower = text.lower()
        upper = "/upper" if lower != text else ""
        if not upper or text == text.upper():
            for name, digest in self._digests or ():
                if digest.startswith(lower):
                    cut = "" if len(text) == len(digest) else f"/{len(text)}"
                    return f"{name}{upper}{cut}"
        if text.isdecimal():  # the first digits of a number are another number
            return None
        for name, derived in self._others:
            if derived.isdecimal():
                continue
            if derived.startswith(text):
                return f"{name}/{len(text)}"
            if upper and derived.upper().startswith(text):
                return f"{name}/upper" + ("" if len(text) == len(derived) else f"/{len(text)}")
        return None

    def _as_uuid(self, value: object, text: str) -> str | None:
        """Recognise a UUID without its dashes or as 16 bytes, and UUIDs made from the identity."""
        written = forms.as_uuid(text)
        if written is None:
            return None
        if written == self._uuid:
            return _form_of_uuid(value, text)
        if self._uuids is None:
            self._uuids = forms.uuids(self._text, self._namespaces)
        for name, derived in self._uuids:
            if derived == str(written):
                return name + _form_of_uuid(value, text).removeprefix("uuid")
        return None

    def _as_recased(self, text: str) -> str | None:
        mine = self._text
        if text.lower() == mine.lower():
            if text == mine.upper():
                return f"{shape_of(mine).removesuffix('/upper')}/upper"
            return "fn:lower" if text == mine.lower() else "fn:recased"
        if len(text) >= MIN_CUT and not mine.isdecimal():
            if mine.startswith(text):
                return f"raw/{len(text)}"
            if mine.upper().startswith(text):
                return f"raw/upper/{len(text)}"
        return None

    def _as_integer(self, text: str) -> str | None:
        """Recognise int(digest, 16) of a digest or of its first digits, and what is usually made of that."""
        if len(text) > 78:  # more decimal digits than 256 bits have
            return None
        number = int(text)
        if number < 0:
            return self._as_signed(number)
        digits = format(number, "x")
        for name, digest in self._digests or ():
            zeros = len(digest) - len(digest.lstrip("0"))
            length = zeros + len(digits)
            if length >= MIN_CUT and digest.startswith(digits, zeros):
                cut = "" if length == len(digest) else f"/{length}"
                return f"{name}{cut}/int"
        # A smaller rest could be anybody's, and much larger moduli would have left a larger one.
        fitting = [one for one in forms.MODULI if number < one[0] <= number * 1000]
        if fitting and len(text) >= MIN_CUT:
            for name, digest in self._digests or ():
                whole = int(digest, 16)
                for modulus, rest in fitting:
                    if whole % modulus == number:
                        return f"{_function(name)}.{rest}"
        return None

    def _as_signed(self, number: int) -> str | None:
        """The first 8 bytes as a signed number; every second one is positive, and just the same digits."""
        for name, digest in self._digests or ():
            if number == int(digest[:16], 16) - 2**64:
                return f"{name}/16/int"
        return None


def _form_of_uuid(value: object, text: str) -> str:
    if not isinstance(value, str):
        return "uuid"
    case = "/upper" if text != text.lower() else ""
    return f"uuid{case}" if len(text) == 36 else f"uuid{case}/32"


def _function(name: str) -> str:
    """A digest's name as part of a function's: hmac:app becomes fn:hmac.app."""
    return name if name.startswith("fn:") else f"fn:{name.replace(':', '.')}"
