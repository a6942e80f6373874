"""All checks on the facts, and the one line that says which it is. Pure: no clock, no store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from trueline.monitor.diagnose.check import Check, Status
from trueline.monitor.diagnose.checks.cache import cache
from trueline.monitor.diagnose.checks.commit import commit
from trueline.monitor.diagnose.checks.coverage import coverage
from trueline.monitor.diagnose.checks.environment import environment
from trueline.monitor.diagnose.checks.keys import keys
from trueline.monitor.diagnose.checks.processes import processes
from trueline.monitor.diagnose.checks.readback import readback
from trueline.monitor.diagnose.checks.timing import timing
from trueline.monitor.diagnose.facts import Access, Facts
from trueline.monitor.diagnose.probe import LiveProbe


class Verdict(StrEnum):
    """Which it is."""

    ENVIRONMENT = "environment"
    KEYS = "keys"
    COMMIT = "commit"
    TIMING = "timing"
    CACHE = "cache"
    HEALTHY = "healthy"
    CANNOT_TELL = "cannot_tell"


@dataclass(frozen=True, slots=True)
class TableSides:
    """One table: the last write beside the last read."""

    table: str
    last_write: Access | None
    last_committed_write: Access | None
    last_read: Access | None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The verdict in one line, every check with its evidence, and what to do next."""

    verdict: Verdict
    sentence: str
    also: tuple[str, ...]
    checks: tuple[Check, ...]
    tables: tuple[TableSides, ...]
    next: tuple[str, ...]


_CHECKS: Final = (processes, commit, environment, keys, timing, cache, readback, coverage)
#: Which fault explains the others: what was never committed nobody reads, in the wrong database every key
#: is wrong, and a summary is as good as what it was made from.
_ORDER: Final = (Verdict.COMMIT, Verdict.ENVIRONMENT, Verdict.KEYS, Verdict.TIMING, Verdict.CACHE)
#: Checks whose "unknown" forbids to say healthy.
_NEEDED: Final = ("commit", "readback", "timing")


def diagnose(facts: Facts, probes: Sequence[LiveProbe] = ()) -> Diagnosis:
    """Judge the facts; ``probes`` add what application databases say themselves."""
    checks = [check(facts) for check in _CHECKS]
    live = [probe.probe(facts) for probe in probes]
    by_id = {check.id: check for check in checks}
    faults = [by_id[verdict.value] for verdict in _ORDER if by_id[verdict.value].status is Status.FAULT]
    faults += [check for check in live if check.status is Status.FAULT]
    verdict, sentence, steps = _verdict(by_id, faults)
    return Diagnosis(
        verdict=verdict,
        sentence=sentence,
        also=tuple(f"{check.id}: {check.sentence}" for check in faults[1:]),
        checks=(*checks, *live),
        tables=tuple(
            _sides(facts, table) for table in sorted(facts.tables(), key=lambda one: _rank(facts, one))
        ),
        next=steps,
    )


def _verdict(by_id: dict[str, Check], faults: list[Check]) -> tuple[Verdict, str, tuple[str, ...]]:
    if faults:
        first = faults[0]
        known = next((one for one in _ORDER if one.value == first.id), Verdict.KEYS)
        return known, f"{known.upper()}: {first.sentence}", first.next
    doubts = [by_id[name] for name in _NEEDED if by_id[name].status is Status.UNKNOWN]
    if not doubts and by_id["readback"].status is Status.OK:
        return Verdict.HEALTHY, f"HEALTHY: {_plain(by_id['readback'].sentence)}", ()
    if by_id["coverage"].status is Status.UNKNOWN:
        doubts.append(by_id["coverage"])
    if not doubts:
        doubts = [by_id["readback"]]
    reasons = [*(check.sentence for check in doubts[:2])]
    if doubts[-1].id == "coverage":
        reasons += [one.text for one in doubts[-1].evidence[:2]]
    steps = tuple(dict.fromkeys(step for check in doubts for step in check.next))
    return Verdict.CANNOT_TELL, f"CANNOT TELL: {' '.join(dict.fromkeys(reasons))}", steps


def _plain(sentence: str) -> str:
    return sentence.removeprefix("Yes: ")


def _ranked(facts: Facts) -> list[str]:
    return sorted(facts.tables(), key=lambda table: _rank(facts, table))


def _rank(facts: Facts, table: str) -> int:
    """Tables that were both written and read first, those that were only read last."""
    return 0 if facts.writes(table) and facts.reads(table) else 1 if facts.writes(table) else 2


def _sides(facts: Facts, table: str) -> TableSides:
    return TableSides(
        table,
        next(iter(facts.writes(table)), None),
        next(iter(facts.committed(table)), None),
        next(iter(facts.reads(table)), None),
    )
