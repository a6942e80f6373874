"""Findings: list, one in full, its history, acknowledge, resolve, reopen, comment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from trueline.monitor.api.context import Context, Route
from trueline.monitor.api.finding_filters import Conditions, Order, StateFilter, Text, encode, exported
from trueline.monitor.api.finding_models import (
    ChangedFinding,
    EventItem,
    FindingDetail,
    FindingItem,
    FindingList,
    History,
    Note,
    Remediation,
    finding_fields,
)
from trueline.monitor.api.finding_models import EvidenceItem as EvidenceItem
from trueline.monitor.api.finding_models import evidence_item as evidence_item
from trueline.monitor.api.whom import Domain, Namer
from trueline.monitor.engine.finding import (
    Cause,
    Event,
    Finding,
    acknowledge,
    comment,
    reopen,
    resolve,
)
from trueline.monitor.engine.rule import Severity
from trueline.monitor.engine.silence import silenced_by
from trueline.monitor.store.silences import StoredSilences

Change = Callable[[Finding, str, str, datetime], tuple[Finding, list[Event]]]
#: Evidence items that the list shows of each finding; all of it is with the finding itself.
EVIDENCE_IN_LIST = 5
#: Findings that a list which is filtered by silence reads, at most, to fill one page.
_MOST_READ = 10_000


def build(context: Context) -> APIRouter:
    """Build the routes."""
    router = APIRouter(route_class=Route, tags=["findings"])
    store = context.rules.findings
    silences = StoredSilences(context.store)
    incidents = store.incidents
    namer = Namer(context)

    @router.get("/findings")
    def list_findings(
        state: Annotated[list[StateFilter] | None, Query()] = None,
        rule: Annotated[list[str] | None, Query()] = None,
        severity: Annotated[list[Severity] | None, Query()] = None,
        environment: Annotated[Text, Query(description="`unset`: of services that name none.")] = None,
        application: Text = None,
        service: Annotated[Text, Query(description="Any of the services concerned.")] = None,
        table: Text = None,
        database: Annotated[Text, Query(description="A fingerprint.")] = None,
        identity: Annotated[
            Text, Query(description="Who is affected: 32 hex digits of an exported value, or 64.")
        ] = None,
        domain: Domain = "user",
        plain: Annotated[
            bool, Query(description="The services declare the domain plain: identity is the value itself.")
        ] = False,
        incident: Annotated[Text, Query(description="An incident's id.")] = None,
        silenced: Annotated[
            bool | None, Query(description="Only those under a silence, or only the others.")
        ] = None,
        since: Annotated[Text, Query(description="Last seen since: an ISO time or 24h.")] = None,
        until: Annotated[Text, Query(description="First seen before: an ISO time or 24h.")] = None,
        order: Annotated[
            Order,
            Query(description="last_seen: busiest first. opened_at: never changes, for walking over all."),
        ] = "last_seen",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Text = None,
    ) -> FindingList:
        """Findings, latest first. Findings under a silence are marked by ``silenced_by``."""
        wanted = Conditions()
        wanted.states(state)
        wanted.one_of("rule", rule)
        wanted.one_of("severity", [str(one) for one in severity or ()])
        wanted.environment(environment)
        wanted.equal("application", application)
        if service is not None:
            wanted.add(
                "(service = {service:String} OR has(services, {service:String}))",
                service=service,
            )
        wanted.has("tables", "table", table)
        wanted.has("databases", "database", database)
        wanted.identity(exported(namer, identity, domain, plain))
        now = context.now()
        wanted.between(since, until, now)
        wanted.after(cursor, order)
        holding = silences.unexpired(now)
        homes = incidents.homes()
        if incident is not None:
            found_in = incidents.find(incident)
            wanted.one_of("id", [one.id for one in found_in.findings] if found_in else [""])
        # A silence is known by its matchers, which the store cannot apply: more is read, and sorted out here.
        most = limit + 1 if silenced is None else _MOST_READ
        found = store.select(wanted.sql, wanted.values, f"{order} DESC, id", most)
        covered = {one.id: silenced_by(one, holding, now) for one in found}
        if silenced is not None:
            found = [one for one in found if bool(covered[one.id]) is silenced]
        page = found[:limit]
        evidence = store.evidence([one.id for one in page])
        return FindingList(
            items=[
                FindingItem(
                    **finding_fields(one, _shown(evidence[one.id]), covered[one.id], homes.get(one.id, ""))
                )
                for one in page
            ],
            next=encode(page[-1], order) if len(found) > limit else None,
        )

    @router.get("/findings/{finding_id}")
    def get_finding(finding_id: str) -> FindingDetail:
        """One finding in full."""
        return detail(_load(finding_id))

    @router.get("/findings/{finding_id}/history")
    def get_history(finding_id: str) -> History:
        """All that happened to it: who, when, why."""
        _load(finding_id)
        return History(items=[EventItem(**event) for event in store.events(finding_id)])

    def _load(finding_id: str) -> Finding:
        finding = store.load([finding_id]).get(finding_id)
        if finding is None:
            raise HTTPException(404, f"There is no finding {finding_id[:40]!r}; /api/v1/findings lists them.")
        return finding

    def detail(finding: Finding) -> FindingDetail:
        rule = next((one for one in context.rules.loaded.rules if one.id == finding.rule), None)
        texts = finding.texts
        now = context.now()
        return FindingDetail(
            **finding_fields(
                finding,
                store.evidence([finding.id])[finding.id],
                silenced_by(finding, silences.unexpired(now), now),
                incidents.homes().get(finding.id, ""),
            ),
            explanation=texts.explanation,
            remediation=Remediation(now=texts.now, then=texts.then, check=texts.check),
            false_positives=list(rule.definition.false_positives) if rule else [],
            facts=dict(finding.facts),
            trace_ids=list(finding.trace_ids),
            span_ids=list(finding.span_ids),
            events=[EventItem(**event) for event in store.events(finding.id)],
        )

    def change(finding_id: str, note: Note, how: Change) -> ChangedFinding:
        """Change a finding under its lock, so that of two people the second sees what the first has done."""
        with store.changing():
            finding = _load(finding_id)
            if note.request_id and store.is_done(finding.id, note.request_id):
                return ChangedFinding(**dict(detail(finding)), changed=False)
            if note.if_state is not None and finding.state is not note.if_state:
                last = store.events(finding.id)[-1]
                raise HTTPException(
                    409,
                    f"Finding {finding.id} is {finding.state}, no longer {note.if_state}: "
                    f"{last['action'].replace('_', ' ')} by {last['who']} at {last['at']:%Y-%m-%d %H:%M:%S}.",
                )
            after, events = how(finding, note.who.strip() or "somebody", note.why.strip(), context.now())
            events = [replace(event, request_id=note.request_id) for event in events]
            store.save([after] if after is not finding else [], events)
        return ChangedFinding(**dict(detail(after)), changed=bool(events))

    @router.post("/findings/{finding_id}/acknowledge")
    def acknowledge_finding(finding_id: str, note: Note) -> ChangedFinding:
        """Somebody takes it on. Whoever came first has it; a resolved finding stays resolved."""
        return change(finding_id, note, acknowledge)

    @router.post("/findings/{finding_id}/resolve")
    def resolve_finding(finding_id: str, note: Note) -> ChangedFinding:
        """It is mended. It reopens when it is seen again."""
        return change(finding_id, note, partial(resolve, cause=Cause.PERSON))

    @router.post("/findings/{finding_id}/reopen")
    def reopen_finding(finding_id: str, note: Note) -> ChangedFinding:
        """It was not mended after all."""
        return change(finding_id, note, reopen)

    @router.post("/findings/{finding_id}/comment")
    def comment_finding(finding_id: str, note: Note) -> ChangedFinding:
        """A remark; ``why`` is its text."""
        if not note.why.strip():
            raise HTTPException(422, "why: a comment needs a text.")
        return change(finding_id, note, comment)

    return router


def _shown(evidence: list[dict[str, object]]) -> list[dict[str, object]]:
    named = [item for item in evidence if item["named"]]
    return (named or evidence)[:EVIDENCE_IN_LIST]
