"""A recording as text that a person reads, and as data that a snapshot test compares.

Neither holds identifiers, times or paths, so both are the same in every run.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any, Final

from trueline.instrumentation import semconv
from trueline.instrumentation.semconv import Outcome, Reason
from trueline.instrumentation.testing.model import AiCall, Identity, Recording, Statement, Transaction

WIDTH: Final = 100

#: What the test calls a canonical value, or None.
Names = Callable[[Identity], str | None]

_REASONS: Final = {
    Reason.COMMIT_FAILED: "the database refused the commit",
    Reason.COMMIT_OF_ABORTED: "committed after an error, and the server rolled back",
    Reason.EXCEPTION: "by an exception",
    Reason.EXPLICIT: "rollback() was called",
    Reason.NOT_COMMITTED: "closed without a commit",
    Reason.ABANDONED: "abandoned: garbage-collected, cancelled, or the connection was lost",
    Reason.SAVEPOINT: "to a savepoint",
}
_ENDED_BY: Final = {
    "": "open",
    "commit": "committed by its session",
    "rollback": "rolled back by its session",
    "close": "closed by its session without a commit",
}


def render(recording: Recording, names: Names) -> str:
    """The whole recording, at most 100 columns wide."""
    return "\n".join(_lines(recording, names))


def _lines(recording: Recording, names: Names) -> Iterator[str]:
    counts = (
        (recording.transactions, "transaction"),
        ([s for s in recording.statements if not s.is_control], "statement"),
        (recording.ai_calls, "AI call"),
    )
    yield ", ".join(_counted(len(listed), noun) for listed, noun in counts)
    several = len({statement.database for statement in recording.statements}) > 1
    inside: dict[int, list[Statement | AiCall]] = {}
    for item in recording.order:
        for transaction in item.inside if isinstance(item, AiCall) else (item.transaction,):
            inside.setdefault(id(transaction), []).append(item)
    entry = ""
    told: set[int] = set()
    for item in recording.order:
        if item.inside if isinstance(item, AiCall) else item.is_control or id(item.transaction) in told:
            continue
        if isinstance(item, Statement) and item.attributes.get(semconv.ENTRY_SPAN_ID, "") != entry:
            entry = item.attributes.get(semconv.ENTRY_SPAN_ID, "")
            yield f"in {item.entry or 'an entry'}:" if entry else "outside of any entry:"
        if isinstance(item, AiCall):
            yield from wrapped("  ", _ai_call(item))
            continue
        told.add(id(item.transaction))
        yield from wrapped("  ", f"{_name(item.transaction)}: {describe(item.transaction)}")
        for one in inside[id(item.transaction)]:
            if isinstance(one, AiCall):
                yield from wrapped("    ", _ai_call(one))
            elif not one.is_control:
                yield from wrapped("    ", _statement(one, names, several_databases=several))


def _name(transaction: Transaction) -> str:
    return f"transaction {transaction.number}" if transaction.number else "outer transaction"


def describe(transaction: Transaction) -> str:
    """How a transaction ended, in words."""
    outer = transaction.outer
    if transaction.joined and outer is not None:
        text = _ENDED_BY[transaction.ended_by] + _error(transaction)
        if outer.outcome is Outcome.ROLLED_BACK and outer.reason is not None:
            return f"{text}, inside an outer one: rolled back, {_REASONS[outer.reason]}{_error(outer)}"
        return f"{text}, inside an outer one: {outer.outcome}"
    if transaction.autocommit and transaction.outcome is Outcome.COMMITTED:
        return "committed by itself (autocommit)"
    if transaction.outcome is Outcome.ROLLED_BACK and transaction.reason is not None:
        return f"rolled back, {_REASONS[transaction.reason]}{_error(transaction)}"
    if transaction.outcome is Outcome.UNKNOWN:
        return f"unknown, the connection was lost during the commit{_error(transaction)}"
    return str(transaction.outcome)


def _error(transaction: Transaction) -> str:
    if not transaction.error_type:
        return ""
    return f" ({transaction.error_type}{', from an AI call' if transaction.error_from_ai else ''})"


def _statement(statement: Statement, names: Names, *, several_databases: bool) -> str:
    parts = [statement.summary or statement.operation or statement.text]
    parts += [identity_text(identity, names) for identity in statement.identities]
    if statement.rows is not None:
        parts.append(_counted(statement.rows, "row"))
    if several_databases:
        parts.append(f"database {statement.database}")
    if statement.error:
        parts.append(f"FAILED: {error_text(statement)}")
    elif statement.undone:
        parts.append("undone by a savepoint")
    return f"{statement.kind:<5} " + "; ".join(parts)


def error_text(statement: Statement) -> str:
    """The code of a failed statement's error, and the constraint that it violated."""
    kind, _, name = statement.constraint.partition(" ")
    return f"{statement.error} ({kind} constraint {name}".rstrip() + ")" if kind else statement.error


def identity_text(identity: Identity, names: Names) -> str:
    """``sets expenses.user_id = 12345 (raw)``; a value that the test never named is the start of its hash."""
    verb = "sets" if identity.clause == "set" else "where"
    known = names(identity)
    if known is None:
        value = identity.value
        hashed = len(value) == 32 and all(digit in "0123456789abcdef" for digit in value)
        known = f"#{value[:8]}" if hashed else value or "(left out)"
    return f"{verb} {identity.column} = {known} ({identity.encoding})"


def _ai_call(call: AiCall) -> str:
    text = f"AI    {call.operation} {call.model}".rstrip()
    if call.failed:
        return f"{text}; FAILED{call.error_type and f': {call.error_type}'}"
    return text if call.ended else f"{text}; under way"


def wrapped(indent: str, text: str, deeper: int = 8) -> list[str]:
    """``text`` as indented lines, those after the first ``deeper`` columns to the right."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + " " * deeper,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def as_data(recording: Recording) -> dict[str, Any]:
    """The recording as dictionaries, lists, texts and numbers, ready for JSON; empty things are left out."""
    return {
        "transactions": [_transaction_data(one) for one in recording.transactions],
        "ai_calls": [
            _filled(
                operation=one.operation,
                model=one.model,
                provider=one.provider,
                failed=one.failed,
                error_type=one.error_type,
                inside=[transaction.number for transaction in one.inside],
            )
            for one in recording.ai_calls
        ],
        "entries": [
            _filled(
                name=one.name,
                failed=one.failed,
                statements=[statement.number for statement in one.statements if statement.number],
            )
            for one in recording.entries
        ],
        "events": [one.event for one in recording.logs if one.event],
        "logs": [
            _filled(severity=one.severity, body=one.body, logger=one.logger)
            for one in recording.logs
            if not one.event
        ],
    }


def _transaction_data(transaction: Transaction) -> dict[str, Any]:
    outer = transaction.outer
    return _filled(
        outcome=str(transaction.outcome),
        reason=str(transaction.reason or ""),
        fate=str(transaction.fate) if transaction.joined else "",
        ended_by=transaction.ended_by if outer is not None else "",
        error_chain=list(transaction.error_chain),
        error_from_ai=transaction.error_from_ai,
        autocommit=transaction.autocommit,
        statements=[
            _filled(
                number=one.number,
                kind=one.kind,
                operation=one.operation,
                tables=list(one.tables),
                text=one.text,
                outcome=str(one.outcome),
                reason=str(one.reason or ""),
                identities=[
                    _filled(
                        column=identity.column,
                        clause=identity.clause,
                        encoding=identity.encoding,
                        domain=identity.domain,
                        value=identity.value,
                    )
                    for identity in one.identities
                ],
                rows=one.rows,
                database=one.database,
                error=one.error,
                constraint=one.constraint,
                undone=one.undone,
                entry=one.entry,
            )
            for one in transaction.statements
            if not one.is_control
        ],
    )


def _filled(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in ("", None, False, [])}
