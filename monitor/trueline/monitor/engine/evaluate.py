"""One evaluation: a rule's query over one window, and its rows as sightings."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Final

from trueline.monitor.engine.exceptions import sift
from trueline.monitor.engine.finding import Sighting, finding_id, joined
from trueline.monitor.engine.ports import Query
from trueline.monitor.engine.record import apply as apply
from trueline.monitor.engine.rule import CANDIDATES, ROW_COLUMNS, Rule
from trueline.monitor.engine.windows import Window
from trueline.monitor.errors import TruelineError

_TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S.%f"


#: A trigger's last words: at most so many candidates, in no order that would say which ones matter.
_AT_MOST: Final = re.compile(r"(?<!\w)LIMIT\s+(\d+)\s*$", re.IGNORECASE)
_ORDERED: Final = re.compile(r"\bORDER\s+BY\b[^()]*$", re.IGNORECASE)
#: Windows of up to so many intervals are judged whatever the number of candidates: they get no shorter.
_SHORT: Final = 4


class CandidatesError(TruelineError):
    """A trigger found as many candidates as it returns at most: some would not be judged."""


class RuleRowError(TruelineError):
    """A rule returned a row that cannot be a sighting."""


def parameters(rule: Rule, window: Window) -> dict[str, Any]:
    """What the query is bound to. Times are text: the driver would cut a datetime to whole seconds."""
    times = {"start": window.query_start, "end": window.end, "since": window.since}
    return {
        **rule.parameters,
        **{name: moment.astimezone(UTC).strftime(_TIME_FORMAT)[:-3] for name, moment in times.items()},
    }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one evaluation shows: sightings, one a group, and by exception (its number from 0) the ids of the
    findings that it keeps from being made.
    """

    sightings: list[Sighting]
    excepted: Mapping[int, frozenset[str]]


def evaluate(rule: Rule, window: Window, query: Query) -> Evaluation:
    """Run the rule over the window; raises TruelineError where the query fails or a row makes no sense.

    Also where the trigger reaches its LIMIT and the window is long (much to catch up): halves of it have
    fewer candidates.
    """
    whole = window.end - window.start > _SHORT * rule.definition.interval
    sifted = sift(rule.definition.exceptions, select(rule, parameters(rule, window), query, whole=whole))
    found: dict[str, Sighting] = {}
    for row in sifted.rows:
        one = sighting(rule, row)
        found[one.finding_id] = combine(found[one.finding_id], one) if one.finding_id in found else one
    excepted = {
        number: frozenset(sighting(rule, row).finding_id for row in rows)
        for number, rows in sifted.taken.items()
    }
    return Evaluation(list(found.values()), excepted)


def select(
    rule: Rule, bound: Mapping[str, Any], query: Query, *, whole: bool = False
) -> list[dict[str, Any]]:
    """The rule's rows; none, at little cost, where its trigger finds nothing that could matter.

    The trigger's rows are the query's candidates. As parameters, not as a subquery: the engine would work
    that out again wherever the query names it, and could not use it to skip what need not be read. With
    ``whole`` none may be missing: raises CandidatesError where the trigger's LIMIT may have left some out.
    """
    if rule.trigger is None:
        return query(rule.query.sql, bound)
    found = query(rule.trigger.sql, bound)
    if not found:
        return []
    most = _AT_MOST.search(rule.trigger.sql) if whole and rule.definition.type == "event" else None
    if most and len(found) >= int(most[1]) and not _ORDERED.search(rule.trigger.sql[: most.start()]):
        raise CandidatesError(
            f"rule {rule.id} has {len(found)} candidates in this window, "
            "as many as its trigger returns at most"
        )
    return query(rule.query.sql, {**bound, **candidates(rule, found)})


def candidates(rule: Rule, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The trigger's rows as the query's parameters; empty lists where it found none."""
    if not found:
        return {name: [] for name in rule.query.parameters if name.partition("_")[0] == CANDIDATES}
    columns = {f"{CANDIDATES}_{name}": [row[name] for row in found] for name in found[0]}
    return {CANDIDATES: [tuple(row.values()) for row in found], **columns}


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
            absent=(_moment(row["absent_from"]), _moment(row["absent_until"]))
            if "absent_from" in row and "absent_until" in row
            else None,
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
