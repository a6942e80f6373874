"""The summary against its source: is a derived table as new as what it is made from?"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from trueline.monitor.diagnose.check import FOLLOW, Check, Status, moment, seen
from trueline.monitor.diagnose.checks.timing import span
from trueline.monitor.diagnose.facts import Derived, Facts

_QUESTION: Final = "is the summary as new as its source?"
#: How far a derived table may be behind where nothing is declared, as in the rule stale_summary.
DEFAULT_WITHIN: Final = timedelta(minutes=5)


def cache(facts: Facts) -> Check:
    """For each derived table, compare the last committed writes of source and derived table."""
    if not facts.lineage:
        return Check(
            "cache",
            _QUESTION,
            Status.SKIPPED,
            "No lineage is declared, so that nothing says which table is made from which.",
            next=("declare summaries under `lineage` in trueline.yaml",),
        )
    touched = set(facts.tables())
    checks = [_one(facts, one) for one in facts.lineage if {one.table, *one.sources} & touched]
    for wanted in (Status.FAULT, Status.UNKNOWN, Status.OK):
        for check in checks:
            if check.status is wanted:
                return check
    return Check("cache", _QUESTION, Status.SKIPPED, "No declared summary has to do with this identity.")


def _one(facts: Facts, derived: Derived) -> Check:
    sources = [one for source in derived.sources for one in facts.committed(source)]
    if not sources:
        return Check(
            "cache", _QUESTION, Status.SKIPPED, f"Nothing was written that {derived.table} is made of."
        )
    source = max(sources, key=lambda one: one.ended)
    rebuilt = next(iter(facts.committed(derived.table)), None)
    if derived.filled_by != "application":
        return Check(
            "cache",
            _QUESTION,
            Status.UNKNOWN,
            f"{derived.table} is declared to be filled by {derived.filled_by}, which sends no telemetry.",
            (seen(source),),
            (f"look at the newest row of {derived.table} for this identity",),
        )
    within = derived.within or DEFAULT_WITHIN
    if rebuilt is not None and rebuilt.ended >= source.ended:
        return Check(
            "cache",
            _QUESTION,
            Status.OK,
            f"Yes: {derived.table} was rebuilt at {moment(rebuilt.ended)}, "
            f"{span(rebuilt.ended - source.ended)} after {source.table}.",
            (seen(source), seen(rebuilt)),
        )
    if derived.made_for_all is not None and derived.made_for_all >= source.ended:
        return Check(
            "cache",
            _QUESTION,
            Status.OK,
            f"Yes: {derived.table} was written at {moment(derived.made_for_all)}, "
            f"{span(derived.made_for_all - source.ended)} after {source.table}, by a statement that does not "
            "say for whom.",
            (seen(source),),
        )
    if derived.unseen_writer:
        return Check(
            "cache",
            _QUESTION,
            Status.UNKNOWN,
            f"No statement that writes {derived.table} was seen in a day: something that sends no telemetry "
            "fills it (a trigger, a materialized view), or nothing does.",
            (seen(source),),
            (
                f"look at the newest row of {derived.table} for this identity",
                "say in trueline.yaml what fills it (`filled_by`)",
            ),
        )
    lag = facts.now - source.ended
    if lag <= within:
        return Check(
            "cache",
            _QUESTION,
            Status.UNKNOWN,
            f"{source.table} was written {span(lag)} ago and {derived.table} is not rebuilt yet; it may be "
            f"{span(within)} behind.",
            (seen(source),),
            ("look again when that time is over",),
        )
    made_from = f"{source.table}, which it is made from{' (learned)' if derived.learned else ''},"
    last = f"since {moment(rebuilt.ended)}" if rebuilt else f"since before {moment(facts.since)}"
    return Check(
        "cache",
        _QUESTION,
        Status.FAULT,
        f"{derived.table} was not rebuilt {last}, though {made_from} was written "
        f"at {moment(source.ended)} by {source.who}: {span(lag)} behind, {span(within)} allowed.",
        (seen(source), *((seen(rebuilt),) if rebuilt else ())),
        (f"run what rebuilds {derived.table}, and find out why it did not run", FOLLOW),
    )
