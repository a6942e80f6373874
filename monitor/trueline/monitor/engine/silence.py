"""Silences: which findings nobody is to be told of, for how long, by whom and why. Pure.

A silence has matchers, all of which must fit. A label of a finding may have several values (services,
tables, people): ``=`` and ``=~`` fit if one of them does, ``!=`` and ``!~`` if none does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

import re2

from trueline.monitor.engine.finding import Finding
from trueline.monitor.engine.labels import labels
from trueline.monitor.errors import TruelineError

#: A silence that nobody remembers hides what it was not meant for.
LONGEST: Final = timedelta(days=90)
MAX_MATCHERS: Final = 20
MAX_TEXT: Final = 500
#: Memory that one expression may need, bytes. RE2 itself runs in linear time whatever it is given.
_RE2_MEMORY: Final = 1 << 20


class SilenceError(TruelineError):
    """A silence that cannot be."""


class Op(StrEnum):
    """How a matcher compares."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    NOT_MATCHES = "!~"


class Phase(StrEnum):
    """Where a silence is in its life."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label: ``service=web``, ``table=~exp.*`` (the whole value must match)."""

    label: str
    op: Op
    value: str

    def fits(self, values: Sequence[str]) -> bool:
        """Whether a label with these values fits; a label that is not there has the value ''."""
        there = values or ("",)
        if self.op in (Op.EQUAL, Op.NOT_EQUAL):
            found = self.value in there
        else:
            expression = _compiled(self.value)
            found = any(expression.fullmatch(value) for value in there)
        return found is (self.op in (Op.EQUAL, Op.MATCHES))

    def __str__(self) -> str:
        return f"{self.label}{self.op}{self.value}"


@dataclass(frozen=True, slots=True)
class Silence:
    """From ``starts_at`` until before ``ends_at``. Expired ones are kept: they tell why nobody was called."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    author: str
    reason: str
    created_at: datetime

    def phase(self, now: datetime) -> Phase:
        """Where it is in its life."""
        if now < self.starts_at:
            return Phase.PENDING
        return Phase.ACTIVE if now < self.ends_at else Phase.EXPIRED

    def covers(self, finding: Finding) -> bool:
        """Whether all matchers fit, whenever that is."""
        known = labels(finding)
        return all(matcher.fits(known.get(matcher.label, ())) for matcher in self.matchers)


def parse_matcher(text: str) -> Matcher:
    """Read ``service=web``, ``service!=web``, ``table=~exp.*`` or ``table!~exp.*``; raises SilenceError."""
    at = min((found for sign in "=!" if (found := text.find(sign)) > 0), default=-1)
    op = next(
        (op for op in (Op.MATCHES, Op.NOT_MATCHES, Op.NOT_EQUAL, Op.EQUAL) if text[at:].startswith(op)), ""
    )
    if at < 1 or not op:
        raise SilenceError(f"{text[:60]!r} is no matcher: write service=web, service!=web or table=~exp.*.")
    return Matcher(text[:at].strip(), Op(op), text[at + len(op) :].strip())


def make(silence: Silence, now: datetime, known_labels: Iterable[str]) -> Silence:
    """Check a new silence; raises SilenceError with what is wrong and the way out."""
    if not 1 <= len(silence.matchers) <= MAX_MATCHERS:
        raise SilenceError(
            f"A silence needs 1 to {MAX_MATCHERS} matchers, as service=web: without one it hides everything."
        )
    if silence.ends_at <= now:
        raise SilenceError("ends_at is over already: a silence must end in the future.")
    if silence.ends_at <= silence.starts_at:
        raise SilenceError("ends_at is not after starts_at.")
    if silence.ends_at - max(silence.starts_at, now) > LONGEST:
        raise SilenceError(
            f"A silence lasts {LONGEST.days} days at most; what is right for good belongs into the rule, as "
            "an exception."
        )
    if not silence.author.strip() or not silence.reason.strip():
        raise SilenceError("A silence needs its author and a reason: whoever is on call next will ask.")
    known = sorted(set(known_labels))
    for matcher in silence.matchers:
        if matcher.label not in known:
            raise SilenceError(f"There is no label {matcher.label[:60]!r}; there are {', '.join(known)}.")
        if len(matcher.value) > MAX_TEXT:
            raise SilenceError(f"The value of {matcher.label} is longer than {MAX_TEXT} characters.")
        if matcher.op in (Op.MATCHES, Op.NOT_MATCHES):
            _compiled(matcher.value)
    if all(_fits_everything(matcher) for matcher in silence.matchers):
        raise SilenceError(
            "These matchers fit every finding: name at least one rule, service, table or the like."
        )
    return silence


def end(silence: Silence, now: datetime) -> Silence:
    """End it now; one that is over stays as it is, one that has not begun never will."""
    if silence.ends_at <= now:
        return silence
    return replace(silence, starts_at=min(silence.starts_at, now), ends_at=now)


def silenced_by(finding: Finding, silences: Iterable[Silence], now: datetime) -> list[str]:
    """Ids of the silences that hold for the finding now, in order."""
    return sorted(one.id for one in silences if one.phase(now) is Phase.ACTIVE and one.covers(finding))


def matcher_fields(matcher: Matcher) -> Mapping[str, Any]:
    """A matcher as JSON values."""
    return {"label": matcher.label, "op": matcher.op.value, "value": matcher.value}


def _fits_everything(matcher: Matcher) -> bool:
    """Whether it fits whatever a finding is: tried on values that nobody could have meant."""
    return matcher.fits(("\x01",)) and matcher.fits(("",))


@lru_cache(maxsize=256)
def _compiled(expression: str) -> Any:
    options = re2.Options()
    options.max_mem = _RE2_MEMORY
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise SilenceError(
            f"{expression[:80]!r} is no regular expression (RE2, which has no look-around and no "
            f"back-references): {said}."
        ) from None
