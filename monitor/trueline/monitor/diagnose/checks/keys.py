"""Key and encoding parity: does the reader look for the key that the writer sets?"""

from __future__ import annotations

import re
from typing import Final

from trueline.monitor.diagnose.check import FOLLOW, Check, Status, seen
from trueline.monitor.diagnose.facts import Access, Facts

_QUESTION: Final = "is it read by the key that it was written under?"
#: What columns of one meaning differ by: user_id, user_id_hash.
_FORMS: Final = re.compile(
    r"(_(hash|hashed|sha256|sha|md5|hmac|uuid|guid|int|raw|key|ref|enc|token|id))+$", re.IGNORECASE
)


def keys(facts: Facts) -> Check:
    """For each table, compare columns and encodings of the last keyed write with those of each reader."""
    same: list[tuple[Access, Access]] = []
    for table in facts.tables():
        for read in facts.readers(table):
            written = _keyed_write(facts, table, read)
            if written is None or not read.keys:
                continue
            older = _finds_older_only(facts, written, read)
            found = bool(written.keys & read.keys) or ((read.rows or 0) > 0 and not older)
            if found or _was_given(facts, written, read):
                other = _other_writer(facts, written, read)
                if other is not None:
                    return _two_writers(other, written, read)
                same.append((written, read))
                continue
            doubt = "" if read.rows == 0 else " (how many rows it found is not known)"
            return Check(
                "keys",
                _QUESTION,
                Status.FAULT,
                f"{table} is written under {written.spoken_keys} by {written.who}, but {read.who} reads it "
                f"by {read.spoken_keys}{' and finds older rows only' if older else _found(read)}{doubt}.",
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


def _finds_older_only(facts: Facts, written: Access, read: Access) -> bool:
    """Whether what was found has been written under the reader's key before, and the last row has another.

    The key has changed its form, or two writers have one each. A key of another meaning (the assignee instead
    of the owner) says nothing about the last row.
    """
    if written.keys & read.keys or not _meanings(written) & _meanings(read):
        return False
    met = [
        one
        for one in facts.committed(written.table)
        if one.keys & read.keys and one.rows != 0 and one.at <= read.at
    ]
    return bool(met) and all(one.at < written.at for one in met)


def _was_given(facts: Facts, written: Access, read: Access) -> bool:
    """Whether the row was given the reader's key afterwards, by an update."""
    return any(
        one.operation.upper() == "UPDATE"
        and one.keys & read.keys
        and one.rows != 0
        and written.at <= one.at <= read.at
        for one in facts.committed(written.table)
    )


def _other_writer(facts: Facts, written: Access, read: Access) -> Access | None:
    """The last row of another service that writes at the same time, which the reader cannot find."""
    ours = [one for one in facts.committed(written.table) if one.keys & read.keys and one.at <= read.at]
    return next(
        (
            one
            for one in facts.committed(written.table)
            if one.operation.upper() == "INSERT"
            and one.keys
            and not one.keys & read.keys
            and _meanings(one) & _meanings(read)
            and not facts.apart(one.place, read.place)
            and not _was_given(facts, one, read)
            and any(other.at < one.at and other.service != one.service for other in ours)
            and any(other.at > one.at and other.service != one.service for other in ours)
        ),
        None,
    )


def _two_writers(other: Access, written: Access, read: Access) -> Check:
    return Check(
        "keys",
        _QUESTION,
        Status.FAULT,
        f"{other.table} is written under {other.spoken_keys} by {other.who} and under {written.spoken_keys} "
        f"by {written.who}; {read.who} reads it by {read.spoken_keys} and finds only one's rows.",
        (seen(other), seen(written), seen(read)),
        (
            f"now: let {read.entry or read.service} accept both keys",
            f"then: decide on one key for {other.who} and {written.who}, and fill it in old rows of "
            f"{other.table}",
            FOLLOW,
        ),
    )


def _meanings(access: Access) -> set[str]:
    return {_FORMS.sub("", column) for column in access.columns}


def _missing(read: Access) -> str:
    return " and ".join(column.rpartition(".")[2] for column in read.columns) or "that key"


def _found(read: Access) -> str:
    return " and finds nothing" if read.rows == 0 else ""
