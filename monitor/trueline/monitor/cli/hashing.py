"""Raw values are hashed where they are typed: with TRUELINE_HASH_SECRET as the services have it."""

from __future__ import annotations


def exported(identity: str, domain: str) -> tuple[str, str]:
    """The value as services export it, and which secret made it."""
    from trueline.instrumentation.identity import IdentityHasher, canonicalize
    from trueline.monitor.settings import load_settings

    secret = load_settings().hash_secret
    hasher = IdentityHasher(secret.get_secret_value() if secret else None)
    return hasher.export(domain, canonicalize(identity)), hasher.key_id
