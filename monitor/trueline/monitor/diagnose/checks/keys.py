"""Key and encoding parity: does the reader look for the key that the writer sets?"""

from __future__ import annotations

from typing import Final

from trueline.monitor.diagnose.check import FOLLOW, Check, Status, seen
from trueline.monitor.diagnose.facts import Access, Facts

_QUESTION: Final = "is it read by the key that it was written under?"


def keys(facts: Facts) -> Check:
    """For each table, compare columns and encodings of the last keyed write with those of each reader."""
    same: list[tuple[Access, Access]] = []
    for table in facts.tables():
        for read in facts.readers(table):
            written = _keyed_write(facts, table, read)
            if written is None or not read.keys:
                continue
            if written.keys & read.keys or (read.rows or 0) > 0:
                same.append((written, read))
                continue
            doubt = "" if read.rows == 0 else " (how many rows it found is not known)"
            return Check(
                "keys",
                _QUESTION,
                Status.FAULT,
                f"{table} is written under {written.spoken_keys} by {written.who}, but {read.who} reads it "
                f"by {read.spoken_keys}{_found(read)}{doubt}.",
                (seen(written), seen(read)),
                (
                    f"now: let {read.entry or read.service} accept both keys",
                    f"then: let {written.entry or written.service} set {_missing(read)}, and fill it in old "
                    f"rows of {table}",
                    FOLLOW,
                ),
            )
    if not same:
        return Check(
            "keys", _QUESTION, Status.SKIPPED, "No table of it was both written and read under a key."
        )
    written, read = same[0]
    return Check("keys", _QUESTION, Status.OK, f"Yes: {read.table} by {read.spoken_keys}.",
                 (seen(written), seen(read)))  # fmt: skip


def _keyed_write(facts: Facts, table: str, read: Access) -> Access | None:
    return next(
        (
            one
            for one in facts.committed(table)
            if one.keys
            and one.at <= read.at
            and one.rows != 0
            and one.operation.upper() not in ("UPDATE", "DELETE")
            and not facts.apart(one.place, read.place)
        ),
        None,
    )


def _missing(read: Access) -> str:
    return " and ".join(column.rpartition(".")[2] for column in read.columns) or "that key"


def _found(read: Access) -> str:
    return " and finds nothing" if read.rows == 0 else ""
