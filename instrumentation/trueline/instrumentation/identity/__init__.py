"""Whose data a statement touches: canonical form, hashing, encodings, and their extraction."""

from trueline.instrumentation.identity.canonical import canonicalize
from trueline.instrumentation.identity.config import Domain, IdentityConfig
from trueline.instrumentation.identity.extraction import IdentityExtractor
from trueline.instrumentation.identity.hashing import IdentityHasher
from trueline.instrumentation.identity.identities import EMPTY, BoundIdentity, Identities

__all__ = [
    "EMPTY",
    "BoundIdentity",
    "Domain",
    "Identities",
    "IdentityConfig",
    "IdentityExtractor",
    "IdentityHasher",
    "canonicalize",
]
