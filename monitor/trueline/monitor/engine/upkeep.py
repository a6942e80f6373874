"""What happens to findings without anything new: evidence is completed, and what is over is resolved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from trueline.monitor.engine.evaluate import parameters
from trueline.monitor.engine.finding import ENGINE, Cause, Event, Finding, prove_healthy, resolve
from trueline.monitor.engine.ports import Findings, Query
from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.rule_state import RuleState
from trueline.monitor.engine.windows import Window
from trueline.monitor.errors import TruelineError

#: So long after a sighting, spans that ended later (the request around it) are still added to its evidence.
EVIDENCE_AGE: Final = timedelta(minutes=2)


def tend(state: RuleState, findings: Findings, query: Query, now: datetime) -> Iterator[Finding]:
    """Look after the rule's active findings; yields those that are resolved, as they are.

    Raises TruelineError where the store, or the rule's proof of health, fails.
    """
    active = findings.active(state.rule.id)
    findings.copy_evidence([one for one in active if now - one.updated_at <= EVIDENCE_AGE])
    if state.covered_until is None or not active:
        return
    yield from _silent(state, state.covered_until, active, findings, now)
    yield from _healthy(state, state.covered_until, findings, query, now)


def resolve_orphans(rules: Mapping[str, Rule], findings: Findings, now: datetime, *, complete: bool) -> None:
    """Resolve findings of rules that mean something else now, and if ``complete``, of those that are gone."""
    with findings.changing():
        changed: list[Finding] = []
        events: list[Event] = []
        for finding in findings.active():
            rule = rules.get(finding.rule)
            if rule is None and complete:
                why, cause = f"rule {finding.rule} is no longer loaded", Cause.RULE_REMOVED
            elif rule is not None and finding.rule_revision != rule.revision:
                version = rule.definition.version
                why, cause = f"rule {finding.rule} was changed, now version {version}", Cause.RULE_CHANGED
            else:
                continue
            resolved, made = resolve(finding, ENGINE, why, now, cause)
            changed.append(resolved)
            events.extend(made)
        findings.save(changed, events)


def _silent(
    state: RuleState, covered: datetime, active: list[Finding], findings: Findings, now: datetime
) -> Iterator[Finding]:
    """Silence is counted in judged time, and only while the finding's environment was heard in the second
    half of it: neither a rule that could not run nor services that stopped sending mean that all is well.
    """
    after = state.rule.definition.resolve.after
    if state.quiet_since is not None and covered - state.quiet_since < after:
        return
    for candidate in active:
        if covered - candidate.last_arrival_at < after:
            continue
        if not findings.is_heard(candidate, covered - after / 2):
            continue
        with findings.changing():
            # Read again: somebody may have changed it, or it may have been seen meanwhile.
            current = findings.load([candidate.id]).get(candidate.id)
            if current is None or not current.is_active or covered - current.last_arrival_at < after:
                continue
            why = f"no new occurrence for {spoken(after)}, while telemetry kept arriving"
            resolved, events = resolve(current, ENGINE, why, now, Cause.SILENCE)
            findings.save([resolved], events)
        yield resolved


def _healthy(
    state: RuleState, covered: datetime, findings: Findings, query: Query, now: datetime
) -> Iterator[Finding]:
    """What the rule's own query proves to be well again."""
    rule = state.rule
    if rule.healthy is None:
        return
    start = min(state.proved_until or covered - rule.definition.window, covered)
    window = Window(start, start, covered, covered - rule.definition.lookback, covered)
    try:
        proofs = query(rule.healthy.sql, parameters(rule, window))
    except TruelineError as error:
        raise TruelineError(f"resolve.healthy: {error}") from error
    state.proved_until = covered
    for row in proofs:
        moment = row["healthy_at"]
        healthy_at = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        same = {name: value for name, value in row.items() if name in rule.definition.group_by}
        if not same:
            continue
        for candidate in findings.active(rule.id):
            if not _agrees(candidate, same) or healthy_at <= candidate.last_seen:
                continue
            with findings.changing():
                current = findings.load([candidate.id]).get(candidate.id)
                if current is None or not current.is_active:
                    continue
                said = str(row.get("proof") or "it was seen to work again")
                proof = f"{said}, at {healthy_at:%Y-%m-%d %H:%M:%S} UTC"
                resolved, events = prove_healthy(current, healthy_at, proof, now)
                if not events:
                    continue
                findings.save([resolved], events)
            yield resolved


def _agrees(finding: Finding, same: Mapping[str, Any]) -> bool:
    return all(str(finding.group.get(name)) == str(value) for name, value in same.items())


def spoken(span: timedelta) -> str:
    """``1 hour``, ``90 seconds``."""
    seconds = span.total_seconds()
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            number = int(seconds // size)
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{seconds:g} seconds"
