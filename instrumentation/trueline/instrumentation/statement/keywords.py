"""What a statement does by its keywords alone: transaction control, DDL, and everything not parsed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trueline.instrumentation.semconv import Kind
from trueline.instrumentation.statement.lexer import Token
from trueline.instrumentation.statement.plan import Control

#: First words whose statements are handed to the parser.
PARSED: Final = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH", "VALUES", "TABLE", "REPLACE", "("}
)
_READ: Final = frozenset(["SELECT", "VALUES", "TABLE", "WITH"])
_WRITE: Final = frozenset(["INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "UPSERT", "LOAD", "REFRESH"])
_DDL: Final = frozenset(
    {"CREATE", "ALTER", "DROP", "TRUNCATE", "RENAME", "COMMENT", "GRANT", "REVOKE", "REINDEX"}
)
#: Words that stand between a keyword and the name of a table.
_NOISE: Final = frozenset(
    {"IF", "NOT", "EXISTS", "ONLY", "INTO", "FROM", "TABLE", "IGNORE", "LOW_PRIORITY", "DELAYED", "QUICK"}
    | {"HIGH_PRIORITY", "OR", "REPLACE", "ABORT", "FAIL", "ROLLBACK", "CONCURRENTLY", "LOCAL", "INFILE"}
)
_RELATIONS: Final = frozenset({"TABLE", "VIEW", "SEQUENCE"})
_NO_NAMES: Final = frozenset(
    {"SELECT", "SET", "VALUES", "WHERE", "ON", "AS", "USING", "LATERAL", "DEFAULT", "UNNEST"}
)
_MAX_TABLES: Final = 32


@dataclass(frozen=True, slots=True)
class Reading:
    """A statement as its keywords show it."""

    kind: Kind
    operation: str
    tables: tuple[str, ...]
    control: Control | None = None
    control_name: str = ""


def read(tokens: Sequence[Token]) -> Reading:
    """Read one statement by its keywords. Never raises; what cannot be told is ``other`` without tables."""
    words = [token.text.upper() if token.kind == "word" else token.text for token in tokens]
    first = next((word for word in words if word != "("), "")
    control, name = _control(tokens, words)
    if control is not None:
        return Reading(Kind.OTHER, first if first.isalpha() else "", (), control, name)
    if first in _DDL:
        return Reading(Kind.DDL, first, _ddl_tables(tokens, words))
    if first == "COPY":
        kind = Kind.WRITE if "FROM" in words and "".join(words[1:2]) != "(" else Kind.READ
        return Reading(kind, first, _names_after(tokens, words, ("COPY",)))
    if first == "WITH":
        first = next((word for word in words if word in _WRITE), "SELECT")
    if first in _WRITE:
        if first in ("LOAD", "REFRESH"):
            return Reading(Kind.WRITE, first, _names_after(tokens, words, ("TABLE", "VIEW")))
        return Reading(Kind.WRITE, first, _dml_tables(tokens, words))
    if first in _READ:
        return Reading(Kind.READ, first, _names_after(tokens, words, ("FROM", "JOIN")))
    return Reading(Kind.OTHER, first if first.isalpha() else "", ())


def _control(tokens: Sequence[Token], words: list[str]) -> tuple[Control | None, str]:
    first, second = words[0] if words else "", words[1] if len(words) > 1 else ""
    if first == "BEGIN" or (first == "START" and second == "TRANSACTION"):
        return Control.BEGIN, ""
    if first in ("COMMIT", "END"):
        return (None, "") if second == "PREPARED" else (Control.COMMIT, "")
    if first in ("ROLLBACK", "ABORT"):
        if second == "PREPARED":
            return None, ""
        if "TO" in words[1:3]:
            at = words.index("TO") + 1
            return Control.ROLLBACK_TO_SAVEPOINT, _name_at(tokens, at + (words[at : at + 1] == ["SAVEPOINT"]))
        return Control.ROLLBACK, ""
    if first == "SAVEPOINT":
        return Control.SAVEPOINT, _name_at(tokens, 1)
    if first == "RELEASE":
        return Control.RELEASE_SAVEPOINT, _name_at(tokens, 1 + (second == "SAVEPOINT"))
    return None, ""


def _ddl_tables(tokens: Sequence[Token], words: list[str]) -> tuple[str, ...]:
    first = words[0]
    if first == "TRUNCATE":
        return _list_at(tokens, _skip_noise(words, 1))
    if "INDEX" in words[1:5] or "TRIGGER" in words[1:5]:
        return _names_after(tokens, words[:40], ("ON",))
    for at, word in enumerate(words[1:8], 1):
        if word in _RELATIONS:
            return _list_at(tokens, _skip_noise(words, at + 1))
    return ()


def _dml_tables(tokens: Sequence[Token], words: list[str]) -> tuple[str, ...]:
    written = _names_after(tokens, words, ("INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"))[:1]
    read_too = _names_after(tokens, words, ("FROM", "JOIN", "USING"))
    return tuple(dict.fromkeys(written + read_too))


def _names_after(tokens: Sequence[Token], words: Sequence[str], keywords: tuple[str, ...]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for at, word in enumerate(words):
        if word in keywords and tokens[at].kind == "word":
            start = _skip_noise(words, at + 1)
            name = _name_at(tokens, start)
            after = words[start + 1] if start + 1 < len(words) else ""
            if name and name.upper() not in _NO_NAMES and not (after == "(" and word == "FROM"):
                found[name] = None
        if len(found) >= _MAX_TABLES:
            break
    return tuple(found)


def _skip_noise(words: Sequence[str], at: int) -> int:
    while at < len(words) and words[at] in _NOISE:
        at += 1
    return at


def _list_at(tokens: Sequence[Token], at: int) -> tuple[str, ...]:
    found = []
    while name := _name_at(tokens, at):
        found.append(name)
        at += 2 * (name.count(".") + 1)
        if at > len(tokens) or tokens[at - 1].text != ",":
            break
    return tuple(found[:_MAX_TABLES])


def _name_at(tokens: Sequence[Token], at: int) -> str:
    """Return the name that begins at a token: lower-case unless quoted, parts joined with dots."""
    parts = []
    while at < len(tokens) and tokens[at].kind in ("word", "quoted"):
        token = tokens[at]
        parts.append(token.text[1:-1] if token.kind == "quoted" else token.text.lower())
        if at + 1 >= len(tokens) or tokens[at + 1].text != ".":
            break
        at += 2
    return ".".join(parts)
