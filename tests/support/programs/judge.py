"""Holds tags against the table and the oracle, write by write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from support.programs.oracle import Expected, Line, Written, expected
from support.programs.schema import DONE
from support.programs.steps import Program, numbers

from trueline.instrumentation import semconv

#: user_id -> value, of every row that is there.
Table = Mapping[str, str | None]


@dataclass(slots=True)
class Score:
    """Counts, of writes unless said otherwise."""

    programs: int = 0
    #: Reached the driver, and held against the table.
    compared: int = 0
    wrong_outcomes: int = 0
    wrong_reasons: int = 0
    #: Reached the driver and have no tag.
    untagged: int = 0
    #: The oracle and the table disagree: a bug in the oracle.
    oracle_errors: int = 0
    unknown_on_killed: int = 0
    #: Failed batches of which the first rows may be there.
    unknown_in_part: int = 0
    unknown_elsewhere: int = 0
    naive_wrong: int = 0
    naive_wrong_with_savepoints: int = 0
    naive_silent: int = 0
    seconds: float = 0.0

    def add(self, other: Score) -> None:
        """Add another score."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    @property
    def faults(self) -> int:
        """What must be zero."""
        return (
            self.wrong_outcomes
            + self.wrong_reasons
            + self.untagged
            + self.oracle_errors
            + self.unknown_elsewhere
        )


@dataclass(slots=True)
class Verdict:
    """A program's score and what was wrong, in words."""

    program: Program
    score: Score = field(default_factory=Score)
    complaints: list[str] = field(default_factory=list)


def judge(
    program: Program,
    prefix: str,
    record: Mapping[str, Written],
    lines: Iterable[Line],
    table: Table,
    tags: Mapping[str, Expected],
    naive: Mapping[str, str],
    naive_with_savepoints: Mapping[str, str],
) -> Verdict:
    """``tags`` and ``naive`` by key."""
    verdict = Verdict(program)
    score = verdict.score
    score.programs = 1
    killed = any(line.killed for line in lines)
    for number in numbers(program):
        key = f"{prefix}-{number}"
        there = landed(program, number, key, table)
        fact = "committed" if there else "rolled_back"
        written, tag = record.get(key), tags.get(key)

        def complain(kind: str, said: object, key: str = key, fact: str = fact, tag: Any = tag) -> None:
            setattr(score, kind, getattr(score, kind) + 1)
            verdict.complaints.append(f"{kind}: {key} is {fact}, tagged {tag}: {said}")

        if tag is None:
            # SQLAlchemy can refuse to go to the database; then nothing may be there.
            if there or (written is not None and not written.raised):
                complain("untagged", "it ran")
            continue
        score.compared += 1
        if written is None:
            complain("oracle_errors", "the program does not know that it ran")
            continue
        if written.transaction.end is None:
            complain("oracle_errors", "the oracle holds its transaction open")
            continue
        outcome, reason = expected(written)
        partial = written.one_by_one and written.raised and len(written.keys) > 1
        if outcome not in (fact, "unknown") and not partial:
            complain("oracle_errors", f"the oracle expects {outcome} {reason}")
            continue
        if tag[0] == "unknown" and (outcome == "unknown" or partial):
            score.unknown_on_killed += killed and not partial
            score.unknown_in_part += partial
            continue
        if tag[0] == "unknown":
            complain("unknown_elsewhere", f"the oracle expects {outcome} {reason}")
        elif tag[0] != fact:
            complain("wrong_outcomes", f"the oracle expects {outcome} {reason}")
        elif written.transaction.either and tag[1] == "exception":
            continue
        elif tag != (outcome, reason) and not partial:
            complain("wrong_reasons", f"the oracle expects {outcome} {reason}")
        said = naive.get(key)
        score.naive_silent += said is None
        score.naive_wrong += said is not None and said != fact
        with_savepoints = naive_with_savepoints.get(key)
        score.naive_wrong_with_savepoints += with_savepoints is not None and with_savepoints != fact
    return verdict


def landed(program: Program, number: int, key: str, table: Table) -> bool:
    """Whether the write's effect is there."""
    if number in numbers(program, ("update",)):
        return table.get(key) == DONE
    if number in numbers(program, ("delete",)):
        return key not in table
    return key in table


def tags_of(spans: Iterable[Any]) -> dict[str, Expected]:
    """See :func:`tags_in`; of finished spans in memory."""
    return tags_in((span.name, f"{span.context.span_id:016x}", span.attributes or {}) for span in spans)


def tags_in(spans: Iterable[tuple[str, str, Mapping[str, Any]]]) -> dict[str, Expected]:
    """From (name, span id, attributes): outcome and reason of each identity value (a hash).

    As the store's resolved view would say: a statement that left as ``open`` takes the outcome of its
    transaction's span.
    """
    settled: dict[str, Mapping[str, Any]] = {}
    statements: list[tuple[str, Mapping[str, Any]]] = []
    for name, span_id, attributes in spans:
        if name.startswith("TRANSACTION"):
            settled[attributes[semconv.TRANSACTION_ID]] = attributes
        elif attributes.get(semconv.STATEMENT_KIND) == "write":
            statements.append((span_id, attributes))
    found: dict[str, Expected] = {}
    for span_id, attributes in statements:
        outcome, reason = (
            attributes[semconv.TRANSACTION_OUTCOME],
            attributes.get(semconv.TRANSACTION_REASON),
        )
        if outcome == "open":
            transaction = settled.get(attributes[semconv.TRANSACTION_ID], {})
            if span_id in transaction.get(semconv.TRANSACTION_UNDONE, ()):
                outcome, reason = "rolled_back", "savepoint"
            elif transaction:
                outcome = transaction[semconv.TRANSACTION_OUTCOME]
                reason = transaction.get(semconv.TRANSACTION_REASON)
        for value in attributes.get(semconv.IDENTITY_VALUES, ()):
            found[value] = (outcome, reason)
    return found
