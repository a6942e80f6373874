"""One pass over a statement's text: a template for the parser, a clean text for people, and value slots.

Every literal and every placeholder becomes a numbered slot. The template holds markers in their place, so
that statements which differ in literals, row counts or list lengths share one template and one parse.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from trueline.instrumentation.statement.lexer import LEXERS, POSTGRESQL, Token, lex, unquote
from trueline.instrumentation.statement.plan import Literal, Series, Source
from trueline.instrumentation.statement.rewriting import rewrite

#: Values kept for one slot of a list or of repeated rows; more are counted.
MAX_SOURCES: Final = 1000
_MAX_NUMBER: Final = 60
_MAX_LITERAL: Final = 2048
#: No more of a text is read, in characters.
_MAX_TEXT: Final = 2_000_000
#: Markers: 'tl7' for what may be any value, 900000007 for what was a number.
MARKER_PREFIX: Final = "tl"
NUMBER_BASE: Final = 900_000_000
_QUERY_WORDS: Final = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})
_CONSTANTS: Final = frozenset({"NULL", "TRUE", "FALSE"})


@dataclass(slots=True)
class Slot:
    """Where the value of one marker comes from; several sources where rows or list elements were folded."""

    sources: list[Source]
    more: int = 0


@dataclass(slots=True)
class Piece:
    """A token as the parser sees it (``template``) and as people do (``display``)."""

    kind: str
    template: str
    display: str
    space: bool


@dataclass(slots=True)
class Scan:
    """What the pass found.

    ``complete`` is False where the text was longer than what is read, ``whole`` too unless what was read is a
    statement all the same: it was cut in a list of values.
    """

    tokens: list[Token]
    complete: bool
    whole: bool
    pieces: list[Piece] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)

    def templates(self) -> list[str]:
        """Return the texts for the parser: one a statement, empty statements left out."""
        parts: list[list[str]] = [[]]
        for one in self.pieces:
            if one.kind == "op" and one.template == ";":
                parts.append([])
            else:
                parts[-1].append(f" {one.template}" if one.space else one.template)
        return ["".join(part).strip() for part in parts if part]

    def display(self, limit: int) -> str:
        """Return the clean text, at most ``limit`` characters."""
        parts: list[str] = []
        length = 0
        for one in self.pieces:
            parts.append(f" {one.display}" if one.space else one.display)
            length += len(parts[-1])
            if length > limit:
                break
        return "".join(parts).strip()[:limit]


def scan(text: str, dialect: str, limit: int = 0, now: int = 0) -> Scan:
    """Read a statement in SQLAlchemy's dialect of that name, at most ``limit`` tokens of it.

    ``now``: no more tokens of a text of ordinary length.
    """
    tokens, complete, cut_in_list = lex(text[:_MAX_TEXT], dialect, limit, now)
    rewrite(tokens, postgresql=LEXERS.get(dialect) is POSTGRESQL)
    return _Builder(tokens, Scan(tokens, complete, complete or cut_in_list), dialect).build()


class _Builder:
    def __init__(self, tokens: list[Token], out: Scan, dialect: str) -> None:
        self._dialect = dialect
        self._tokens = tokens
        self._out = out
        self._next_position = 0
        # Of the statement being read: is it a SET, and has its value begun?
        self._sets: bool | None = None
        self._set_value: bool | None = None

    def build(self) -> Scan:
        tokens = self._tokens
        count = len(tokens)
        at = 0
        while at < count:
            token = tokens[at]
            at += 1
            self._emit(token)
            if token.kind == "word" and at < count and tokens[at].text == "(":
                word = token.text.upper()
                if word == "VALUES":
                    at = self._rows(at)
                elif word == "IN" and not self._is_query(at + 1):
                    at = self._elements(at)
        return self._out

    def _is_query(self, at: int) -> bool:
        while at < len(self._tokens) and self._tokens[at].text == "(":
            at += 1
        return at < len(self._tokens) and self._tokens[at].text.upper() in _QUERY_WORDS

    def _rows(self, at: int) -> int:
        """Emit the rows after VALUES, those of the first one's shape folded into it."""
        first = _Unit()
        end = self._closing(at)
        while end is not None:
            folded = self._unit(at, end + 1, first, separator=self._tokens[at - 1])
            if folded and not first.marked:
                first.marked = True
                self._out.pieces.append(Piece("folded", "", ", ...", False))
            at = end + 1
            if (
                at + 1 >= len(self._tokens)
                or self._tokens[at].text != ","
                or self._tokens[at + 1].text != "("
            ):
                return at
            at += 1
            end = self._closing(at)
        # A row that does not end: the text was cut. What stands so far is a statement.
        return at if self._out.complete else len(self._tokens)

    def _elements(self, at: int) -> int:
        """Emit the parenthesised list after IN, its elements folded into the first one of their shape."""
        end = self._closing(at)
        if end is None:
            return at
        self._emit(self._tokens[at])
        first = _Unit()
        mark = len(self._out.pieces)
        at += 1
        start, depth = at, 0
        while at <= end:
            text = self._tokens[at].text
            if depth == 0 and (at == end or text == ","):
                self._unit(start, at, first, separator=self._tokens[start - 1])
                start = at + 1
            depth += (text == "(") - (text == ")")
            at += 1
        for piece in self._out.pieces[mark:]:
            if piece.kind == "value":
                piece.display = "?"
        self._emit(self._tokens[end])
        return end + 1

    def _unit(self, start: int, end: int, first: _Unit, separator: Token) -> bool:
        """Emit one unit of a list; True where it had the first one's shape and was folded into it."""
        out = self._out
        piece_mark, slot_mark = len(out.pieces), len(out.slots)
        if first.shape:
            self._emit(separator)
        shape_mark = len(out.pieces)
        unit = self._tokens[start:end]
        stride = sum(token.kind == "placeholder" and token.key is None for token in unit)
        for token in self._tokens[start:end]:
            if token.kind == "word" and token.text.upper() in _CONSTANTS:
                # a slot, so that rows with and without NULL have one shape
                self._slot(token, [Literal(None)], token.text)
            else:
                self._emit(token, stride)
        rows = next((token.repeats.rows for token in unit if token.repeats), 1)
        self._next_position += stride * (rows - 1)
        shape = tuple("?" if one.kind == "value" else one.template for one in out.pieces[shape_mark:])
        if not first.shape:
            first.shape, first.slots = shape, (slot_mark, len(out.slots))
            return rows > 1
        if shape != first.shape or "?" not in shape:
            return False
        for kept, folded in zip(
            out.slots[first.slots[0] : first.slots[1]], out.slots[slot_mark:], strict=True
        ):
            room = MAX_SOURCES - len(kept.sources)
            kept.sources.extend(folded.sources[:room])
            kept.more += folded.more + len(folded.sources[room:])
        del out.slots[slot_mark:], out.pieces[piece_mark:]
        return True

    def _closing(self, at: int) -> int | None:
        """Return where the parenthesis at ``at`` is closed, None where it never is."""
        depth = 0
        for index in range(at, len(self._tokens)):
            text = self._tokens[index].text
            if text == "(":
                depth += 1
            elif text == ")":
                depth -= 1
                if depth == 0:
                    return index
        return None

    def _emit(self, token: Token, stride: int = 0) -> None:
        if token.kind == "placeholder":
            self._slot(token, self._sources(token, stride), token.text)
        elif token.kind == "string":
            # a longer text is no identity, and would be kept with the plan
            known = len(token.text) <= _MAX_LITERAL
            self._slot(token, [Literal(unquote(token.text, self._dialect) if known else None)], "?")
        elif token.kind == "number":
            self._slot(token, _numbers(token), "?")
        else:
            display = "?" if token.hidden else token.text
            if (self._sets is not False or display == ";") and self._is_setting(token):
                display = "?"
            self._out.pieces.append(Piece(token.kind, token.template, display, token.space))

    def _is_setting(self, token: Token) -> bool:
        """Tell whether a word is the value in ``SET name = value``, where it needs no quotes."""
        word = token.text.upper()
        if word == ";":
            self._sets = self._set_value = None
        elif self._sets is None:
            self._sets = word in ("SET", "PRAGMA")
        elif self._sets and word in ("=", "TO"):
            self._set_value = True
        elif self._set_value:
            return token.kind in ("word", "quoted")
        return False

    def _slot(self, token: Token, sources: list[Source], display: str) -> None:
        number = len(self._out.slots)
        more = 0
        if token.repeats is not None and isinstance(sources[0], Literal):
            more = token.repeats.rows - len(sources)
        self._out.slots.append(Slot(sources, more))
        marker = f"{NUMBER_BASE + number}" if token.kind == "number" else f"'{MARKER_PREFIX}{number}'"
        self._out.pieces.append(Piece("value", marker, display, token.space))

    def _sources(self, token: Token, stride: int) -> list[Source]:
        repeats = token.repeats
        if token.key is None:
            position = self._next_position
            self._next_position += 1
            return [position if repeats is None else Series(position, stride, repeats.rows)]
        counter = repeats.counter_in(token.start, token.end) if repeats is not None else None
        if counter is None or repeats is None:
            return [token.key]
        start, end, step = counter
        digits = int(token.text[start - token.start : end - token.start])
        if isinstance(token.key, int):
            return [Series(token.key, step, repeats.rows)]
        before, after = token.text[: start - token.start], token.text[end - token.start :]
        name = token.text.index(token.key)
        return [
            Series(
                digits,
                step,
                repeats.rows,
                prefix=before[name:],
                suffix=after[: len(token.key) - len(before[name:]) - (end - start)],
            )
        ]


@dataclass(slots=True)
class _Unit:
    """The first unit of a list: what the others are folded into."""

    shape: tuple[str, ...] = ()
    slots: tuple[int, int] = (0, 0)
    marked: bool = False


def _numbers(token: Token) -> list[Source]:
    """Return the values of a number, of all rows where it is a counter."""
    value = _number(token.text)
    repeats = token.repeats
    counter = repeats.counter_in(token.start, token.end) if repeats is not None else None
    if repeats is None or counter is None or not isinstance(value, int):
        return [Literal(value)]
    return [Literal(value + counter[2] * row) for row in range(min(repeats.rows, MAX_SOURCES))]


def _number(text: str) -> int | str:
    if text.removeprefix("-").isdecimal() and len(text) <= _MAX_NUMBER:
        return int(text)
    return text[:_MAX_NUMBER]
