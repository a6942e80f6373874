"""Sightings become findings: new ones are opened, known ones extended, each rule kept to its limit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from trueline.monitor.engine.finding import (
    ENGINE,
    MAX_IDS,
    Cause,
    Event,
    Finding,
    Sighting,
    State,
    Texts,
    finding_id,
    merge,
    opened,
    resolve,
)
from trueline.monitor.engine.ports import Findings
from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.windows import Window

#: Findings of one rule that are active at once. A rule that finds more is most likely wrong, or one fault is
#: everywhere: a thousand pages would help nobody.
MAX_ACTIVE: Final = 100
#: The group of the one finding that says that a rule is over its limit.
OVER_LIMIT: Final[Mapping[str, bool]] = {"over_limit": True}
#: A newcomer takes another's place only if it is so many times as bad: places do not go to and fro.
_WORSE: Final = 2


def apply(
    rule: Rule,
    sightings: Sequence[Sighting],
    window: Window,
    findings: Findings,
    now: datetime,
    limit: int = MAX_ACTIVE,
) -> list[Finding]:
    """Turn sightings into findings and store them; returns those that were opened or changed.

    Idempotent: the same sightings again change nothing, be it that windows overlap or that the process died
    half-way. Occurrences are stored last, so whatever was not finished is done again.
    """
    if not sightings:
        return []
    by_id = {one.finding_id: one for one in sightings}
    with findings.changing():
        known = findings.load(list(by_id))
        fresh = findings.unseen({one: seen.occurrences for one, seen in by_id.items()})
        counts = findings.occurrence_counts(list(by_id))
        steps: list[_Step] = []
        for one, seen in by_id.items():
            alone = _finding(rule, seen, window, now)
            before = known.get(one)
            if before is None:
                steps.append(_Step(None, alone, [opened(alone)]))
                continue
            total = counts.get(one, 0) + len(fresh.get(one, ()))
            after, events = merge(before, alone, fresh=bool(fresh.get(one)), total=total)
            if after is not before:
                steps.append(_Step(before, after, events))
        kept, left_out, displaced = _within_limit(rule, steps, findings, now, limit)
        for step in kept:
            if step.before is None:
                step.after = replace(step.after, since=findings.since(step.after))
            step.after = replace(step.after, texts=_texts(rule, by_id[step.after.id], step.after))
        for step in left_out:
            fresh.pop(step.after.id, None)
        if left_out:
            over, ids = _over_limit(rule, [step.after for step in left_out], findings, now, limit)
            if over is not None:
                kept.append(over)
            fresh[_over_limit_id(rule)] = set(ids)
        findings.save(
            [step.after for step in (*displaced, *kept)],
            [event for step in (*displaced, *kept) for event in step.events],
        )
    changed = [step.after for step in (*kept, *displaced)]
    findings.copy_evidence([step.after for step in kept])
    findings.add_occurrences({one: ids for one, ids in fresh.items() if ids})
    return changed


@dataclass
class _Step:
    """What becomes of one finding. ``before`` is None for a new one."""

    before: Finding | None
    after: Finding
    events: list[Event]

    @property
    def needs_place(self) -> bool:
        """Whether it becomes active by this step."""
        return self.after.is_active and (self.before is None or not self.before.is_active)


def _badness(finding: Finding) -> tuple[int, float, datetime, str]:
    return finding.count, finding.value, finding.last_seen, finding.id


def _within_limit(
    rule: Rule, steps: Sequence[_Step], findings: Findings, now: datetime, limit: int
) -> tuple[list[_Step], list[_Step], list[_Step]]:
    """Steps that are taken, steps for which there is no place, and steps that make place: worst first.

    What somebody has acknowledged keeps its place.
    """
    wanting = sorted((step for step in steps if step.needs_place), key=lambda step: _badness(step.after))
    kept = [step for step in steps if not step.needs_place]
    if not wanting:
        return kept, [], []
    active = {one.id: one for one in findings.active(rule.id) if one.group != OVER_LIMIT}
    active.update({step.after.id: step.after for step in kept if step.after.is_active})
    weak = sorted((one for one in active.values() if one.state is not State.ACKNOWLEDGED), key=_badness)
    places = limit - len(active)
    displaced: list[_Step] = []
    while wanting:
        step = wanting[-1]
        if places > 0:
            places -= 1
        elif weak and step.after.count >= _WORSE * weak[0].count:
            loser = weak.pop(0)
            why = f"rule {rule.id} keeps {limit} findings, and a worse one needed the place"
            after, events = resolve(loser, ENGINE, why, now, Cause.OVER_LIMIT)
            kept = [other for other in kept if other.after.id != loser.id]
            displaced.append(_Step(loser, after, events))
        else:
            break
        kept.append(wanting.pop())
    return kept, wanting, displaced


def _over_limit_id(rule: Rule) -> str:
    return finding_id(rule.id, OVER_LIMIT)


def _over_limit(
    rule: Rule, left_out: Sequence[Finding], findings: Findings, now: datetime, limit: int
) -> tuple[_Step | None, Collection[str]]:
    """The one finding that says how many groups there was no place for; each group is an occurrence of it."""
    one = _over_limit_id(rule)
    ids = findings.unseen({one: [finding.id for finding in left_out]})[one]
    worst = max(left_out, key=_badness)
    before = findings.load([one]).get(one)
    total = findings.occurrence_counts([one]).get(one, 0) + len(ids)
    alone = replace(
        worst,
        id=one,
        title=f"Rule {rule.id} finds more than it may keep",
        group=OVER_LIMIT,
        facts={"left_out": total, "limit": limit},
        count=total,
        value=float(total),
        first_seen=min(finding.first_seen for finding in left_out),
        last_seen=max(finding.last_seen for finding in left_out),
        state=State.OPEN,
        opened_at=now,
        updated_at=now,
        resolved_at=None,
        resolved_by=None,
        acknowledged_by="",
        since=None,
    )
    # Still over the limit with the same groups is news too: it must not fall silent.
    after, events = (
        (alone, [opened(alone)])
        if before is None
        else merge(before, alone, fresh=bool(ids) or worst.last_seen > before.last_seen, total=total)
    )
    if after is before:
        return None, ids
    return _Step(before, replace(after, texts=_over_limit_texts(rule, total, limit)), events), ids


def _over_limit_texts(rule: Rule, left_out: int, limit: int) -> Texts:
    return Texts(
        summary=f"{rule.id} keeps its {limit} worst findings; {left_out} more are not shown.",
        explanation=f"The rule `{rule.id}` ({rule.definition.title}) has {limit} active findings, as many as "
        f"are kept, and {left_out} more groups fit it. Either one fault is everywhere, or the rule does "
        "not fit this application.",
        now=f"Look at the worst ones: `trueline findings --rule {rule.id}`. One cause often makes all.",
        then="Mend the cause. If what the rule finds is right, set its parameters or add an exception to it.",
        check="This finding resolves by itself when the rule has found no more than it may keep for as long "
        "as its findings take to resolve.",
    )


def _finding(rule: Rule, seen: Sighting, window: Window, now: datetime) -> Finding:
    """The finding as this sighting alone would make it."""
    return Finding(
        id=seen.finding_id,
        rule=rule.id,
        rule_version=rule.definition.version,
        rule_revision=rule.revision,
        title=rule.definition.title,
        severity=rule.definition.severity,
        state=State.OPEN,
        environment=str(seen.facts.get("environment", "")),
        application=str(seen.facts.get("application", "")),
        service=seen.services[0] if seen.services else "",
        services=seen.services,
        versions=seen.versions,
        group=seen.group,
        facts=seen.facts,
        texts=Texts("", "", "", "", ""),
        first_seen=seen.first_seen,
        last_seen=seen.last_seen,
        opened_at=now,
        last_arrival_at=window.end,
        updated_at=now,
        resolved_at=None,
        resolved_by=None,
        count=seen.count,
        value=seen.value,
        trace_ids=seen.trace_ids[:MAX_IDS],
        span_ids=seen.span_ids[:MAX_IDS],
    )


def _texts(rule: Rule, seen: Sighting, finding: Finding) -> Texts:
    """The rule's texts on the latest row, with the finding's own counts and times."""
    values = {
        **seen.facts,
        "params": rule.parameters,
        "first_seen": finding.first_seen,
        "last_seen": finding.last_seen,
        "count": finding.count,
        "value": finding.value,
        "trace_ids": list(finding.trace_ids),
        "span_ids": list(finding.span_ids),
    }
    return Texts(**{name: template.render(values) for name, template in rule.templates.items()})
