"""Facts about the database behind a connection, and the URL it was configured by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trueline.instrumentation import semconv
from trueline.instrumentation.endpoint import NOWHERE, Endpoint, endpoint_parts
from trueline.instrumentation.semconv import Role, Rung

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from trueline.instrumentation.database_names import DatabaseNames


def fingerprint(*parts: object) -> str:
    """16 hex digits that stand for ``parts``."""
    text = "\0".join(str(part) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What is known of the database that one connection leads to.

    ``rungs`` maps each rung that could be read to its 16 hex digits; the best one is the fingerprint.
    ``told`` is what the server said of its own end, ``reached`` where the driver connected to.
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
    told: Endpoint = NOWHERE
    reached: Endpoint | None = None

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


def with_url(
    facts: DatabaseFacts, url: URL, names: DatabaseNames | None = None, *, variable: str = ""
) -> DatabaseFacts:
    """``facts`` of a connection, completed by what the engine's URL and the operator say.

    ``variable``: the environment variable that holds the URL.
    """
    rungs = dict(facts.rungs)
    rungs.pop(Rung.CONFIGURED, None)  # the operator's word may have changed
    database = facts.namespace or url.database or ""
    reached = facts.reached or Endpoint(_host(url), url.port)
    if facts.system != "sqlite" and (end := endpoint_parts(facts.told, reached)):
        rungs[Rung.ENDPOINT] = fingerprint(facts.system, *end, database)
    name = "" if names is None else names.name_of(url, rungs.values())
    if name:
        rungs[Rung.CONFIGURED] = fingerprint("configured", name)
    return replace(
        facts,
        rungs=rungs,
        namespace=database,
        address=url.host or "",
        port=url.port,
        url=masked_url(url),
        url_variable=variable,
    )


def _host(url: URL) -> str:
    """The URL's one host or socket folder; "" where it names several and only the driver knows which."""
    host = url.host or url.query.get("host", "")
    return host if isinstance(host, str) else ""


def masked_url(url: URL) -> str:
    """The URL without credentials, query string and driver: safe to show, enough to recognise."""
    host = url.host or ""
    if ":" in host:
        host = f"[{host}]"
    port = f":{url.port}" if url.port else ""
    return f"{url.get_backend_name()}://{host}{port}/{url.database or ''}"
