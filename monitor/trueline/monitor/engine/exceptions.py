"""Exceptions: what is known and accepted raises no finding, and is counted instead.

    exceptions:
      - match: {environment: staging, table: [tmp_*, scratch_*]}
        reason: staging copies these tables every night
        until: 2027-03-01

An exception matches a result row if every column that it names does; a column does if its value is one of
the patterns (``*`` and ``?`` are wildcards), or with ``{not: ...}`` if it is none of them. Of a column that
is a list every element has to match: what is accepted for one service hides nothing of another one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema


def _matcher(value: Any) -> str | list[str] | dict[str, list[str]]:
    """A pattern, a list of patterns, or {not: patterns}; ValueError for anything else."""
    if isinstance(value, Mapping):
        if set(value) != {"not"}:
            raise ValueError("write a pattern, a list of patterns, or {not: pattern}")
        without = value["not"] if isinstance(value["not"], list) else [value["not"]]
        return {"not": [_pattern(one) for one in without]}
    if isinstance(value, list):
        if not value:
            raise ValueError("the list of patterns is empty: nothing would ever match")
        return [_pattern(one) for one in value]
    return _pattern(value)


def _pattern(value: Any) -> str:
    """YAML's own scalars as the text that they were written as."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | date):
        return str(value)
    raise ValueError(f"{value!r} is not a pattern: write text, with * and ? as wildcards")


_TEXT: Final = {"type": ["string", "number", "boolean"]}
_TEXTS: Final = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}
Matcher = Annotated[
    Any,
    BeforeValidator(_matcher),
    WithJsonSchema(
        {
            "anyOf": [
                *_TEXTS["anyOf"],
                {
                    "type": "object",
                    "properties": {"not": _TEXTS},
                    "required": ["not"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class RuleException(BaseModel):
    """A group that is known and accepted: result rows that match raise no finding, and are counted."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    match: dict[str, Matcher] = Field(
        min_length=1,
        description="Result column to pattern (`*` and `?` are wildcards), to a list of patterns of which "
        "one "
        "has to match, or to {not: ...}. Of a column that is a list every element has to match.",
    )
    reason: Annotated[str, Field(min_length=1)] = Field(description="Why it is accepted.")
    until: date | None = Field(
        default=None,
        description="Last day (UTC) of what it covers: what happens later raises findings again.",
    )


@dataclass(frozen=True, slots=True)
class Sifted:
    """Rows that remain, and those that each exception took, by its number from 0."""

    rows: list[Mapping[str, Any]]
    taken: Mapping[int, list[Mapping[str, Any]]]

    @property
    def excepted(self) -> dict[int, int]:
        """How many each exception took."""
        return {number: len(rows) for number, rows in self.taken.items()}


def sift(exceptions: Sequence[RuleException], rows: Iterable[Mapping[str, Any]]) -> Sifted:
    """Take out the rows that an exception matches; each is counted for the first that does."""
    remaining: list[Mapping[str, Any]] = []
    taken: defaultdict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        number = next((at for at, one in enumerate(exceptions) if matches(one, row)), None)
        if number is None:
            remaining.append(row)
        else:
            taken[number].append(row)
    return Sifted(remaining, dict(taken))


def matches(exception: RuleException, row: Mapping[str, Any]) -> bool:
    """Whether the exception accepts this row, by the time at which it was last seen."""
    last_seen = row.get("last_seen")
    if exception.until is not None and isinstance(last_seen, datetime):
        moment = last_seen.replace(tzinfo=UTC) if last_seen.tzinfo is None else last_seen
        if moment > datetime.combine(exception.until, time.max, UTC):
            return False
    return all(_column_matches(row.get(name), wanted) for name, wanted in exception.match.items())


def _column_matches(value: Any, wanted: str | list[str] | Mapping[str, list[str]]) -> bool:
    negated = isinstance(wanted, Mapping)
    patterns = (
        wanted["not"] if isinstance(wanted, Mapping) else [wanted] if isinstance(wanted, str) else wanted
    )
    values = list(value) if isinstance(value, list | tuple | set) else [value]
    found = [any(fnmatchcase(_text(one), pattern) for pattern in patterns) for one in values]
    return bool(found) and (not any(found) if negated else all(found))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
