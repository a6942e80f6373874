"""A transaction program as data: what one application does with its database, also badly.

Programs are generated from a seed, interpreted against a real driver, printed when they fail and shrunk by
leaving steps out. Nothing in here knows Trueline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

How = Literal[
    "insert",
    "update",
    "delete",
    "add",
    "add pending",
    "add many",
    "rename",
    "executemany",
    "values",
    "shared",
]
Violation = Literal["", "unique", "deferred", "or rollback"]


@dataclass(frozen=True, slots=True)
class Write:
    """One statement that writes; each of ``numbers`` is a row of its own, found again in the table.

    ``add``, ``add pending``, ``add many`` and ``rename`` go through an ORM session's flush.
    """

    how: How
    numbers: tuple[int, ...]
    violates: Violation = ""
    swallow: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """A read; ``left open`` is a streamed result that is not read to its end."""

    how: Literal["rows", "streamed", "left open", "failing", "timed out"]
    swallow: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call on the handle, or something that happens to it."""

    what: Literal[
        "commit", "rollback", "flush", "expire", "close", "invalidate", "kill", "cancel", "cancel in flight",
        "cancel write in flight", "cancel commit", "repair and commit",
    ]  # fmt: skip
    number: int = 0


@dataclass(frozen=True, slots=True)
class Text:
    """Transaction control as SQL text."""

    sql: str


@dataclass(frozen=True, slots=True)
class Raise:
    """An exception of the application."""

    kind: Literal["ApplicationError", "Stop"] = "ApplicationError"


@dataclass(frozen=True, slots=True)
class Savepoint:
    """``with handle.begin_nested():``; ``dangling`` is one that is begun and forgotten."""

    body: tuple[Step, ...]
    end: Literal["block", "rollback", "dangling"] = "block"
    swallow: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """``try: body except: handler``; ``again`` raises on."""

    body: tuple[Step, ...]
    handler: tuple[Step, ...] = ()
    again: bool = False
    everything: bool = False


@dataclass(frozen=True, slots=True)
class TimeOut:
    """``async with asyncio.timeout():`` around ``body`` and a wait without end."""

    body: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """A session that joins the connection's transaction."""

    body: tuple[Step, ...]
    mode: Literal["conditional_savepoint", "rollback_only", "control_fully", "create_savepoint"]
    end: Literal["commit", "rollback", ""] = ""


Step: TypeAlias = "Write | Read | Call | Text | Raise | Savepoint | Attempt | TimeOut | Joined"

Style = Literal[
    "connect", "engine.begin", "connection.begin", "session", "session.begin", "maker.begin", "dependency",
    "finally close", "dropped",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unit:
    """One use of a connection or session, from taking it to leaving it.

    ``dependency`` is a session in a generator that commits, or rolls back and raises on, and closes;
    ``dropped`` is a handle that nobody closes.
    """

    style: Style
    body: tuple[Step, ...]
    end: Literal["commit", "rollback", ""] = ""
    handle: Literal["connection", "session"] = "connection"
    #: Execution option: AUTOCOMMIT on the connection or on the engine, or a stricter isolation level.
    isolation: Literal["", "AUTOCOMMIT", "engine AUTOCOMMIT", "SERIALIZABLE"] = ""


@dataclass(frozen=True, slots=True)
class Program:
    """Units that one thread or task runs one after the other, on the engine that all programs share."""

    seed: int
    units: tuple[Unit, ...]


def numbers(node: Any, how: tuple[str, ...] = ()) -> Iterator[int]:
    """The numbers of all rows that ``node`` writes, or of those written in one of the ways ``how``."""
    if isinstance(node, tuple):
        for part in node:
            yield from numbers(part, how)
    elif isinstance(node, Write):
        if not how or node.how in how:
            yield from node.numbers
    elif isinstance(node, Call):
        if node.number and not how:
            yield node.number
    elif isinstance(node, (Program, Unit, Savepoint, Attempt, TimeOut, Joined)):
        for field in fields(node):
            value = getattr(node, field.name)
            if isinstance(value, tuple):
                yield from numbers(value, how)


def describe(program: Program) -> str:
    """A readable list of steps."""
    lines = [f"program {program.seed}"]

    def walk(node: Any, indent: str) -> None:
        said = [
            f"{field.name}={value!r}"
            for field in fields(node)
            if (value := getattr(node, field.name)) not in ("", (), False, 0) and not _is_body(value)
        ]
        lines.append(f"{indent}{type(node).__name__} {' '.join(said)}")
        for field in fields(node):
            value = getattr(node, field.name)
            if _is_body(value):
                if field.name != "body":
                    lines.append(f"{indent}{field.name}:")
                for part in value:
                    walk(part, indent + "    ")

    for unit in program.units:
        walk(unit, "  ")
    return "\n".join(lines)


def _is_body(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and not isinstance(value[0], int)


def smaller(node: Any) -> Iterator[Any]:
    """``node`` with one part left out, largest parts first; for shrinking a program that fails."""
    for field in fields(node):
        value = getattr(node, field.name)
        if not _is_body(value):
            continue
        for index, part in enumerate(value):
            yield replace(node, **{field.name: value[:index] + value[index + 1 :]})
            inner = getattr(part, "body", ())
            if _is_body(inner) and isinstance(node, (Unit, Savepoint, Attempt, TimeOut)):
                yield replace(node, **{field.name: value[:index] + inner + value[index + 1 :]})
        for index, part in enumerate(value):
            for less in smaller(part):
                yield replace(node, **{field.name: (*value[:index], less, *value[index + 1 :])})
