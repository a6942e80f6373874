"""Names, values and conditions of a plain statement, read from its tokens."""

from __future__ import annotations

from typing import Final

from trueline.instrumentation.semconv import Clause
from trueline.instrumentation.statement.facts import Comparison
from trueline.instrumentation.statement.plain_words import CLAUSES, MOMENTS, ORDERS, RESERVED, TYPE_WORDS
from trueline.instrumentation.statement.scan import NUMBER_BASE, Piece

_MAX_DEPTH: Final = 20

_Column = tuple[str, str]
#: The slot of a value, a column, or None for what is neither and does not matter.
_Operand = int | _Column | None


class NotPlainError(Exception):
    """The statement is for the parser."""


class TermReader:
    """A place in the tokens of one statement, and what was read before it."""

    def __init__(self, pieces: list[Piece]) -> None:
        if pieces and pieces[-1].template == ";":
            pieces.pop()
        self._pieces = pieces
        self._words = [one.template.upper() if one.kind == "word" else one.template for one in pieces]
        self._words.append("")  # the end
        self._at = 0
        self._tables: dict[str, None] = {}
        self._sources: dict[str, str] = {}
        self._filters: dict[str, None] = {}
        self._comparisons: list[Comparison] = []

    # -- conditions -------------------------------------------------------------------------------------

    def _condition(self, *, join: bool, certain: bool, depth: int = 0) -> None:
        """Read terms joined by AND and OR; what stands in an OR is certain of no row."""
        if depth > _MAX_DEPTH:
            raise NotPlainError
        start = len(self._comparisons)
        either = False
        while True:
            self._term(join, certain, depth)
            word = self._words[self._at]
            if word not in ("AND", "OR"):
                break
            either = either or word == "OR"
            self._at += 1
        if depth == 0 and word and word != "," and word not in CLAUSES:
            raise NotPlainError
        if either:
            self._comparisons[start:] = [
                Comparison(one.table, one.column, one.clause, one.slots, one.transform, False)
                for one in self._comparisons[start:]
            ]

    def _term(self, join: bool, certain: bool, depth: int) -> None:
        if self._words[self._at] == "(":
            self._at += 1
            self._condition(join=join, certain=certain, depth=depth + 1)
            self._expect(")")
            return
        left = self._operand(join)
        word = self._words[self._at]
        self._at += 1
        if word == "=":
            right = self._operand(join)
            if isinstance(left, tuple) and isinstance(right, int):
                self._compared(left, (right,), join, certain)
            elif isinstance(left, int) and isinstance(right, tuple):
                self._compared(right, (left,), join, certain)
        elif word in ORDERS:
            self._operand(join)
        elif word == "IN":
            slots = self._listed()
            if isinstance(left, tuple):
                self._compared(left, slots, join, certain)
        elif word == "IS":
            if self._words[self._at] == "NOT":
                self._at += 1
            self._expect("NULL")
        else:
            if word == "NOT":
                word = self._words[self._at]
                self._at += 1
            if word == "IN":
                self._listed()
            elif word in ("LIKE", "ILIKE"):
                self._value()
            elif word == "BETWEEN":
                self._value()
                self._expect("AND")
                self._value()
            else:
                raise NotPlainError
        after = self._words[self._at]
        if after and after not in ("AND", "OR", ")", ",") and after not in CLAUSES:
            raise NotPlainError

    def _listed(self) -> tuple[int, ...]:
        self._expect("(")
        slots = [self._value()]
        while self._words[self._at] == ",":
            self._at += 1
            slots.append(self._value())
        self._expect(")")
        return tuple(slots)

    def _compared(self, column: _Column, slots: tuple[int, ...], join: bool, certain: bool) -> None:
        self._comparisons.append(Comparison(column[0], column[1], Clause.WHERE, slots, "", certain))
        if join:
            self._filters[f"{column[0]}.{column[1]}"] = None

    def _skip_condition(self) -> None:
        """Step over a condition, to what follows it on the same level."""
        depth = 0
        words = self._words
        while word := words[self._at]:
            if word == "(":
                depth += 1
            elif word == ")":
                depth -= 1
            elif depth == 0 and (word == "," or word in CLAUSES):
                return
            self._at += 1

    def _operand(self, join: bool) -> _Operand:
        piece = self._pieces[self._at]
        if piece.kind == "value":
            return self._value()
        if self._words[self._at] in MOMENTS:
            self._at += 1
            return None
        parts = [self._name()]
        while self._words[self._at] == ".":
            self._at += 1
            parts.append(self._name())
        if len(parts) == 1:
            if len(self._sources) != 1:
                raise NotPlainError
            table = next(iter(self._sources.values()))
        elif len(parts) <= 3 and parts[-2] in self._sources:
            table = self._sources[parts[-2]]
        else:
            raise NotPlainError
        if not join:
            self._filters[f"{table}.{parts[-1]}"] = None
        return table, parts[-1]

    def _value(self) -> int:
        """Read a value and its casts: ``?``, ``$1::UUID``, ``%(x)s::TIMESTAMP WITHOUT TIME ZONE``."""
        piece = self._pieces[self._at]
        if piece.kind != "value":
            raise NotPlainError
        self._at += 1
        while self._words[self._at] == "::":
            self._at += 1
            self._name()
            while self._words[self._at] in TYPE_WORDS:
                self._at += 1
            if self._words[self._at] == "(":
                while self._words[self._at] != ")":
                    self._at += 1
                self._at += 1
            while self._words[self._at] == "[" and self._words[self._at + 1] == "]":
                self._at += 2
        marker = piece.template
        return int(marker[3:-1]) if marker[0] == "'" else int(marker) - NUMBER_BASE

    # -- names ------------------------------------------------------------------------------------------

    def _pieces_kind(self, at: int) -> str:
        return self._pieces[at].kind if at < len(self._pieces) else ""

    def _name(self) -> str:
        piece = self._pieces[self._at]
        if piece.kind == "word":
            before = self._words[self._at - 1]
            if self._words[self._at] in RESERVED and before != ".":
                raise NotPlainError
            self._at += 1
            return piece.template.lower()
        return self._word_name()

    def _word_name(self) -> str:
        piece = self._pieces[self._at]
        if piece.kind == "word":
            return self._name()
        body = piece.template[1:-1]
        if piece.kind != "quoted" or piece.template[0] in body or len(piece.template) < 3:
            raise NotPlainError
        self._at += 1
        return body

    def _expect(self, word: str) -> None:
        if self._words[self._at] != word:
            raise NotPlainError
        self._at += 1
