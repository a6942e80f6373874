"""How a request names an identity: raw values in bodies only, hashes anywhere; neither is kept or logged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field

from trueline.instrumentation.identity import IdentityHasher, canonicalize
from trueline.monitor.api.context import Context, moment_of
from trueline.monitor.store.identities import Span

_HASH: Final = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{64}")
#: Furthest back that one identity can be looked at.
MAX_DAYS: Final = 90
#: The years that the store's times can hold, with room on both sides.
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)

Domain = Annotated[
    str, Query(min_length=1, max_length=100, description="What it identifies: user, tenant ...")
]
Environment = Annotated[str, Query(max_length=200, description="Only there; empty: everywhere.")]
Since = Annotated[str, Query(max_length=60, description="From when on: a time, or a duration back as 24h.")]
Until = Annotated[str, Query(max_length=60, description="Until when; empty: now.")]


class Lookup(BaseModel):
    """A raw value, hashed here and stored nowhere."""

    model_config = ConfigDict(extra="forbid")

    identity: str | int = Field(description="As the application knows it: 12345, or an address.")
    domain: str = Field(default="user", min_length=1, max_length=100)
    environment: str = Field(default="", max_length=200)
    since: str = Field(default="7d", max_length=60, description="A time, or a duration back as 24h.")
    until: str = Field(default="", max_length=60, description="Empty: now.")


@dataclass(frozen=True, slots=True)
class Whom:
    """The exported values that stand for one identity, their domain, and which secret made them."""

    values: tuple[str, ...]
    domain: str
    key_id: str


class Namer:
    """Finds the exported values of what requests name, with the monitor's secret."""

    def __init__(self, context: Context) -> None:
        secret = context.settings.hash_secret
        self._hasher = IdentityHasher(secret.get_secret_value() if secret else None)

    @property
    def key_id(self) -> str:
        """Which secret this monitor hashes with."""
        return self._hasher.key_id

    def by_hash(self, text: str, domain: str, key_id: str = "") -> Whom:
        """By 64 hex digits of a SHA-256, or the 32 of an exported value; HTTPException 400 otherwise."""
        if not _HASH.fullmatch(text):
            raise HTTPException(
                400,
                "This takes hashes only, 32 or 64 hexadecimal digits: a raw value in a URL would be logged. "
                "Send it as identity in the body of POST /api/v1/identities/lookup or POST "
                "/api/v1/diagnose, or let the command line hash it: trueline identities 12345.",
            )
        value = text.lower() if len(text) == 32 else self._hasher.export(domain, text.lower())
        return Whom((value,), domain, key_id or self.key_id)

    def by_value(self, value: str | int, domain: str) -> Whom:
        """By a raw value; HTTPException 422 for none. Of a plain domain the value itself was exported."""
        text = str(value).strip()
        if not text or len(text) > 4096:
            raise HTTPException(422, "identity: a value of 1 to 4096 characters is needed.")
        exported = [self._hasher.export(domain, canonicalize(text)), text]
        return Whom(tuple(dict.fromkeys(exported)), domain, self.key_id)


def span_of(
    values: Sequence[str], domains: Sequence[str], since: str, until: str, environment: str, now: datetime
) -> Span:
    """Whom and when, in bounds; HTTPException 400 for times that make no sense."""
    start = moment_of(since, now)
    end = moment_of(until, now, "until") if until else now + timedelta(minutes=5)
    for name, one in (("since", start), ("until", end)):
        if not _EARLIEST < one < _LATEST:
            raise HTTPException(400, f"{name} is {one:%Y-%m-%d}: nothing was stored then.")
    if end <= start:
        raise HTTPException(400, "until is not after since: leave until out for now.")
    if end - start > timedelta(days=MAX_DAYS + 1):
        raise HTTPException(400, f"That is more than {MAX_DAYS} days: narrow it with since and until.")
    return Span(tuple(values), tuple(domains), start, end, environment)
