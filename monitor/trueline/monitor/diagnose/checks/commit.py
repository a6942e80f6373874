"""Is the last write there, or did its transaction end otherwise?"""

from __future__ import annotations

from typing import Final

from trueline.monitor.diagnose.check import Check, Status, ending, moment, seen, timeline
from trueline.monitor.diagnose.facts import Access, Facts

_QUESTION: Final = "was the last write committed?"


def commit(facts: Facts) -> Check:
    """Look for writes that are not there and were not made up for later."""
    writes = [one for table in facts.tables() for one in facts.writes(table)]
    if not writes:
        return Check("commit", _QUESTION, Status.SKIPPED, "No write of this identity was seen.")
    lost = sorted((one for one in writes if _is_missing(one, facts)), key=lambda one: one.at, reverse=True)
    if lost:
        return _not_there(lost[0], len(lost), facts)
    newest = max(writes, key=lambda one: one.at)
    if newest.outcome == "open":
        return Check(
            "commit",
            _QUESTION,
            Status.UNKNOWN,
            f"The transaction that {newest.who} began before {moment(newest.at)} has not ended yet: nobody "
            "else can see its write.",
            (seen(newest),),
            (*timeline(newest), "look again in a moment; an open transaction is taken for lost after 10 min"),
        )
    if newest.outcome == "unknown":
        return Check(
            "commit",
            _QUESTION,
            Status.UNKNOWN,
            f"The connection of {newest.who} was lost during the COMMIT at {moment(newest.ended)}: the write "
            f"to {newest.table} may be there or not; only the database knows.",
            (seen(newest),),
            (*timeline(newest), f"look the row up in {newest.table} on {newest.place}"),
        )
    committed = [one for one in writes if one.is_committed]
    if not committed:
        return Check("commit", _QUESTION, Status.SKIPPED, "No write of this identity was seen.")
    last = max(committed, key=lambda one: one.at)
    made_up = [one for one in writes if one.is_lost]
    more = (
        f" {len(made_up)} earlier attempt{'' if len(made_up) == 1 else 's'} did not land, a later one did."
        if made_up
        else ""
    )
    return Check(
        "commit",
        _QUESTION,
        Status.OK,
        f"Yes: to {last.table} by {last.who}, at {moment(last.ended)}.{more}",
        (seen(last), *(seen(one) for one in made_up[:2])),
    )


def _is_missing(one: Access, facts: Facts) -> bool:
    """Whether a lost write was not made up for: by the same message, or by any where none is known."""
    if not one.is_lost or (one.reason == "savepoint" and not one.failed) or _was_looked_up(one, facts):
        return False
    later = [other for other in facts.committed(one.table) if other.at >= one.at]
    if one.messages:
        wanted = set(one.messages)
        # Where later writes name no message, they may be this one's retry.
        return not any(not other.messages or wanted & set(other.messages) for other in later)
    return not later


def _was_looked_up(one: Access, facts: Facts) -> bool:
    """Get or create: a unique constraint refused the row, and the code then found the one that is there."""
    wanted = {f"{one.table}.{column}" for column in one.constraint_columns}
    return (
        one.constraint_kind == "unique"
        and bool(wanted)
        and any(
            # Where the driver does not tell how many rows it found, it is believed, as by the rules.
            read.trace_id == one.trace_id
            and read.at >= one.at
            and read.rows != 0
            and wanted <= set(read.filters)
            for read in facts.reads(one.table)
        )
    )


def _not_there(one: Access, number: int, facts: Facts) -> Check:
    why = ending(one)
    others = f" {number} writes are missing in all." if number > 1 else ""
    if facts.gaps.losses.get(one.service) and not _is_confirmed(one, facts):
        others += " Some spans were lost on their way: a retry that landed may be among them."
    earlier = next((other for other in facts.committed(one.table)), None)
    evidence = (seen(one), *((seen(earlier),) if earlier else ()))
    steps = (*timeline(one), *_steps(one), FOLLOW_AFTER)
    doubt = _doubt(one, facts)
    if doubt:
        return Check("commit", _QUESTION, Status.UNKNOWN, f"The write to {one.table} by {one.who} at "
                     f"{moment(one.at)} seems lost ({why}), but {doubt}", evidence, steps)  # fmt: skip
    return Check(
        "commit",
        _QUESTION,
        Status.FAULT,
        f"the write to {one.table} by {one.who} at {moment(one.at)} is not there: {why}.{others}",
        evidence,
        steps,
    )


def _steps(one: Access) -> tuple[str, ...]:
    if one.ai_error:
        return (
            f"move the AI call of {one.entry or one.service} out of the transaction, or commit before it",
        )
    if one.constraint or one.constraint_kind:
        return (f"compare {one.constraint or 'the constraint'} with what makes a row of {one.table} new",)
    return {
        "not_committed": (f"find the missing commit() in {one.entry or one.service}",),
        "abandoned": (f"see whether a process of {one.service} died or was cancelled at that time",),
        "commit_of_aborted": (f"find the error before the COMMIT in {one.entry or one.service}",),
    }.get(one.reason, ())


def _doubt(one: Access, facts: Facts) -> str:
    """Why a lost write may have been made up for unseen. A later read that found nothing leaves no doubt."""
    if _is_confirmed(one, facts):
        return ""
    lost = facts.gaps.losses.get(one.service, 0)
    if lost and one.reason == "abandoned":
        # Concluded from silence: the transaction's end may be among what was lost.
        return f"{lost} spans of {one.service} were lost on their way: its end may be among them."
    if one.sample_ratio < 1 and not any(other.is_committed for other in facts.accesses):
        return (
            f"only {one.sample_ratio:.2g} of the identities are kept and this one is not among them: what "
            "committed later was not sent."
        )
    return ""


def _is_confirmed(one: Access, facts: Facts) -> bool:
    """Whether a read after it, in the same place, found nothing."""
    return any(
        read.rows == 0 and read.at >= one.ended and not facts.apart(read.place, one.place)
        for read in facts.reads(one.table)
    )


FOLLOW_AFTER: Final = "enter the lost data again; then run the same command with --follow, and try again"
