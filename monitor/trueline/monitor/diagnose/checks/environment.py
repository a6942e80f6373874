"""The last write beside the last read: are they in the same database and schema?"""

from __future__ import annotations

from typing import Final

from trueline.monitor.diagnose.check import FOLLOW, Check, Status, seen
from trueline.monitor.diagnose.facts import Access, Facts

_QUESTION: Final = "is it read from the database that it was written to?"


def environment(facts: Facts) -> Check:
    """For each table, compare each reader's last read with the last write committed before it."""
    together: list[tuple[Access, Access]] = []
    for table in facts.tables():
        for read in facts.readers(table):
            written = _written_before(facts, table, read)
            if written is None:
                continue
            if not _is_cut_off(facts, read, written):
                together.append((written, read))
                continue
            return Check(
                "environment",
                _QUESTION,
                Status.FAULT,
                f"{table} is written to {written.place} by {written.who}, but {read.who} reads it from "
                f"{read.place}: two different databases.",
                (seen(written), seen(read)),
                (
                    *_variables(written, read),
                    f"trueline databases --environment {read.environment or 'unset'}",
                    f"restart {read.service} with the right URL",
                    FOLLOW,
                ),
            )
    if not together:
        return Check("environment", _QUESTION, Status.SKIPPED, "No table of it was both written and read.")
    written, read = together[0]
    return Check(
        "environment",
        _QUESTION,
        Status.OK,
        f"Yes: {written.table} is written and read on {written.place}"
        + (f", read from its replica {read.place}." if read.place.role == "replica" else "."),
        (seen(written), seen(read)),
    )


def _written_before(facts: Facts, table: str, read: Access) -> Access | None:
    """The last write of the reader's environment that it could have seen."""
    return next(
        (
            one
            for one in facts.committed(table)
            if one.at <= read.at and one.environment == read.environment and one.rows != 0
        ),
        None,
    )


def _is_cut_off(facts: Facts, read: Access, written: Access) -> bool:
    """Whether the reader looks elsewhere, and nobody keeps the table up to date where it looks.

    An identity that is written in both places (shards on the move, double writing) is not cut off. Nor is one
    whose reader looks at another service's table of the same name.
    """
    if not facts.apart(read.place, written.place):
        return False
    if any(
        one.table == read.table
        and one.environment == read.environment
        and one.service != written.service
        and not facts.apart(one.place, read.place)
        and facts.apart(one.place, written.place)
        for one in facts.writers
    ):
        return False
    writes = [one for one in facts.committed(read.table) if one.environment == read.environment]
    began = min(one.at for one in writes if not facts.apart(one.place, written.place))
    return not any(one.at >= began and not facts.apart(one.place, read.place) for one in writes)


def _variables(written: Access, read: Access) -> tuple[str, ...]:
    if read.place.url_variable and read.place.url_variable == written.place.url_variable:
        return (
            f"compare {read.place.url_variable} in {written.who} ({written.place.url}) and in {read.who} "
            f"({read.place.url})",
        )
    names = [f"{one.place.url_variable or 'the database URL'} of {one.who}" for one in (written, read)]
    return (f"compare {names[0]} with {names[1]}",)
