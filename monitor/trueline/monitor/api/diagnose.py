"""POST /api/v1/diagnose: the ten-minute diagnosis of one identity, message or service."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Final, Literal

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from trueline.monitor.api.accesses import Sides, sides
from trueline.monitor.api.context import Context, Route
from trueline.monitor.api.whom import Namer, span_of
from trueline.monitor.diagnose.check import Check, Evidence, Status
from trueline.monitor.diagnose.facts import Facts
from trueline.monitor.diagnose.gather import gather
from trueline.monitor.diagnose.judge import Diagnosis, Verdict, diagnose
from trueline.monitor.diagnose.progress import is_done, progress
from trueline.monitor.store.identities import latest_of_service

#: Identities that are looked at where a service is asked about.
MAX_OF_SERVICE: Final = 10
#: Which verdict speaks for a service that has several.
_WORST: Final = (
    Verdict.COMMIT,
    Verdict.ENVIRONMENT,
    Verdict.KEYS,
    Verdict.TIMING,
    Verdict.CACHE,
    Verdict.HEALTHY,
    Verdict.CANNOT_TELL,
)


class DiagnoseQuestion(BaseModel):
    """Whom or what to look at: exactly one of the first four. Raw values are hashed here and kept nowhere."""

    model_config = ConfigDict(extra="forbid")

    identity: str | int | None = Field(default=None, description="As the application knows it: 12345.")
    hash: str | None = Field(default=None, description="32 or 64 hex digits.", max_length=64)
    message: str | int | None = Field(default=None, description="A delivery's id, as given to bind_message.")
    service: str | None = Field(
        default=None, description="A service: the identities it touched last.", max_length=200
    )
    domain: str = Field(default="user", min_length=1, max_length=100)
    environment: str = Field(default="", max_length=200)
    since: str = Field(default="7d", max_length=60, description="A time, or a duration back as 24h.")
    key_id: str = Field(default="", max_length=64, description="Which secret made a hash of 32 digits.")


class Seen(BaseModel):
    """One thing that was seen."""

    at: datetime | None
    text: str
    trace_id: str
    span_id: str


class CheckItem(BaseModel):
    """One question with its answer. ``unknown``: it cannot tell; ``skipped``: nothing to check."""

    id: str
    question: str
    status: Status
    sentence: str
    evidence: list[Seen]
    next: list[str]


class StepItem(BaseModel):
    """How far "try again now" has come, since ``since``. ``unknown``: not seen yet."""

    id: Literal["written", "committed", "read back", "equal"]
    status: Status
    sentence: str
    evidence: list[Seen]


class DiagnosisItem(BaseModel):
    """The verdict in one line, every check with its evidence, and what to do next."""

    verdict: Verdict
    sentence: str
    also: list[str] = Field(description="Other faults that were seen.")
    next: list[str] = Field(description="Commands and steps, in order.")
    identities: list[str] = Field(
        description="The exported value that was looked for, or those of a service."
    )
    domain: str
    since: datetime
    until: datetime
    verdicts: dict[str, int] = Field(description="Of a service: identities by verdict.")
    checks: list[CheckItem]
    tables: list[Sides]
    progress: list[StepItem]
    done: bool = Field(description="Written, committed, read back and equal, all since `since`.")


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route)
    namer = Namer(context)

    @router.post("/diagnose")
    def diagnose_one(question: DiagnoseQuestion) -> DiagnosisItem:
        """Keys, cache, environment, commit, timing, healthy, or cannot tell; from what is stored."""
        given = [
            name for name in ("identity", "hash", "message", "service") if getattr(question, name) is not None
        ]
        if len(given) != 1:
            raise HTTPException(422, "Give exactly one of identity, hash, message and service.")
        now = context.now()
        if question.service is not None:
            return of_service(question, question.service, now)
        if question.hash is not None:
            whom = namer.by_hash(question.hash, question.domain, question.key_id)
        elif question.message is not None:
            whom = namer.by_value(question.message, "message")
        else:
            assert question.identity is not None
            whom = namer.by_value(question.identity, question.domain)
        span = span_of(whom.values, [whom.domain], question.since, "", question.environment, now)
        facts = gather(context.store, span, now, whom.key_id)
        return _item(diagnose(facts), facts, list(whom.values[:1]), whom.domain)

    def of_service(question: DiagnoseQuestion, service: str, now: datetime) -> DiagnosisItem:
        """The identities that a service touched last; the worst verdict speaks for all."""
        span = span_of([], [], question.since, "", question.environment, now)
        found = latest_of_service(
            context.store, service, span.since, span.until, question.environment, MAX_OF_SERVICE
        )
        results: list[tuple[Diagnosis, Facts, str, str]] = []
        for identity, domain in found:
            one = span_of([identity], [domain], question.since, "", question.environment, now)
            facts = gather(context.store, one, now, namer.key_id)
            results.append((diagnose(facts), facts, identity, domain))
        if not results:
            facts = gather(context.store, span, now, namer.key_id)
            nothing = diagnose(facts)
            return _item(nothing, facts, [], "").model_copy(
                update={"sentence": f"CANNOT TELL: {service} touched no identity in this time."}
            )
        counts = Counter(str(result[0].verdict) for result in results)
        worst = min(results, key=lambda result: _WORST.index(result[0].verdict))
        item = _item(worst[0], worst[1], [result[2] for result in results], worst[3])
        number = counts[str(worst[0].verdict)]
        sentence = item.sentence
        if len(results) > 1:
            sentence += (
                f" So it is for {number} of the {len(results)} identities that {service} touched last."
            )
        return item.model_copy(update={"verdicts": dict(sorted(counts.items())), "sentence": sentence})

    return router


def _item(diagnosis: Diagnosis, facts: Facts, identities: list[str], domain: str) -> DiagnosisItem:
    steps = progress(facts)
    return DiagnosisItem(
        verdict=diagnosis.verdict,
        sentence=diagnosis.sentence,
        also=list(diagnosis.also),
        next=list(diagnosis.next),
        identities=identities,
        domain=domain,
        since=facts.since,
        until=facts.now,
        verdicts={},
        checks=[_check(check) for check in diagnosis.checks],
        tables=[sides(one) for one in diagnosis.tables],
        progress=[
            StepItem.model_validate(
                {
                    "id": step.id,
                    "status": step.status,
                    "sentence": step.sentence,
                    "evidence": [_seen(one) for one in step.evidence],
                }
            )
            for step in steps
        ],
        done=is_done(steps),
    )


def _check(check: Check) -> CheckItem:
    return CheckItem(
        id=check.id,
        question=check.question,
        status=check.status,
        sentence=check.sentence,
        evidence=[_seen(one) for one in check.evidence],
        next=list(check.next),
    )


def _seen(one: Evidence) -> Seen:
    return Seen(at=one.at, text=one.text, trace_id=one.trace_id, span_id=one.span_id)
