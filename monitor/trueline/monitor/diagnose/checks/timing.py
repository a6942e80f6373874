"""Did the reader look too soon: before the commit, or before its replica had it?"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from trueline.monitor.diagnose.check import FOLLOW, Check, Status, moment, seen, timeline
from trueline.monitor.diagnose.facts import CLOCK_TOLERANCE, Access, Facts

_QUESTION: Final = "was it committed before it was read?"
#: A replica that is further behind than this is not a matter of timing.
_REPLICA_LAG: Final = timedelta(seconds=60)


def timing(facts: Facts) -> Check:
    """For each table, compare each reader's last read with the commit of the write before or around it."""
    doubtful: list[Check] = []
    right: list[tuple[Access, Access]] = []
    for table in facts.tables():
        for read in facts.readers(table):
            for written in facts.committed(table):
                if facts.apart(written.place, read.place) or written.environment != read.environment:
                    continue
                verdict = _judge(written, read)
                if verdict is None:
                    continue
                if verdict.status is Status.FAULT:
                    return verdict
                if verdict.status is Status.UNKNOWN:
                    doubtful.append(verdict)
                else:
                    right.append((written, read))
                break
    if doubtful:
        return doubtful[0]
    if not right:
        return Check("timing", _QUESTION, Status.SKIPPED, "No table of it was both written and then read.")
    written, read = right[0]
    return Check(
        "timing",
        _QUESTION,
        Status.OK,
        f"Yes: {read.table} was committed at {moment(written.ended)} and read at {moment(read.at)}, "
        f"{span(read.at - written.ended)} later.",
        (seen(written), seen(read)),
    )


def _judge(written: Access, read: Access) -> Check | None:
    """One write and one read. None: the read is older than anything that has to do with this write."""
    gap = written.ended - read.at
    if gap <= timedelta(0) and (snapshot_at := _older_snapshot(read, written)):
        return _fault(
            f"{read.who} reads {read.table} {span(-gap)} after the commit by {written.who}, in a transaction "
            f"that began before it, at {moment(snapshot_at)}, and sees only what was there then.",
            written,
            read,
            "begin a new transaction for each piece of work, or read at READ COMMITTED",
        )
    if gap <= timedelta(0):
        behind = read.at - written.ended
        if read.rows == 0 and read.place.role == "replica" and behind < _REPLICA_LAG:
            return _fault(
                f"{read.who} reads {read.table} from a replica {span(behind)} after the commit and finds "
                "nothing: the replica has not caught up.",
                written,
                read,
                "read what was just written from the primary, or wait for the replica",
            )
        return Check("timing", _QUESTION, Status.OK, "")
    if read.transaction_id and read.transaction_id == written.transaction_id:
        return Check("timing", _QUESTION, Status.OK, "")
    known = min(written.at, written.accepted_at) if written.accepted_at else written.at
    related = bool(written.accepted_at and written.accepted_at <= read.at) or (
        # What a reader writes itself afterwards, because it found nothing, it was not to find.
        bool(read.trace_id)
        and read.trace_id == written.trace_id
        and (read.at >= written.at or read.service != written.service)
    )
    if not related and read.at < known:
        return None
    if read.service != written.service and gap < CLOCK_TOLERANCE:
        return _unknown(
            f"{read.who} read {read.table} {span(gap)} before the commit by {written.who}: less than the "
            "clocks of two machines may differ.",
            written,
            read,
        )
    if not related:
        return _unknown(
            f"The last read of {read.table} by {read.who} began while the write was under way, {span(gap)} "
            "before its commit; nobody had been told yet that it was done.",
            written,
            read,
        )
    return _fault(
        f"{read.who} reads {read.table} at {moment(read.at)}, {span(gap)} before {written.who} commits the "
        "write that it is to see.",
        written,
        read,
        "read after the commit: let the writer say when it is done, or read in the same transaction",
    )


def _older_snapshot(read: Access, written: Access) -> datetime | None:
    """When the reader's transaction began, if it sees what was committed by then and that was before this."""
    began = read.snapshot_at
    if began is None or read.transaction_id == written.transaction_id:
        return None
    apart = timedelta(0) if read.service == written.service else CLOCK_TOLERANCE
    return began if began + apart < written.ended else None


def _fault(said: str, written: Access, read: Access, step: str) -> Check:
    steps = (*timeline(written), step, FOLLOW)
    return Check("timing", _QUESTION, Status.FAULT, said, (seen(written), seen(read)), steps)


def _unknown(said: str, written: Access, read: Access) -> Check:
    steps = ("read it again: the same command with --follow",)
    return Check("timing", _QUESTION, Status.UNKNOWN, said, (seen(written), seen(read)), steps)


def span(length: timedelta) -> str:
    """``35 ms``, ``2.1 s``, ``5 min``, ``3 h``."""
    seconds = length.total_seconds()
    for size, unit, digits in ((86400, "days", 1), (3600, "h", 1), (60, "min", 0), (1, "s", 1)):
        if seconds >= size * (1 if unit == "s" else 2):
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds * 1000:.0f} ms"
