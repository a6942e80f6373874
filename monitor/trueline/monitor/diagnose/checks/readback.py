"""The proof of health: a read after the commit, in the same place, by the same key, that found it."""

from __future__ import annotations

from typing import Final

from trueline.monitor.diagnose.check import Check, Status, seen, timeline
from trueline.monitor.diagnose.checks.keys import keys
from trueline.monitor.diagnose.facts import Access, Facts

_QUESTION: Final = "does a read find what was written last?"


def readback(facts: Facts) -> Check:
    """Ok only where it is proved, fault never: what is wrong the other checks say."""
    found: list[tuple[Access, Access]] = []
    empty: list[tuple[Access, Access]] = []
    earlier: list[tuple[Access, Access]] = []
    if keys(facts).status is Status.FAULT:
        return Check("readback", _QUESTION, Status.SKIPPED, "Not by another key than it is written under.")
    for table in facts.tables():
        for read in facts.readers(table):
            there = [one for one in facts.committed(table) if _is_read_by(facts, one, read)]
            written = next((one for one in there if one.ended <= read.at), None)
            if written is not None:
                # An unknown number of rows under the right key is taken for found, and said.
                gone = written.operation.upper() == "DELETE"
                if read.rows == 0 and not gone:
                    empty.append((written, read))
                elif written is there[0]:
                    found.append((written, read))
                else:
                    earlier.append((there[0], read))
    if empty:
        written, read = empty[0]
        filters = [one.rpartition(".")[2] for one in read.filters if one not in read.columns]
        other = f" Its query also filters on {', '.join(filters)}." if filters else ""
        return Check(
            "readback",
            _QUESTION,
            Status.UNKNOWN,
            f"{read.who} finds no row in {read.table} after the commit, on the same database by the same "
            f"key.{other}",
            (seen(written), seen(read)),
            (*timeline(read), f"look the row up in {read.table} on {read.place}: was it deleted or changed?"),
        )
    if found:
        written, read = found[0]
        rows = (
            "" if read.rows is None else f" ({read.rows} row{'' if read.rows == 1 else 's'})"
        ) or " (the driver does not tell the rows)"
        if written.operation.upper() == "DELETE":
            rows = ", which deleted it"
        return Check("readback", _QUESTION, Status.OK, f"Yes: {read.who} reads {read.table} after the last "
                     f"write{rows}.", (seen(written), seen(read)))  # fmt: skip
    if earlier:
        last, read = earlier[0]
        return Check(
            "readback",
            _QUESTION,
            Status.UNKNOWN,
            f"The last write to {last.table} is committed and was not read for it since. "
            f"{read.who} read what was written before.",
            (seen(read), seen(last)),
            (f"is there a copy of {last.table} that answers instead of the database, a cache?",),
        )
    return _one_sided(facts)


def _is_read_by(facts: Facts, written: Access, read: Access) -> bool:
    """Whether such a read, at another time perhaps, finds what was written."""
    return (
        written.environment == read.environment
        and written.rows != 0
        and not facts.apart(written.place, read.place)
        and (not written.keys or not read.keys or bool(written.keys & read.keys) or (read.rows or 0) > 0)
    )


def _one_sided(facts: Facts) -> Check:
    committed = [one for table in facts.tables() for one in facts.committed(table)]
    reads = [one for table in facts.tables() for one in facts.reads(table)]
    if committed:
        last = max(committed, key=lambda one: one.ended)
        known = next((one for one in facts.others if one.table == last.table), None)
        hint = ""
        if known is not None:
            keys = ", ".join(
                f"{column.rpartition('.')[2]} ({encoding})"
                for column, encoding in zip(known.columns, known.encodings, strict=True)
            )
            hint = f" For others {known.service} reads it by {keys or 'no identity'} on {known.place}."
        return Check(
            "readback",
            _QUESTION,
            Status.UNKNOWN,
            f"It is written and committed, but {last.table} was not read for it since.{hint}",
            (seen(last),),
            ("let the reader try again, with the same command and --follow",),
        )
    if reads:
        last = reads[0]
        return Check(
            "readback",
            _QUESTION,
            Status.UNKNOWN,
            f"{last.who} reads {last.table} for it, but no committed write of it was seen in this time.",
            (seen(last),),
            (
                "look further back with --since 30d",
                "trueline coverage shows what sends no telemetry",
            ),
        )
    return Check("readback", _QUESTION, Status.SKIPPED, "Neither a committed write nor a read was seen.")
