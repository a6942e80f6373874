"""One evaluation: a rule's query over one window, its rows as sightings, the sightings as findings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from typing import Any, Final

from trueline.monitor.engine.finding import (
    MAX_IDS,
    Event,
    Finding,
    Sighting,
    State,
    Texts,
    finding_id,
    joined,
    merge,
    opened,
)
from trueline.monitor.engine.ports import Findings, Query
from trueline.monitor.engine.rule import ROW_COLUMNS, Rule
from trueline.monitor.engine.windows import Window
from trueline.monitor.errors import TruelineError

_TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S.%f"


class RuleRowError(TruelineError):
    """A rule returned a row that cannot be a sighting."""


def parameters(rule: Rule, window: Window) -> dict[str, Any]:
    """What the query is bound to. Times are text: the driver would cut a datetime to whole seconds."""
    times = {"start": window.query_start, "end": window.end, "since": window.since}
    return {
        **rule.parameters,
        **{name: moment.astimezone(UTC).strftime(_TIME_FORMAT)[:-3] for name, moment in times.items()},
    }


def evaluate(rule: Rule, window: Window, query: Query) -> list[Sighting]:
    """Run the rule over the window; raises TruelineError where the query fails or a row makes no sense."""
    rows = select(rule, parameters(rule, window), query)
    found: dict[str, Sighting] = {}
    for row in rows:
        if _is_excepted(rule, row):
            continue
        one = sighting(rule, row)
        found[one.finding_id] = combine(found[one.finding_id], one) if one.finding_id in found else one
    return list(found.values())


def select(rule: Rule, bound: Mapping[str, Any], query: Query) -> list[dict[str, Any]]:
    """The rule's rows; none, at little cost, where its trigger finds nothing that could matter."""
    if rule.trigger is not None and not query(rule.trigger.sql, bound):
        return []
    return query(rule.query.sql, bound)


def sighting(rule: Rule, row: Mapping[str, Any]) -> Sighting:
    """Read one result row; raises RuleRowError naming the column that is missing or of the wrong type."""
    missing = [name for name in (*rule.definition.group_by, *ROW_COLUMNS) if name not in row]
    if missing:
        raise RuleRowError(f"rule {rule.id} returned rows without the column {missing[0]}")
    try:
        group = {name: _plain(row[name]) for name in rule.definition.group_by}
        span_ids = _ids(row["span_ids"])
        count = max(int(row["count"]), 1)
        value = float(row["value"])
        return Sighting(
            finding_id=finding_id(rule.id, group),
            group=group,
            first_seen=_moment(row["first_seen"]),
            last_seen=_moment(row["last_seen"]),
            count=count,
            value=value if math.isfinite(value) else 0.0,
            trace_ids=_ids(row["trace_ids"]),
            span_ids=span_ids,
            occurrences=span_ids[:count] or (_moment(row["last_seen"]).isoformat(),),
            services=_ids(row.get("services") or [row.get("service", "")]),
            versions=_ids(row.get("versions") or [row.get("version", "")]),
            facts={name: _plain(value) for name, value in row.items() if name not in ROW_COLUMNS},
        )
    except (TypeError, ValueError) as error:
        raise RuleRowError(f"rule {rule.id} returned a row that cannot be read: {error}") from None


def combine(first: Sighting, second: Sighting) -> Sighting:
    """Two rows of one group, whose query grouped more finely: the later one's facts hold."""
    later = max(first, second, key=lambda one: one.last_seen)
    return replace(
        later,
        first_seen=min(first.first_seen, second.first_seen),
        count=first.count + second.count,
        trace_ids=joined(first.trace_ids, second.trace_ids),
        span_ids=joined(first.span_ids, second.span_ids),
        occurrences=joined(first.occurrences, second.occurrences),
        services=joined(first.services, second.services),
        versions=joined(first.versions, second.versions),
    )


def apply(
    rule: Rule, sightings: Sequence[Sighting], window: Window, findings: Findings, now: datetime
) -> list[Finding]:
    """Turn sightings into findings and store them; returns those that were opened or changed.

    Idempotent: the same sightings again change nothing, be it that windows overlap or that the process died
    half-way. Occurrences are stored last, so whatever was not finished is done again.
    """
    if not sightings:
        return []
    by_id = {one.finding_id: one for one in sightings}
    changed: list[Finding] = []
    events: list[Event] = []
    with findings.changing():
        known = findings.load(list(by_id))
        fresh = findings.unseen({one: seen.occurrences for one, seen in by_id.items()})
        counts = findings.occurrence_counts(list(by_id))
        for one, seen in by_id.items():
            alone = _finding(rule, seen, window, now)
            before = known.get(one)
            if before is None:
                after, made = alone, [opened(alone)]
            else:
                total = counts.get(one, 0) + len(fresh.get(one, ()))
                after, made = merge(before, alone, fresh=bool(fresh.get(one)), total=total)
            if after is not before:
                changed.append(replace(after, texts=_texts(rule, seen, after)))
                events.extend(made)
        findings.save(changed, events)
    findings.copy_evidence(changed)
    findings.add_occurrences({one: ids for one, ids in fresh.items() if ids})
    return changed


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


def _is_excepted(rule: Rule, row: Mapping[str, Any]) -> bool:
    return any(
        all(fnmatchcase(str(row.get(name, "")), pattern) for name, pattern in exception.match.items())
        for exception in rule.definition.exceptions
    )


def _moment(value: Any) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} is not a time")
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _ids(value: Any) -> tuple[str, ...]:
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise TypeError(f"{value!r} is not a list")
    return tuple(dict.fromkeys(str(item) for item in value if str(item)))


def _plain(value: Any) -> Any:
    """A JSON value: what a finding's group and facts are made of."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return _moment(value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)
