"""/ops/last-write: where one person's data was last written and last read.

Values in URLs end up in logs and histories, so a URL takes hashes only; a raw value comes in a POST's body.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import BaseModel, Field

from trueline.instrumentation.identity import IdentityHasher, canonicalize
from trueline.monitor.api.context import Context, Route
from trueline.monitor.engine.last_write import QUERY, Access, Verdict, access, compare
from trueline.monitor.store.client import Store

_HASH: Final = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{64}")
_COLUMN: Final = re.compile(r"[A-Za-z_]\w{0,62}(\.[A-Za-z_]\w{0,62}){0,2}")
_PARAMETERS: Final = ("identity", "domain", "environment", "days", "key_id")


class Question(BaseModel):
    """A raw value, hashed here and stored nowhere."""

    model_config = {"extra": "forbid"}

    identity: str | int = Field(description="As the application knows it: 12345, or an address.")
    domain: str = Field(default="user", min_length=1, max_length=100)
    environment: str = Field(default="", max_length=200)
    days: int = Field(default=7, ge=1, le=90)


class AccessItem(BaseModel):
    """One statement that touched the identity."""

    when: datetime
    table: str
    tables: list[str]
    columns: list[str]
    encodings: list[str] = Field(description="How the identity is written in each of the columns.")
    rows: int | None = Field(description="Rows written or returned; null where the driver does not tell.")
    environment: str
    application: str
    service: str
    version: str
    entry: str
    database: str
    database_name: str
    database_schema: str
    database_system: str
    database_url: str
    database_url_variable: str
    outcome: str
    reason: str
    error: str
    trace_id: str
    span_id: str


class LastWrite(BaseModel):
    """The answer. ``sentence`` says it in words; ``hint`` says why nothing may have been found."""

    identities: list[str] = Field(description="The exported values that were looked for.")
    domain: str
    days: int
    verdict: Verdict
    sentence: str
    hint: str
    last_write: AccessItem | None
    last_committed_write: AccessItem | None
    last_read: AccessItem | None


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)
    secret = context.settings.hash_secret
    hasher = IdentityHasher(secret.get_secret_value() if secret else None)

    @router.get("/last-write", tags=["any-parameter"])
    def get_last_write(
        request: Request,
        identity: str | None = None,
        domain: str | None = None,
        environment: str = "",
        days: Annotated[int, Query(ge=1, le=90)] = 7,
        key_id: Annotated[str, Query(description="Which secret made an exported value.")] = hasher.key_id,
    ) -> LastWrite:
        """By a hash: 64 hex digits of SHA-256, or the 32 of an exported value.

        The parameter is ``identity``, or the name of an identity column, whose domain then holds.
        """
        named = [name for name in request.query_params if name not in _PARAMETERS]
        if len(named) + (identity is not None) != 1:
            unknown = f"{named[0][:60]!r} and " if len(named) > 0 and identity is not None else ""
            raise HTTPException(
                400,
                f"Give one identity, {unknown}no more: ?identity=<hash>, or ?<column name>=<hash>.",
            )
        value = identity if identity is not None else request.query_params[named[0]]
        domains = [domain or "user"]
        if named:
            seen = _domains_of(context.store, named[0], days)
            domains = [domain] if domain else seen
        if not _HASH.fullmatch(value):
            raise HTTPException(
                400,
                "A raw value does not belong in a URL, where it would be logged: send POST /ops/last-write "
                'with the body {"identity": "12345"}, or run: trueline last-write 12345.',
            )
        if len(value) == 32:
            return answer([value.lower()], domains, environment, days, key_id)
        exported = [hasher.export(one, value.lower()) for one in domains]
        return answer(exported, domains, environment, days)

    @router.post("/last-write")
    def post_last_write(question: Question) -> LastWrite:
        """By a raw value, which is hashed here."""
        text = str(question.identity).strip()
        if not text:
            raise HTTPException(422, "identity: a value is needed.")
        # Where the domain is declared plain, the value itself was exported.
        exported = [hasher.export(question.domain, canonicalize(text)), text]
        return answer(exported, [question.domain], question.environment, question.days)

    def answer(
        values: list[str], domains: list[str], environment: str, days: int, key_id: str = hasher.key_id
    ) -> LastWrite:
        parameters = {
            "values": values,
            "bound": [f"{domain}:{value}" for domain in domains for value in values],
            "since": (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
            "environment": environment,
            "table": "",
        }
        rows = context.store.query_read_only(QUERY, parameters).dicts()
        writes = [access(row, values) for row in rows if row["kind"] == "write"]
        committed = next((one for one in writes if one.outcome == "committed"), None)
        last = writes[0] if writes else None
        read = next((access(row, values) for row in rows if row["kind"] == "read"), None)
        if committed is not None and (read is None or committed.table not in read.tables):
            rows = context.store.query_read_only(QUERY, {**parameters, "table": committed.table}).dicts()
            same = [access(row, values) for row in rows if row["kind"] == "read"]
            compared = same[0] if same else None
        else:
            compared = read
        verdict, sentence = compare(last, committed, compared, days)
        return LastWrite(
            identities=values[:1],
            domain=", ".join(domains),
            days=days,
            verdict=verdict,
            sentence=sentence,
            hint=_hint(context.store, key_id) if verdict is Verdict.NOTHING else "",
            last_write=_shown(last),
            last_committed_write=_shown(committed),
            last_read=_shown(compared or read),
        )

    return router


def _shown(one: Access | None) -> AccessItem | None:
    if one is None:
        return None
    fields = asdict(one)
    return AccessItem(**{name: fields[name] for name in AccessItem.model_fields})


def _domains_of(store: Store, column: str, days: int) -> list[str]:
    """Domains of the identities in columns of this name; HTTPException 400 if there is no such column."""
    rows: list[tuple[Any, ...]] = []
    if _COLUMN.fullmatch(column):
        rows = store.query(
            "SELECT DISTINCT domain FROM statements "
            "ARRAY JOIN identity_columns AS name, identity_domains AS domain "
            "WHERE received_at > now64(3) - toIntervalDay({days:UInt32}) "
            "AND (name = {column:String} OR endsWith(name, concat('.', {column:String}))) "
            "ORDER BY domain LIMIT 20",
            {"column": column, "days": days},
        ).rows
    if rows:
        return [row[0] for row in rows]
    known = store.query(
        "SELECT DISTINCT name FROM statements ARRAY JOIN identity_columns AS name "
        "WHERE received_at > now64(3) - toIntervalDay({days:UInt32}) ORDER BY name LIMIT 10",
        {"days": days},
    )
    there = ", ".join(row[0] for row in known) or "none"
    raise HTTPException(
        400,
        f"{column[:60]!r} is neither a parameter ({', '.join(_PARAMETERS)}) nor an identity column that was "
        f"seen in the last {days} days; seen were: {there}.",
    )


def _hint(store: Store, key_id: str) -> str:
    """Why an identity that exists may not be found: it was hashed under another secret."""
    rows = store.query(
        "SELECT DISTINCT hash_key_id FROM statements WHERE received_at > now64(3) - INTERVAL 1 DAY "
        "AND hash_key_id != '' ORDER BY hash_key_id LIMIT 5"
    )
    others = [row[0] for row in rows if row[0] != key_id]
    if not others:
        return ""
    ours = "no secret" if key_id == "unkeyed" else f"the secret with key id {key_id}"
    theirs = ", ".join("no secret" if one == "unkeyed" else f"key id {one}" for one in others)
    return (
        f"Services hash identities with {theirs}, and this value was hashed with {ours}: "
        "set TRUELINE_HASH_SECRET to the services' secret, here and for the monitor."
    )
