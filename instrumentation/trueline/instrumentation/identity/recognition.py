"""Whose a single value is, and how it is written: by the bound identity, the resolver, or its shape."""

from __future__ import annotations

import threading
import unicodedata
import uuid
from collections.abc import Callable
from typing import Any, Final

from trueline.instrumentation.identity.canonical import canonical_of_text, text_of
from trueline.instrumentation.identity.config import IdentityConfig, Resolver
from trueline.instrumentation.identity.encoding import Relatives, shape_of
from trueline.instrumentation.identity.hashing import IdentityHasher
from trueline.instrumentation.identity.identities import BoundIdentity
from trueline.instrumentation.statement.plan import IdentityUse

MAX_CACHED: Final = 8192
_MAX_RELATIVES: Final = 1024
#: A longer text is content, not an identity.
MAX_TEXT: Final = 1024
_DIGESTS: Final = frozenset({"sha256", "sha1", "md5"})
#: Types of identities for which one binding is kept and used again.
_BINDABLE: Final = frozenset({str, int, uuid.UUID})
_TRANSFORMS: Final[dict[str, Callable[[str], str]]] = {"lower": str.lower, "upper": str.upper}


class Recogniser:
    """Recognises values, and keeps what it found. Thread-safe; never raises for any value."""

    def __init__(self, config: IdentityConfig, hasher: IdentityHasher, *, export_hashes: bool) -> None:
        self._config = config
        self._hasher = hasher
        self._export_hashes = export_hashes
        self._seen: dict[object, tuple[str, str] | None] = {}
        self._bindings: dict[tuple[str, object, object], BoundIdentity] = {}
        self._relatives: dict[int, tuple[BoundIdentity, Relatives]] = {}
        self._inside = threading.local()

    def bind(self, value: object, domain: str) -> BoundIdentity:
        """Return the identity that a request is to be bound to; blank values give an empty canonical form."""
        # One object for one identity: what was recognised for it is found again by the object's own id.
        kind = value.__class__
        key = (domain, kind, value) if kind in _BINDABLE else None
        if key is not None:
            known = self._bindings.get(key)
            if known is not None:
                return known
        text = text_of(value)
        canonical = canonical_of_text(text) if text else ""
        bound = BoundIdentity(domain, value, canonical, self._export(domain, text, canonical) if text else "")
        if key is not None and len(text) <= MAX_TEXT:
            make_room(self._bindings, _MAX_RELATIVES)
            self._bindings[key] = bound
        return bound

    def classify(
        self, use: IdentityUse, value: object, bound: tuple[BoundIdentity, ...]
    ) -> tuple[tuple[str, str] | None, bool]:
        """Return encoding and exported value (None where the value is no identity), and whether that lasts:
        what a resolver does not know yet, it may know the next time."""
        if value is None:
            return None, True
        of_domain = tuple(one for one in bound if one.domain == use.domain) if bound else ()
        key = (
            use.domain,
            use.transform,
            use.column if self._config.resolver else "",
            value.__class__,
            value,
            *((one.canonical, one.raw) for one in of_domain),
        )
        try:
            return self._seen[key], True
        except KeyError:
            found, lasting = self._recognise(use, value, of_domain)
            if lasting and (not isinstance(value, str | bytes) or len(value) <= MAX_TEXT):
                make_room(self._seen)
                self._seen[key] = found
            return found, lasting
        except TypeError:  # not hashable
            return self._recognise(use, value, of_domain)[0], False

    def _recognise(
        self, use: IdentityUse, value: object, bound: tuple[BoundIdentity, ...]
    ) -> tuple[tuple[str, str] | None, bool]:
        """As :meth:`classify`, not cached."""
        text = text_of(value)
        if not text or len(text) > MAX_TEXT:
            return None, True
        change = _TRANSFORMS.get(use.transform)
        if change is not None and isinstance(value, str):
            value = text = change(text)
        digest = use.transform if use.transform in _DIGESTS else ""
        for one in bound:
            relation = self._relation(one, value, text)
            if relation is not None:
                return (digest or relation, one.value), True
        encoding = digest or shape_of(value)
        resolver = self._config.resolver_of(use.domain)
        resolved = "" if resolver is None else self._resolve(resolver, use, value)
        text = resolved or text
        exported = self._export(use.domain, text, canonical_of_text(text))
        return (encoding, exported), resolver is None or bool(resolved)

    def _resolve(self, resolver: Resolver, use: IdentityUse, value: object) -> str:
        inside = self._inside
        if getattr(inside, "resolving", False):
            return ""  # the resolver itself runs a statement: it is not asked about that one
        inside.resolving = True
        try:
            return text_of(resolver(use.domain, use.column, value))
        except Exception:  # the application's function; the value then stands for itself
            return ""
        finally:
            inside.resolving = False

    def _relation(self, bound: BoundIdentity, value: object, text: str) -> str | None:
        if not bound.canonical:
            return None  # nobody
        inside = self._inside
        if getattr(inside, "deriving", False):
            return None  # a derivation runs a statement
        inside.deriving = True
        try:
            return self._relatives_of(bound).recognise(value, text)
        finally:
            inside.deriving = False

    def _relatives_of(self, bound: BoundIdentity) -> Relatives:
        known = self._relatives.get(id(bound))
        if known is not None:
            return known[1]
        made = Relatives(
            bound.raw,
            bound.canonical,
            derivations=self._config.derivations,
            hmac_keys=self._config.hmac_keys,
            uuid_namespaces=self._config.uuid_namespaces,
        )
        make_room(self._relatives, _MAX_RELATIVES)
        self._relatives[id(bound)] = (bound, made)
        return made

    def _export(self, domain: str, text: str, canonical: str) -> str:
        if self._config.is_plain(domain):
            return text if text.isascii() else unicodedata.normalize("NFC", text)
        return self._hasher.export(domain, canonical) if self._export_hashes else ""


def make_room(cache: dict[Any, Any], size: int = MAX_CACHED) -> None:
    """Drop the oldest eighth of a full cache, each step by itself: a lock could be held over a fork."""
    if len(cache) >= size:
        for key in list(cache)[: size // 8]:
            cache.pop(key, None)
