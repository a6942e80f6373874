"""What one check of the diagnosis says, and how it names what it saw."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from trueline.monitor.diagnose.facts import Access
from trueline.monitor.engine.describe import outcome_text


class Status(StrEnum):
    """How a check ended. ``unknown``: it cannot tell, and says why. ``skipped``: nothing to check."""

    OK = "ok"
    FAULT = "fault"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was seen: a line for people, and where to look it up."""

    text: str
    at: datetime | None = None
    trace_id: str = ""
    span_id: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One question with its answer. ``next`` are commands and steps, in order."""

    id: str
    question: str
    status: Status
    sentence: str
    evidence: tuple[Evidence, ...] = ()
    next: tuple[str, ...] = ()


def moment(at: datetime) -> str:
    """``2026-11-20 12:50:08.123 UTC``: milliseconds decide here."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"


def seen(one: Access) -> Evidence:
    """A statement as a line: who did what, where, under which key, and what came of it."""
    keys = f" by {one.spoken_keys}" if one.columns and one.kind == "read" else ""
    keys = f" with {one.spoken_keys}" if one.columns and one.kind == "write" else keys
    path = f" in {one.entry}" if one.entry else ""
    verb = "reads" if one.kind == "read" else "writes"
    text = f"{one.who}{path} {verb} {one.table}{keys} on {one.place}"
    if one.rows is not None:
        text += f", {one.rows} row{'' if one.rows == 1 else 's'}"
    if one.kind == "write":
        text += f": {ending(one)}"
    return Evidence(text, one.at, one.trace_id, one.span_id)


def ending(one: Access) -> str:
    """What came of a write, with its cause where that is known."""
    if one.failed and one.outcome == "committed":
        said = "the statement failed, the rest was committed"
    else:
        said = outcome_text(one.outcome, one.reason)
    if one.constraint or one.constraint_kind:
        kind = one.constraint_kind.replace("_", " ")
        said += f"; refused by the {f'{kind} ' if kind else ''}constraint {one.constraint}".rstrip()
    if one.ai_error:
        said += f"; the AI call failed with {one.ai_error}"
    return said


def timeline(one: Access) -> tuple[str, ...]:
    """The command that shows a statement's trace."""
    return (f"trueline timeline {one.trace_id}",) if one.trace_id else ()


FOLLOW = "after the fix: run the same command with --follow, and try again"
