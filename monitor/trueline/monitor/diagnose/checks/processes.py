"""Fingerprint parity: do all processes of the application that name one variable reach one database?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from trueline.monitor.diagnose.check import Check, Evidence, Status, moment
from trueline.monitor.diagnose.facts import Facts, Process

_QUESTION: Final = "do the processes reach the same database?"
#: A process that was not heard of for so long may be gone.
_RECENT: Final = timedelta(hours=24)


def processes(facts: Facts) -> Check:
    """Compare the databases behind each environment variable, and behind each kind of process.

    Never a fault by itself: shards, tenants and a service's own database look the same from here. The
    statements of the identity decide.
    """
    here = [one for one in facts.processes if one.last_seen and one.last_seen >= facts.now - _RECENT]
    if not here:
        return Check("processes", _QUESTION, Status.UNKNOWN, "No process has told which database it reaches.")
    evidence = tuple(_line(one) for one in here[:12])
    by_variable: dict[tuple[str, str, str], list[Process]] = defaultdict(list)
    for one in here:
        if one.place.url_variable:
            by_variable[(one.environment, one.application, one.place.url_variable)].append(one)
    for (_, _, variable), group in by_variable.items():
        pair = _apart(facts, group)
        if pair is not None:
            first, second = pair
            return Check(
                "processes",
                _QUESTION,
                Status.UNKNOWN,
                f"{variable} leads {_who(first)} to {first.place} and {_who(second)} to {second.place}: two "
                "databases behind one variable. That is right only for shards, tenants or a service's own "
                "database.",
                evidence,
                (f"compare {variable} in {_who(first)} and in {_who(second)}",),
            )
    pair = _apart(facts, here)
    if pair is not None:
        first, second = pair
        return Check(
            "processes",
            _QUESTION,
            Status.OK,
            f"Each variable leads to one database; the processes use {len(_places(facts, here))} databases "
            "in all.",
            evidence,
        )
    return Check("processes", _QUESTION, Status.OK, _together(here), evidence)


def _together(here: Sequence[Process]) -> str:
    if len(here) == 1:
        return f"Only one is known, {_who(here[0])}: it reaches {here[0].place}."
    return f"Yes: all {len(here)} reach {here[0].place}."


def _apart(facts: Facts, group: Sequence[Process]) -> tuple[Process, Process] | None:
    """Two of different databases, the ones heard of last first."""
    ordered = sorted(group, key=lambda one: one.last_seen or facts.since, reverse=True)
    for place, first in enumerate(ordered):
        for second in ordered[place + 1 :]:
            if facts.apart(first.place, second.place):
                return first, second
    return None


def _places(facts: Facts, group: Sequence[Process]) -> list[Process]:
    kept: list[Process] = []
    for one in group:
        if all(facts.apart(one.place, other.place) for other in kept):
            kept.append(one)
    return kept


def _who(one: Process) -> str:
    version = f" {one.versions[-1]}" if one.versions else ""
    return f"{one.service}{version}" + (f" ({one.process_kind})" if one.process_kind else "")


def _line(one: Process) -> Evidence:
    variable = f", from {one.place.url_variable}" if one.place.url_variable else ""
    role = f", {one.place.role}" if one.place.role in ("primary", "replica") else ""
    since = f", since {moment(one.first_seen)}" if one.first_seen else ""
    return Evidence(
        f"{_who(one)}: {one.place}{variable}, fingerprint {one.place.database or 'unknown'}{role}{since}",
        one.last_seen,
    )
