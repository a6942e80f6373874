"""Hashing of canonical identities under the installation's secret."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

_MAX_CACHED: Final = 8192
#: Key id of hashes that were made without a secret.
UNKEYED: Final = "unkeyed"


class IdentityHasher:
    """HMAC-SHA-256 of identities. Without a secret the key is empty and ``key_id`` is "unkeyed".

    ``key_id`` (8 hex digits of SHA-256 over a label and the secret) tells which secret made a hash and
    says nothing else about it. Safe to share between threads.
    """

    __slots__ = ("_cache", "_secret", "key_id")

    def __init__(self, secret: str | bytes | None = None) -> None:
        raw = secret.encode("utf-8") if isinstance(secret, str) else secret or b""
        self._secret = raw
        self._cache: dict[tuple[str, str], str] = {}
        self.key_id: Final[str] = (
            hashlib.sha256(b"trueline.key_id\0" + raw).hexdigest()[:8] if raw else UNKEYED
        )

    def export(self, domain: str, canonical: str) -> str:
        """Return the exported value: the first 32 hex digits of the HMAC over domain and canonical form."""
        key = (domain, canonical)
        found = self._cache.get(key)
        if found is None:
            found = self.digest(domain, canonical)[:32]
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[key] = found
        return found

    def digest(self, label: str, text: str) -> str:
        """Return the 64 hex digits of HMAC-SHA-256(secret, label, 0x00, text); not cached."""
        message = f"{label}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, message, "sha256").hex()
