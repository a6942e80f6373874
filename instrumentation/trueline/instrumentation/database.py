"""Facts about the database behind a connection, and the URL it was configured by."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trueline.instrumentation import semconv
from trueline.instrumentation.semconv import Role, Rung

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


def fingerprint(*parts: object) -> str:
    """16 hex digits that stand for ``parts``."""
    text = "\0".join(str(part) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What is known of the database that one connection leads to.

    ``rungs`` maps each rung that could be read to its 16 hex digits; the best one is the fingerprint.
    """

    system: str
    namespace: str = ""
    rungs: Mapping[Rung, str] = field(default_factory=dict)
    role: Role = Role.UNKNOWN
    schema: str = ""
    version: str = ""
    address: str = ""
    port: int | None = None
    url: str = ""
    url_variable: str = ""

    @property
    def fingerprint(self) -> str:
        """The best rung's digits; empty if nothing could be read."""
        return next((self.rungs[rung] for rung in Rung if rung in self.rungs), "")

    def attributes(self) -> dict[str, Any]:
        """The attributes that every statement span of the connection carries."""
        rungs = tuple(f"{rung}:{self.rungs[rung]}" for rung in Rung if rung in self.rungs)
        found: dict[str, Any] = {
            semconv.DB_SYSTEM_NAME: self.system,
            semconv.DB_NAMESPACE: self.namespace,
            semconv.SERVER_ADDRESS: self.address,
            semconv.SERVER_PORT: self.port,
            semconv.DATABASE_FINGERPRINT: self.fingerprint,
            semconv.DATABASE_FINGERPRINTS: rungs,
            semconv.DATABASE_ROLE: str(self.role),
            semconv.DATABASE_SCHEMA: self.schema,
            semconv.DATABASE_VERSION: self.version,
            semconv.DATABASE_URL: self.url,
            semconv.DATABASE_URL_VARIABLE: self.url_variable,
        }
        return {key: value for key, value in found.items() if value not in ("", None, ())}


def with_url(facts: DatabaseFacts, url: URL) -> DatabaseFacts:
    """``facts`` of a connection, completed by what the engine's URL says.

    A server that did not tell its address (a Unix socket, say) gets its endpoint rung from the URL.
    """
    rungs = dict(facts.rungs)
    host = url.host or str(url.query.get("host", "") or "")
    database = facts.namespace or url.database or ""
    if facts.system != "sqlite" and host:
        rungs.setdefault(Rung.ENDPOINT, fingerprint(facts.system, host, url.port, database))
    return replace(
        facts,
        rungs=rungs,
        namespace=database,
        address=url.host or "",
        port=url.port,
        url=masked_url(url),
        url_variable=url_variable(url),
    )


def masked_url(url: URL) -> str:
    """The URL without credentials, query string and driver: safe to show, enough to recognise."""
    host = url.host or ""
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()}://{host}{port}/{url.database or ''}"


def url_variable(url: URL, environment: Mapping[str, str] | None = None) -> str:
    """The name of the environment variable that holds ``url``, or "".

    Only values that are database URLs are looked at, and only a name is kept.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    for name, value in sorted((os.environ if environment is None else environment).items()):
        if "://" not in value or len(value) > 2048:
            continue
        try:
            candidate = make_url(value)
        except (ArgumentError, ValueError):
            continue
        if (
            candidate.database == url.database
            and candidate.host == url.host
            and candidate.port == url.port
            and candidate.username == url.username
            and _same_backend(candidate.get_backend_name(), url.get_backend_name())
        ):
            return name
    return ""


def _same_backend(one: str, other: str) -> bool:
    return one == other or {one, other} == {"postgres", "postgresql"}
