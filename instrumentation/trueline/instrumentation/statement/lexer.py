"""Tokens of SQL text: enough of the lexical rules of each dialect to know literals from names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from trueline.instrumentation.statement.folding import Repeats, find_repeats

#: Beyond so many tokens the rest of a text is not read: at two microseconds a token that is enough.
MAX_TOKENS: Final = 4000
#: Of a text longer than this many characters no more tokens than that: it is full of values.
LARGE: Final = 65_536
_MAX_TOKENS_OF_LARGE: Final = 600
#: Listed values and rows of values that are looked at one by one; the rest is stepped over and counted.
_MAX_UNITS: Final = 32

_COMMENT: Final = r"(?P<comment>--[^\n]*+|/\*)"
_COMMENT_MYSQL: Final = r"(?P<comment>--(?=\s|\Z)[^\n]*+|\#[^\n]*+|/\*)"
_WORD: Final = r"(?P<word>(?![eEbBxXnN]'|[uU]&')[^\W\d][\w$]*+)"
_STRING: Final = r"[bBxXnN]?'(?>[^']+|'')*+(?:'|\Z)|[uU]&'(?>[^']+|'')*+(?:'|\Z)"
_STRING_ESCAPED: Final = r"[eE]'(?>[^'\\]+|\\.|'')*+(?:'|\\?\Z)"
_STRING_MYSQL: Final = r"[bBxXnN]?'(?>[^'\\]+|\\.|'')*+(?:'|\\?\Z)|\"(?>[^\"\\]+|\\.|\"\")*+(?:\"|\\?\Z)"
_STRING_DOLLAR: Final = r"\$(?P<tag>(?:[^\W\d]\w*+)?)\$(?>[^$]+|\$(?!(?P=tag)\$))*+(?:\$(?P=tag)\$|\Z)"
_QUOTED: Final = r"\"(?>[^\"]+|\"\")*+(?:\"|\Z)"
_QUOTED_TICK: Final = r"`(?>[^`]+|``)*+(?:`|\Z)"
_QUOTED_BRACKET: Final = r"\[[^\]]*+(?:\]|\Z)"
_NUMBER: Final = r"(?P<number>0[xX][0-9a-fA-F]+|(?:\d[\d_]*+(?:\.\d*+)?|\.\d++)(?:[eE][+-]?\d++)?)"
_PERCENT: Final = r"%\((?P<name>[^()]*+)\)[a-zA-Z]|%[sbt](?!\w)"
_COLON: Final = r"(?<![\w\])]):[^\W\d]\w*+"
_DOLLAR: Final = r"\$\d++"
#: Rows and elements of nothing but numbers, strings and constants.
_PLAIN_NUMBER: Final = r"[-+]?[\d.]++(?:[eE][-+]?\d++)?|NULL|null|TRUE|true|FALSE|false"
_OPERATOR: Final = r"(?P<op>::|<=>|<>|!=|<=|>=|==|%%|.)"


def _pattern(
    *, comment: str, strings: tuple[str, ...], quoted: tuple[str, ...], placeholders: tuple[str, ...]
) -> re.Pattern[str]:
    parts = (
        _WORD,
        comment,
        f"(?P<string>{'|'.join(strings)})",
        f"(?P<quoted>{'|'.join(quoted)})",
        r"(?P<cast>::)",
        f"(?P<placeholder>{'|'.join(placeholders)})",
        _NUMBER,
        _OPERATOR,
    )
    # the blanks before a token are part of its match: half as many matches
    return re.compile(rf"\s*+(?:{'|'.join(parts)}|(?P<end>\Z))", re.DOTALL)


#: PostgreSQL: a question mark is an operator, double quotes and dollar quotes are what they are.
POSTGRESQL: Final = _pattern(
    comment=_COMMENT,
    strings=(_STRING_ESCAPED, _STRING, _STRING_DOLLAR),
    quoted=(_QUOTED,),
    placeholders=(_PERCENT, _DOLLAR, _COLON),
)
MYSQL: Final = _pattern(
    comment=_COMMENT_MYSQL,
    strings=(_STRING_MYSQL,),
    quoted=(_QUOTED_TICK,),
    placeholders=(r"\?", _PERCENT, _COLON),
)
SQLITE: Final = _pattern(
    comment=_COMMENT,
    strings=(_STRING,),
    quoted=(_QUOTED, _QUOTED_TICK, _QUOTED_BRACKET),
    placeholders=(r"\?\d*+", r"(?<![\w\])])[:@$]\w++"),
)
OTHER: Final = _pattern(
    comment=_COMMENT,
    strings=(_STRING,),
    quoted=(_QUOTED, _QUOTED_TICK),
    placeholders=(r"\?\d*+", _PERCENT, _DOLLAR, r"(?<![\w\])]):\w++", r"@[^\W\d]\w*+"),
)


def _rest(string: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what matches the rest of a list up to its parenthesis, and the rest of rows."""
    value = rf"(?:{_PLAIN_NUMBER}|{string})"
    values = rf"\s*+{value}\s*+(?:,\s*+{value}\s*+)*+"
    row = rf"\s*+\({values}\)\s*+"
    return re.compile(rf"{values}(?=\))", re.DOTALL), re.compile(rf"{row}(?:,{row})*+", re.DOTALL)


_REST: Final = _rest(r"'(?>[^']+|'')*+'")
_REST_MYSQL: Final = _rest(r"'(?>[^'\\]+|\\.|'')*+'")

#: Patterns by SQLAlchemy's dialect name, anything else is OTHER.
LEXERS: Final[dict[str, re.Pattern[str]]] = {
    "postgresql": POSTGRESQL,
    "cockroachdb": POSTGRESQL,
    "mysql": MYSQL,
    "mariadb": MYSQL,
    "sqlite": SQLITE,
}

_COMPARISONS: Final = frozenset({"=", "==", "<>", "!=", "<", ">", "<=", ">=", "LIKE", "GLOB", "IS"})
_SIGNED: Final = frozenset({"(", ",", "=", "==", "<>", "!=", "<", ">", "<=", ">="})
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "0": "\0"}
_NESTED: Final = re.compile(r"/\*|\*/")


def comment_end(text: str, start: int, *, nested: bool) -> int:
    """Return where the block comment that begins at ``start`` ends; the text's end if it never does."""
    if not nested:
        end = text.find("*/", start + 2)
        return len(text) if end < 0 else end + 2
    end = text.find("*/", start + 2)
    if end >= 0 and text.find("/*", start + 2, end) < 0:
        return end + 2  # nearly always
    depth = 0
    for mark in _NESTED.finditer(text, start):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def unquote(token: str, dialect: str) -> str:
    """Return the value of a string literal: without quotes and prefix, doubled quotes and escapes undone."""
    if token.startswith("$"):
        tag = token[: token.index("$", 1) + 1]
        return token[len(tag) :].removesuffix(tag)
    start = 0 if token[0] in "'\"" else token.find("'")
    quote = token[start]
    body = token[start + 1 :].removesuffix(quote)
    if "\\" in body and (token[0] in "eE" or LEXERS.get(dialect) is MYSQL):
        body = _ESCAPE.sub(_unescape, body)
    return body.replace(quote * 2, quote)


def _unescape(escape: re.Match[str]) -> str:
    return _ESCAPED.get(escape[1], escape[1])


@dataclass(slots=True)
class Token:
    """One token. ``template`` is how the parser is to see it; ``space``: blank or comment stood before it.

    Of placeholders, ``key`` is the name, or the position where the text says it, or None: the next one.
    ``hidden``: a name that may be a value, not to be shown. ``repeats`` is set on the tokens of a unit whose
    repetitions follow it and were left out.
    """

    kind: str
    text: str
    template: str
    start: int
    end: int
    space: bool
    key: int | str | None = None
    repeats: Repeats | None = None
    hidden: bool = False


@dataclass(slots=True)
class _List:
    """The list whose first unit is being read: depth inside it, the unit's first token, VALUES or IN."""

    depth: int
    first: int
    rows: bool


@dataclass(slots=True)
class _Bulk:
    """The list that is being read: depth of its commas, VALUES or IN, the current unit's first token."""

    depth: int
    rows: bool
    first: int
    units: int = 1


def lex(text: str, dialect: str, limit: int = 0, now: int = 0) -> tuple[list[Token], bool, bool]:
    """Return the tokens of a text, about ``limit`` or ``now`` at most, whether it was read to its end, and
    else whether it was cut in a list of values, so that what stands before is a whole statement.
    """
    lexer = _Lexer(text, dialect, limit, now)
    tokens, complete = lexer.run()
    return tokens, complete, lexer.cut_in_list


class _Lexer:
    def __init__(self, text: str, dialect: str, limit: int, now: int) -> None:
        self._text = text
        self._limit = limit or (now or MAX_TOKENS if len(text) <= LARGE else _MAX_TOKENS_OF_LARGE)
        self._pattern = LEXERS.get(dialect, OTHER)
        self._tokens: list[Token] = []
        self._position = 0
        self._space = False
        self.cut_in_list = False
        self._list: _List | None = None
        self._bulk: _Bulk | None = None
        # For each open parenthesis: does it hold listed values? And did the one closed last?
        self._parens: list[bool] = []
        self._closed_listed = False

    def run(self) -> tuple[list[Token], bool]:
        text, match = self._text, self._pattern.match
        length = len(text)
        while len(self._tokens) < self._limit:
            if self._position >= length:
                return self._tokens, True
            found = match(text, self._position)
            if found is None:  # cannot be: any character is an operator at least
                return self._tokens, False
            kind = found.lastgroup or "op"
            start, end = found.span(kind)
            self._space = self._space or start > self._position
            self._position = end
            if kind == "comment":
                self._space = True
                if text.startswith("/*", start):
                    nested = self._pattern is POSTGRESQL
                    self._position = comment_end(text, start, nested=nested)
            elif kind != "end":
                self._add(kind, text[start:end], start)
        complete = self._limit > 0 and self._position >= length
        if not complete:
            self._close()
        return self._tokens, complete

    def _close(self) -> None:
        """End the list of values in which a text was cut, so that what stands before it can be read."""
        bulk = self._bulk
        if bulk is None or len(self._parens) < bulk.depth:
            return
        self.cut_in_list = True
        if bulk.rows:
            return  # rows before an unfinished one are a statement
        if self._limit:  # the element that was being read
            del self._tokens[max(bulk.first - 1, 0) :]
        for _ in range(bulk.depth):
            self._tokens.append(Token("op", ")", ")", self._position, self._position, False))

    def _add(self, kind: str, text: str, start: int) -> None:
        token = Token(kind, text, text, start, self._position, self._space)
        if kind == "op" and self._operator(token):
            return
        if kind == "number" and self._is_sign(token):
            sign = self._tokens.pop()
            token.text, token.start, token.space = f"-{text}", sign.start, sign.space
        if kind == "placeholder":
            token.key = _key(text)
        elif kind == "quoted":
            self._quoted(token)
        self._space = False
        self._tokens.append(token)
        if (
            text == ")"
            and self._list is not None
            and self._list.rows
            and len(self._parens) < self._list.depth
        ):
            self._fold()

    def _is_sign(self, number: Token) -> bool:
        """Tell whether the token before a number is its minus sign: chat and group ids are negative."""
        if len(self._tokens) < 2 or self._tokens[-1].text != "-" or self._tokens[-1].end != number.start:
            return False
        before = self._tokens[-2]
        return before.kind == "op" and before.text in _SIGNED

    def _operator(self, token: Token) -> bool:
        """Follow parentheses and lists; True where the token was part of repetitions and is left out."""
        text = token.text
        before = self._tokens[-1] if self._tokens else None
        if text == "%%":
            token.text = token.template = "%"
        elif text == "(":
            word = before.text.upper() if before is not None and before.kind == "word" else ""
            listed = word in ("VALUES", "IN")
            self._parens.append(
                listed
                or (before is not None and before.text == "," and self._closed_listed)
                or (before is not None and before.text == "(" and bool(self._parens) and self._parens[-1])
            )
            if listed:
                rows = word == "VALUES"
                first = len(self._tokens) + (not rows)
                self._list = _List(len(self._parens), first, rows)
                self._bulk = _Bulk(len(self._parens) - rows, rows, first)
        elif text == ")":
            if self._list is not None and not self._list.rows and len(self._parens) == self._list.depth:
                self._list = None
            self._closed_listed = self._parens.pop() if self._parens else False
        elif text == ",":
            if self._list is not None and len(self._parens) == self._list.depth:
                return not self._list.rows and self._fold()
            bulk = self._bulk
            if bulk is not None and len(self._parens) == bulk.depth:
                bulk.units += 1
                if bulk.units > _MAX_UNITS and self._skip(bulk):
                    return True
                bulk.first = len(self._tokens) + 1
        return False

    def _skip(self, bulk: _Bulk) -> bool:
        """Step over the rest of a list or of rows, where it holds nothing but values.

        The end of a large one is not looked for: the text counts as cut there.
        """
        unit = self._tokens[bulk.first :]
        if any(one.kind == "placeholder" for one in unit):
            return False
        start = self._position
        if len(self._text) > LARGE:
            self._limit = 0
            end = len(self._text)
        else:
            patterns = _REST_MYSQL if self._pattern is MYSQL else _REST
            found = patterns[bulk.rows].match(self._text, start)
            if found is None:
                return False
            end = found.end()
            self._bulk = None
        # of a text that was cut, and of strings with such characters, this is an estimate
        count = self._text.count("(" if bulk.rows else ",", start, end) + (not bulk.rows)
        for one in unit:
            one.repeats = Repeats(count + 1, end, ())
        self._position = end
        return True

    def _fold(self) -> bool:
        """Skip the repetitions of the first unit of the current list, which has just ended."""
        assert self._list is not None
        unit = self._tokens[self._list.first :]
        self._list = None
        kinds = {one.kind for one in unit}
        if "string" in kinds or not kinds & {"placeholder", "number"}:
            return False
        repeats = find_repeats(self._text, unit[0].start, unit[-1].end)
        if repeats is None:
            return False
        self._position = repeats.end
        for token in unit:
            token.repeats = repeats
        return True

    def _quoted(self, token: Token) -> None:
        if self._pattern is SQLITE and token.text[0] == '"' and self._is_string_after_all(token):
            token.kind = "string"
        elif token.text[0] == "[":
            name = token.text[1:].removesuffix("]").replace('"', '""')
            token.template = f'"{name}"'

    def _is_string_after_all(self, token: Token) -> bool:
        """SQLite takes "text" for a string where no such column exists: in value position assume that."""
        if not self._tokens or self._text.startswith(".", token.end):
            return False
        before = self._tokens[-1].text.upper()
        if before in _COMPARISONS:
            left = self._tokens[-2] if len(self._tokens) > 1 else None
            if left is not None and left.kind == "quoted" and left.text[0] == '"':
                # who quotes names like that compares two columns; if not, it is nobody's to read
                token.hidden = True
                return False
            # 'value' = "column" has its column on the right
            return left is None or left.kind not in ("string", "number", "placeholder")
        return before in ("(", ",") and bool(self._parens) and self._parens[-1]


def _key(text: str) -> int | str | None:
    """Return the name or the position (from 0) that a placeholder says; None where it is the next one."""
    if text[0] == "%":
        return text[2:-2] if text[1] == "(" else None
    digits = text[1:]
    if not digits:
        return None
    return int(digits) - 1 if digits.isdecimal() and len(digits) < 7 else digits
