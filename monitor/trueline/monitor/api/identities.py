"""One identity: what was written and read, where, in which column and encoding, with which outcome."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from trueline.monitor.api.accesses import Sides, sides
from trueline.monitor.api.context import Context, Route
from trueline.monitor.api.whom import Domain, Environment, Lookup, Namer, Since, Until, Whom, span_of
from trueline.monitor.diagnose.gather import gather
from trueline.monitor.diagnose.judge import diagnose
from trueline.monitor.store.identities import read_summary


class Use(BaseModel):
    """One way in which the identity was touched, and how often. ``without_rows``: statements with no row."""

    environment: str
    application: str
    service: str
    versions: list[str]
    entries: list[str] = Field(description="Code paths, up to five.")
    access: str = Field(description="read or write.")
    table: str
    column: str = Field(
        description="Empty: no column names it; whose the row is, or whom the work was bound to."
    )
    clause: str = Field(description="where, set, row (whose row it is) or bound.")
    encoding: str
    domain: str
    database: str
    database_name: str
    database_schema: str
    database_url: str
    database_url_variable: str
    outcome: str = Field(description="As exported; open: decided later, see the table's sides.")
    count: int
    without_rows: int
    first: datetime
    last: datetime
    trace_id: str = Field(description="Of the last one.")


class Identity(BaseModel):
    """An identity's life in a time. ``tables``: the last write beside the last read, the last used first."""

    identities: list[str] = Field(description="The exported values that were looked for.")
    domain: str
    since: datetime
    until: datetime
    tables: list[Sides]
    uses: list[Use]
    hint: str = Field(description="Why nothing may have been found.")


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)
    namer = Namer(context)

    @router.get("/identities/{hash}")
    def get_identity(
        hash_: Annotated[str, Path(alias="hash", description="32 hex digits of an exported value, or 64.")],
        domain: Domain = "user",
        environment: Environment = "",
        since: Since = "7d",
        until: Until = "",
        key_id: Annotated[
            str, Query(max_length=64, description="Which secret made a hash of 32 digits.")
        ] = "",
    ) -> Identity:
        """By a hash. Raw values do not belong in URLs: POST /api/v1/identities/lookup takes those."""
        return answer(namer.by_hash(hash_, domain, key_id), since, until, environment)

    @router.post("/identities/lookup")
    def look_up_identity(lookup: Lookup) -> Identity:
        """By a raw value, which is hashed here and kept nowhere."""
        whom = namer.by_value(lookup.identity, lookup.domain)
        return answer(whom, lookup.since, lookup.until, lookup.environment)

    def answer(whom: Whom, since: str, until: str, environment: str) -> Identity:
        now = context.now()
        span = span_of(whom.values, [whom.domain], since, until, environment, now)
        facts = gather(context.store, span, now, whom.key_id)
        diagnosis = diagnose(facts)
        coverage = next(check for check in diagnosis.checks if check.id == "coverage")
        hint = (
            "" if facts.accesses else " ".join([coverage.sentence, *(one.text for one in coverage.evidence)])
        )
        return Identity(
            identities=list(whom.values[:1]),
            domain=whom.domain,
            since=span.since,
            until=span.until,
            tables=[sides(one) for one in diagnosis.tables],
            uses=[
                Use(**{**row, "outcome": row["exported_outcome"] if row["access"] == "write" else ""})
                for row in read_summary(context.store, span)
            ],
            hint=hint,
        )

    return router
