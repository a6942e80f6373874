"""How far "try again now" has come: written, committed, read back, equal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trueline.monitor.diagnose.check import Evidence, Status, ending, moment, seen
from trueline.monitor.diagnose.checks.environment import environment
from trueline.monitor.diagnose.checks.keys import keys
from trueline.monitor.diagnose.facts import Access, Facts


@dataclass(frozen=True, slots=True)
class Step:
    """One of the four. ``status`` unknown: not seen yet."""

    id: str
    status: Status
    sentence: str
    evidence: tuple[Evidence, ...] = ()


def progress(facts: Facts) -> tuple[Step, ...]:
    """The four steps, on facts that begin when somebody was asked to try again.

    The table that counts is the one written last among those that were read too; else the one written last.
    """
    table = _table(facts)
    if table is None:
        return tuple(
            Step(name, Status.UNKNOWN, "waiting") for name in ("written", "committed", "read back", "equal")
        )
    written = facts.writes(table)[0]
    steps = [
        Step("written", Status.OK, f"{table} by {written.who} at {moment(written.at)}", (seen(written),)),
        _committed(facts, table, written),
    ]
    if steps[-1].status is not Status.OK:
        waiting = [Step(name, Status.UNKNOWN, "waiting") for name in ("read back", "equal")]
        return (*steps, *waiting)
    return (*steps, *_read(facts, table, facts.committed(table)[0]))


def is_done(steps: Sequence[Step]) -> bool:
    """Whether all four are seen and right."""
    return all(step.status is Status.OK for step in steps)


def _table(facts: Facts) -> str | None:
    written = [table for table in facts.tables() if facts.writes(table)]
    both = [table for table in written if facts.reads(table)]
    return next(iter(both or written), None)


def _committed(facts: Facts, table: str, written: Access) -> Step:
    if written.is_committed:
        return Step("committed", Status.OK, f"at {moment(written.ended)} on {written.place}")
    if written.outcome == "open":
        return Step("committed", Status.UNKNOWN, "the transaction is still open")
    return Step("committed", Status.FAULT, ending(written), (seen(written),))


def _read(facts: Facts, table: str, written: Access) -> tuple[Step, Step]:
    after = [one for one in facts.reads(table) if one.at >= written.ended]
    if not after:
        return (Step("read back", Status.UNKNOWN, "waiting"), Step("equal", Status.UNKNOWN, "waiting"))
    read = after[0]
    rows = "" if read.rows is None else f", {read.rows} row{'' if read.rows == 1 else 's'}"
    back = Step("read back", Status.OK, f"by {read.who} at {moment(read.at)}{rows}", (seen(read),))
    for check in (environment(facts), keys(facts)):
        if check.status is Status.FAULT:
            return back, Step("equal", Status.FAULT, check.sentence, check.evidence)
    if read.rows == 0:
        said = "it finds no row, on the same database by the same key"
        return back, Step("equal", Status.FAULT, said, (seen(read),))
    key = f" by {read.spoken_keys}" if read.columns else ""
    return back, Step("equal", Status.OK, f"same database{key}{rows}")
