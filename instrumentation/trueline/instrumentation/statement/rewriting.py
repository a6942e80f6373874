"""Words and operators that the parser does not know and a plan does not need, taken out before it.

A parser that stumbles over one word says nothing of the whole statement. What people read keeps them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trueline.instrumentation.statement.lexer import Token

_WRITES: Final = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE"})
#: How a write waits or fails; what an INSERT does on a conflict stays, the parser knows it.
_MODIFIERS: Final = frozenset({"LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK"})
_CONFLICTS: Final = frozenset({"ABORT", "FAIL", "IGNORE", "REPLACE", "ROLLBACK"})
_DROPPED: Final = {"UPDATE": _CONFLICTS | {"OR"}, "DELETE": frozenset({"IGNORE"})}
#: Words after which an operator stands before its only operand.
_BEFORE_PREFIX: Final = frozenset(
    {"SELECT", "DISTINCT", "WHERE", "AND", "OR", "NOT", "ON", "BY", "THEN", "ELSE"}
)

_OPERATOR_CHARACTERS: Final = frozenset("+-*/<>=~!@#%^&|?")
#: An operator of PostgreSQL may end in + or - only if it has one of these.
_SPECIAL: Final = frozenset("~!@#%^&|?")
#: Operators between two values that the parser knows, and pairs of which only the second is one.
_KNOWN: Final = (
    frozenset({"->", "->>", "#>", "#>>", "@>", "<@", "||", "&&", "@@", "@@@", "~", "~*", "!~", "!~*", "~~"})
    | {"!~~", "~~*", "!~~*", "?|", "?&", "<->", "<=>", "!=", "<>", "<=", ">=", "==", "=>", ":=", ">>", "<<"}
    | {"&<", "&>", "^@", "-|-", "@?", "#-", "<?>"}
)
#: Neither equality nor arithmetic: its columns are filters, and it compares no identity.
_UNKNOWN: Final = "<>"


def rewrite(tokens: Sequence[Token], *, postgresql: bool) -> None:
    """Change the templates of tokens in place."""
    first = True
    for at, token in enumerate(tokens):
        if token.kind == "word":
            if first:
                first = token.text.upper() == "EXPLAIN"
                _modifiers(tokens, at)
            elif len(token.text) in (3, 4, 10):
                _word(tokens, at)
        elif token.kind == "op":
            if token.text == ";":
                first = True
            elif postgresql and _continues(token):
                _operator(tokens, at)


def _modifiers(tokens: Sequence[Token], at: int) -> None:
    """LOW_PRIORITY, QUICK, UPDATE IGNORE, UPDATE OR REPLACE ... and REPLACE t, which needs its INTO."""
    verb = tokens[at].text.upper()
    if verb not in _WRITES:
        return
    for index in range(at + 1, min(at + 5, len(tokens))):
        word = tokens[index].text.upper()
        if word in _MODIFIERS or word in _DROPPED.get(verb, ()):
            tokens[index].template = ""
        elif verb == "REPLACE" and word != "INTO":
            tokens[index].template = f"INTO {tokens[index].template}"
            return
        elif word not in ("OR", "IGNORE", *_CONFLICTS):
            return


def _word(tokens: Sequence[Token], at: int) -> None:
    word = tokens[at].text.upper()
    if word == "SOME" and at + 1 < len(tokens) and tokens[at + 1].text == "(":
        tokens[at].template = "ANY"
    elif word == "OVERRIDING" and at + 2 < len(tokens) and tokens[at + 2].text.upper() == "VALUE":
        for token in tokens[at : at + 3]:
            token.template = ""
    elif word == "ROW" and tokens[at - 1].text.upper() in ("VALUES", ","):  # MySQL: VALUES ROW(...), ROW(...)
        tokens[at].template = ""


def _operator(tokens: Sequence[Token], at: int) -> None:
    """Join the characters of one operator; called at each but the first of a run, which it extends."""
    if at + 1 < len(tokens) and _continues(tokens[at + 1]):
        return  # the run is judged at its end
    start = at
    while start > 0 and _continues(tokens[start]) and _operates(tokens[start - 1]):
        start -= 1
    run = tokens[start : at + 1]
    text = "".join(token.text for token in run)
    while len(run) > 1 and text[-1] in "+-" and not _SPECIAL & set(text):
        text, run = text[: -len(run[-1].text)], run[:-1]
    if len(run) > 1 and text not in _KNOWN:
        before = tokens[start - 1].text.upper() if start else "("
        prefix = before in ("(", ",") or before in _BEFORE_PREFIX
        for token in run:
            token.template = ""
        run[0].template = "" if prefix else _UNKNOWN


def _continues(token: Token) -> bool:
    return not token.space and _operates(token)


def _operates(token: Token) -> bool:
    return token.kind == "op" and _OPERATOR_CHARACTERS.issuperset(token.text)
