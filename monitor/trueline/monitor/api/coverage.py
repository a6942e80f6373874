"""What can be seen of each service, and which rules are blind for it and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from trueline.instrumentation.inventory_report import Sources
from trueline.monitor.api.context import Context, Route, moment_of
from trueline.monitor.engine.coverage import RuleNeeds, Sends, judge, needs_of
from trueline.monitor.engine.coverage_reasons import Cause, Status
from trueline.monitor.engine.coverage_text import sentence_of
from trueline.monitor.errors import QueryError
from trueline.monitor.store.coverage import MAX_SERVICES, ServiceDetails, read_coverage

#: Furthest back that can be asked for: statements are counted anew each time.
MAX_DAYS: Final = 7


class SourceCounts(BaseModel):
    """Statements by what names the identity in them."""

    total: int
    column: int = Field(description="An identity column names it.")
    row: int = Field(description="The row whose they are, as the service's ORM session had it loaded.")
    bound: int = Field(description="Only the identity that the work was bound to.")
    none: int = Field(description="Nothing does.")
    share: float | None = Field(
        description="Share that carries an identity; null where there is no statement."
    )


class CoveredTable(BaseModel):
    """One table. A write counts where it writes, a read for each table that it names."""

    table: str
    reads: int
    writes: SourceCounts


class CoveredColumn(BaseModel):
    """One identity column in one clause and one encoding."""

    column: str
    domain: str
    clause: str
    encoding: str
    statements: int


class CoveredDatabase(BaseModel):
    """One database, schema and URL that the service was seen on. Counts are of all time."""

    database: str
    database_rungs: list[str]
    database_schema: str
    database_role: str
    database_url: str
    database_url_variable: str
    db_system: str
    db_namespace: str
    reads: int
    writes: int


class WhyNot(BaseModel):
    """One thing in a rule's way, and the way out."""

    cause: Cause
    status: Status
    sentence: str
    way_out: str


class CoveredRule(BaseModel):
    """What one rule can see of the service; ``reasons`` are worst first."""

    rule: str
    title: str
    status: Status
    reasons: list[WhyNot]


class CoveredService(BaseModel):
    """One service of one environment and application."""

    environment: str
    application: str
    service: str
    sentence: str = Field(description="The whole in a few words.")
    sends: Sends
    versions: list[str]
    process_kinds: list[str]
    last_seen: datetime | None
    counted_by: str = Field(
        description="spans: what arrived since then. inventory: what the service's processes counted before "
        "they sampled, since they began."
    )
    reads: SourceCounts
    writes: SourceCounts
    statements: int
    with_entry: int = Field(description="Statements inside of an entry span.")
    ai_calls: int
    databases: list[CoveredDatabase]
    tables: list[CoveredTable]
    tables_without_identity: list[str] = Field(description="Of which no write names anybody.")
    columns: list[CoveredColumn]
    more: int = Field(description="Statements on tables beyond those that a process lists.")
    key_ids: list[str] = Field(description="Which secrets its identities were hashed with.")
    hashes: list[str] = Field(description="keyed, unkeyed or left_out, as its processes say.")
    spans: list[str] = Field(description="own or contrib, likewise.")
    sample: float
    lost: dict[str, int]
    unseen_transactions: int
    unseen_checkouts: int
    internal_errors: int
    inventories: int = Field(description="Processes whose inventory was received.")
    inventory_at: datetime | None
    rules: list[CoveredRule]


class CoverageList(BaseModel):
    """All services that sent something since then. ``problems`` concern more than one of them."""

    since: datetime
    items: list[CoveredService]
    problems: list[str]


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)

    @router.get("/coverage")
    def get_coverage(
        environment: str | None = None, service: str | None = None, since: str = "1h"
    ) -> CoverageList:
        """What can be seen of each service, and which rules are blind for it and why."""
        now = datetime.now(UTC)
        moment = moment_of(since, now)
        if moment < now - timedelta(days=MAX_DAYS, minutes=1):
            raise HTTPException(400, f"since={since[:40]!r} is more than {MAX_DAYS} days ago: ask for less.")
        found = _read(context, moment, environment or "", service or "", since)
        states = context.rules.states
        rules = [
            needs_of(rule, states[rule.id].error if rule.id in states else "")
            for rule in context.rules.loaded.rules
        ]
        return CoverageList(
            since=moment,
            items=[_shown(details, rules) for details in found],
            problems=_problems(context, found),
        )

    return router


def _read(
    context: Context, moment: datetime, environment: str, service: str, since: str
) -> list[ServiceDetails]:
    try:
        return read_coverage(context.store, moment, environment=environment, service=service)
    except QueryError as error:
        if error.limit is None:
            raise
        raise HTTPException(
            503,
            f"Counting all since {since[:40]} reached the limit of {error.limit}: ask for one service, or "
            "for less time, as since=10m.",
        ) from None


def _problems(context: Context, found: list[ServiceDetails]) -> list[str]:
    problems = [f"A rule file cannot be used: {problem}" for problem in context.rules.loaded.problems]
    if any(one.facts.environment == "unset" for one in found):
        problems.append(
            "Some services do not say their environment: all of them count as one. Set "
            "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=production."
        )
    if len(found) >= MAX_SERVICES:
        problems.append(f"Only {MAX_SERVICES} services are listed: ask for one environment.")
    return problems


def _shown(details: ServiceDetails, rules: list[RuleNeeds]) -> CoveredService:
    facts = details.facts
    judged = judge(facts, rules)
    return CoveredService(
        environment=facts.environment,
        application=facts.application,
        service=facts.service,
        sentence=sentence_of(facts, judged),
        sends=facts.sends,
        versions=list(details.versions),
        process_kinds=sorted(facts.process_kinds),
        last_seen=details.last_seen,
        counted_by=details.counted_by,
        reads=_counts(facts.reads),
        writes=_counts(facts.writes),
        statements=facts.statements,
        with_entry=facts.with_entry,
        ai_calls=facts.ai_calls,
        databases=[CoveredDatabase(**one) for one in details.databases],
        tables=[
            CoveredTable(table=one.table, reads=one.reads, writes=_counts(one.writes))
            for one in details.tables
        ],
        tables_without_identity=list(facts.nameless_tables),
        columns=[
            CoveredColumn(
                column=one.column,
                domain=one.domain,
                clause=one.clause,
                encoding=one.encoding,
                statements=one.statements,
            )
            for one in details.columns
        ],
        more=details.more,
        key_ids=list(facts.key_ids),
        hashes=list(details.hashes),
        spans=list(details.spans),
        sample=facts.sample,
        lost=dict(facts.lost),
        unseen_transactions=facts.unseen_transactions,
        unseen_checkouts=facts.unseen_checkouts,
        internal_errors=facts.internal_errors,
        inventories=details.inventories,
        inventory_at=details.inventory_at,
        rules=[
            CoveredRule(
                rule=one.rule,
                title=one.title,
                status=one.status,
                reasons=[
                    WhyNot(cause=why.cause, status=why.status, sentence=why.sentence, way_out=why.way_out)
                    for why in one.reasons
                ],
            )
            for one in judged
        ],
    )


def _counts(sources: Sources) -> SourceCounts:
    return SourceCounts(
        total=sources.total,
        column=sources.column,
        row=sources.row,
        bound=sources.bound,
        none=sources.none,
        share=sources.share if sources.total else None,
    )
