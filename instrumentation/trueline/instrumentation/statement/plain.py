"""Plain statements, read from their tokens in a tenth of the time that a parser and a tree take.

One INSERT of values, and SELECT, UPDATE and DELETE over named tables whose conditions compare columns with
values or with each other: most of what an ORM sends. Whatever else stands in a statement makes ``read``
return None, and the parser is asked. Where both answer they answer the same, which a test compares.
"""

from __future__ import annotations

from collections.abc import Sequence

from trueline.instrumentation.semconv import Clause, Kind
from trueline.instrumentation.statement.facts import BOOKKEEPING, Comparison, Facts
from trueline.instrumentation.statement.plain_terms import NotPlainError, TermReader
from trueline.instrumentation.statement.plain_words import (
    CLAUSES,
    JOINS,
    MOMENT_FUNCTIONS,
    MOMENTS,
    NOT_PLAIN,
    RESERVED,
)
from trueline.instrumentation.statement.scan import Piece


def read(pieces: Sequence[Piece]) -> Facts | None:
    """Return the facts of one plain statement, None where it is not one."""
    try:
        return _Reader([one for one in pieces if one.template]).read()
    except (NotPlainError, IndexError):
        return None


class _Reader(TermReader):
    def read(self) -> Facts:
        verb = self._words[0]
        self._at = 1
        if verb == "SELECT":
            facts = self._select()
        elif verb == "INSERT":
            facts = self._insert()
        elif verb == "UPDATE":
            facts = self._update()
        elif verb == "DELETE":
            facts = self._delete()
        else:
            raise NotPlainError
        facts.tables = tuple(self._tables)
        facts.filters = tuple(self._filters)
        facts.comparisons = self._comparisons
        return facts

    # -- statements -------------------------------------------------------------------------------------

    def _select(self) -> Facts:
        self._outputs()
        self._source()
        pending: list[tuple[int, bool]] = []  # conditions need all the tables: first those, then these
        while True:
            word = self._words[self._at]
            if word == ",":
                self._at += 1
                self._source()
            elif word in JOINS:
                outer = word == "LEFT"
                self._at += 1
                if outer and self._words[self._at] == "OUTER":
                    self._at += 1
                if word != "JOIN":
                    self._expect("JOIN")
                self._source()
                self._expect("ON")
                pending.append((self._at, not outer))
                self._skip_condition()
            else:
                break
        end = self._at
        for at, certain in pending:
            self._at = at
            self._condition(join=True, certain=certain)
        self._at = end
        self._where()
        return Facts(Kind.READ, "SELECT", lock=self._tail(locks=True))

    def _insert(self) -> Facts:
        self._expect("INTO")
        table = self._table()
        columns = self._column_list()
        self._expect("VALUES")
        while True:
            self._row(table, columns)
            if self._words[self._at] != ",":
                break
            self._at += 1
        conflict = ""
        if self._words[self._at] == "ON":
            self._at += 1
            self._expect("CONFLICT")
            if self._words[self._at] == "(":
                self._column_list()
            self._expect("DO")
            self._expect("NOTHING")
            conflict = "nothing"
        if self._words[self._at] not in ("", "RETURNING"):
            raise NotPlainError
        self._tail()
        return Facts(Kind.WRITE, "INSERT", on_conflict=conflict)

    def _update(self) -> Facts:
        self._source()
        table = next(iter(self._tables))
        self._expect("SET")
        own = others = False
        while True:
            column = self._name()
            self._expect("=")
            if self._words[self._at + 1] in ("+", "-"):  # x = x + ?
                if self._word_name() != column:
                    raise NotPlainError
                self._at += 1
                self._value()
                own = True
            else:
                slot = self._assigned()
                if slot is not None:
                    self._comparisons.append(Comparison(table, column, Clause.SET, (slot,)))
                    others = others or not BOOKKEEPING.fullmatch(column.lower())
            if self._words[self._at] != ",":
                break
            self._at += 1
        self._where()
        self._tail()
        return Facts(Kind.WRITE, "UPDATE", self_update=own and not others)

    def _delete(self) -> Facts:
        self._expect("FROM")
        self._source()
        self._where()
        self._tail()
        return Facts(Kind.WRITE, "DELETE")

    # -- parts ------------------------------------------------------------------------------------------

    def _outputs(self) -> None:
        """Step over what a SELECT returns, to behind its FROM."""
        depth = 0
        words = self._words
        for at in range(self._at, len(words)):
            word = words[at]
            if word == "(":
                depth += 1
            elif word == ")":
                depth -= 1
            elif word == "FROM":
                if depth == 0:
                    if words[at - 1] == "DISTINCT" or at == self._at:
                        break
                    self._at = at + 1
                    return
            elif word in NOT_PLAIN:
                break
        raise NotPlainError

    def _tail(self, *, locks: bool = False) -> bool:
        """Check what follows the conditions; True where it locks rows."""
        words = self._words
        if words[self._at] and words[self._at] not in CLAUSES:
            raise NotPlainError
        lock = False
        for at in range(self._at, len(words)):
            if words[at] == "FOR":
                if not locks:
                    raise NotPlainError
                lock = lock or "UPDATE" in words[at + 1 : at + 4]
            elif words[at] in NOT_PLAIN:
                raise NotPlainError
        return lock

    def _where(self) -> None:
        if self._words[self._at] == "WHERE":
            self._at += 1
            self._condition(join=False, certain=True)

    def _source(self) -> None:
        name = self._table()
        word = self._words[self._at]
        if word == "AS":
            self._at += 1
            alias = self._name()
        elif self._pieces_kind(self._at) == "quoted" or (
            self._pieces_kind(self._at) == "word" and word not in RESERVED
        ):
            alias = self._name()
        else:
            alias = self._last
        if alias in self._sources or self._words[self._at] not in ("", ",", *CLAUSES):
            raise NotPlainError
        self._sources[alias] = name

    def _table(self) -> str:
        parts = [self._name()]
        while self._words[self._at] == ".":
            self._at += 1
            parts.append(self._name())
        if len(parts) > 3:
            raise NotPlainError
        self._last = parts[-1]
        name = ".".join(parts)
        self._tables[name] = None
        return name

    def _column_list(self) -> list[str]:
        self._expect("(")
        names = [self._name()]
        while self._words[self._at] == ",":
            self._at += 1
            names.append(self._name())
        self._expect(")")
        return names

    def _row(self, table: str, columns: list[str]) -> None:
        self._expect("(")
        for number, column in enumerate(columns):
            if number:
                self._expect(",")
            if self._words[self._at] == "DEFAULT":
                self._at += 1
                continue
            slot = self._assigned()
            if slot is not None:
                self._comparisons.append(Comparison(table, column, Clause.SET, (slot,)))
        self._expect(")")

    def _assigned(self) -> int | None:
        """Read what a column is set to: the slot of a value, None for a constant of the database."""
        word = self._words[self._at]
        if word in ("NULL", "TRUE", "FALSE") or word in MOMENTS:
            self._at += 1
            slot = None
        elif word in MOMENT_FUNCTIONS and self._words[self._at + 1 : self._at + 3] == ["(", ")"]:
            self._at += 3
            slot = None
        else:
            slot = self._value()
        if self._words[self._at] not in (",", ")", "", "WHERE", "RETURNING"):
            raise NotPlainError
        return slot
