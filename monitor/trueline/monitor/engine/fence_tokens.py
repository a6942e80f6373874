"""The fence on the level of words: which characters, how much, and which functions are called.

Words are what parser and engine agree on most surely. Both the author's text (so that a refusal can point
into it) and the text that will run are read here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import sqlglot
from sqlglot import Token, TokenType
from sqlglot.errors import TokenError

from trueline.monitor.engine.fenced import FenceError
from trueline.monitor.engine.functions import SYNTAX, TAKE_LAMBDAS, is_allowed, suggestion

#: Longest query, characters, words and open parentheses; the largest shipped one has about a fifth of that.
MAX_LENGTH: Final = 60_000
MAX_WORDS: Final = 15_000
MAX_DEPTH: Final = 60
_OPENING: Final = (TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE)
_CLOSING: Final = (TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE)


def position(token: Token) -> tuple[int, int]:
    """Line and column of a word, from 1."""
    return token.line, max(token.col - len(token.text) + 1, 1)


def read_tokens(sql: str) -> list[Token]:
    """The words of a text of sensible size, without characters that can be read in more than one way."""
    if len(sql) > MAX_LENGTH:
        raise FenceError(f"the query has {len(sql)} characters, more than {MAX_LENGTH}")
    for number, line in enumerate(sql.split("\n"), 1):
        for column, character in enumerate(line, 1):
            if character < " " and character not in "\t\r":
                raise FenceError(f"the query has the control character {character!r}", number, column)
    try:
        tokens = sqlglot.tokenize(sql, dialect="clickhouse")
    except TokenError as error:
        raise FenceError(f"the query cannot be read: {str(error).splitlines()[0]}") from None
    if len(tokens) > MAX_WORDS:
        raise FenceError(f"the query has {len(tokens)} words, more than {MAX_WORDS}")
    depth = 0
    for token in tokens:
        depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
        if depth > MAX_DEPTH:
            raise FenceError(f"the query is nested more than {MAX_DEPTH} deep", *position(token))
        if token.token_type in (TokenType.STRING, TokenType.HEREDOC_STRING):
            continue
        # Typographic quotes, full-width letters: an engine may take them for what they resemble.
        if not token.text.isascii():
            raise FenceError(
                f"{token.text[:40]} is not plain ASCII: write other characters in quoted text only",
                *position(token),
            )
        if (
            token.token_type is TokenType.IDENTIFIER
            and not token.text.replace(" ", "_").replace(".", "_").replace("-", "_").isidentifier()
        ):
            raise FenceError(
                f"the name {token.text[:40]!r} is not made of letters, digits and underscores",
                *position(token),
            )
    return tokens


def check_calls(tokens: list[Token]) -> None:
    """Refuse every call of a function that is not known to be harmless."""
    for at, (token, following) in enumerate(pairwise(tokens)):
        word = token.text.lower()
        quoted = token.token_type is TokenType.IDENTIFIER
        if word == "apply" and not quoted:
            raise FenceError("APPLY is not allowed in a rule: call the function", *position(token))
        if following.token_type is not TokenType.L_PAREN or not _is_word(token):
            continue
        if not (word in SYNTAX and not quoted) and not is_allowed(word):
            raise FenceError(
                f"{token.text} is not a function that a rule may call{suggestion(token.text)}",
                *position(token),
            )
        if word in TAKE_LAMBDAS and _begins_with_a_name(tokens[at + 2 : at + 4]):
            name = tokens[at + 2]
            raise FenceError(
                f"{token.text} is given the bare name {name.text}; write x -> {name.text}(x)", *position(name)
            )


def _is_word(token: Token) -> bool:
    if token.token_type in (TokenType.STRING, TokenType.HEREDOC_STRING, TokenType.NUMBER):
        return False
    return token.token_type is TokenType.IDENTIFIER or token.text[:1].isalpha() or token.text[:1] == "_"


def _begins_with_a_name(arguments: list[Token]) -> bool:
    """Whether a bare name comes first, before others: the engine would call a function of that name."""
    return len(arguments) == 2 and _is_word(arguments[0]) and arguments[1].token_type is TokenType.COMMA
