"""Plain statements, read from their tokens in a tenth of the time that a parser and a tree take.

One INSERT of values, and SELECT, UPDATE and DELETE over named tables whose conditions compare columns with
values or with each other: most of what an ORM sends. Whatever else stands in a statement makes ``read``
return None, and the parser is asked. Where both answer they answer the same, which a test compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trueline.instrumentation.semconv import Clause, Kind
from trueline.instrumentation.statement.facts import BOOKKEEPING, Comparison, Facts
from trueline.instrumentation.statement.scan import NUMBER_BASE, Piece

_JOINS: Final = frozenset({"JOIN", "INNER", "LEFT"})
#: Words that end a table's name or a condition.
_CLAUSES: Final = frozenset(
    {"WHERE", "GROUP", "ORDER", "LIMIT", "OFFSET", "FOR", "ON", "SET", "RETURNING", *_JOINS}
)
#: Words that are neither a column nor an alias, or may not be: a parser knows better.
_RESERVED: Final = frozenset(
    {
        "AND",
        "OR",
        "NOT",
        "NULL",
        "TRUE",
        "FALSE",
        "IN",
        "IS",
        "LIKE",
        "ILIKE",
        "BETWEEN",
        "CASE",
        "WHEN",
        "END",
    }
    | {
        "EXISTS",
        "ANY",
        "ALL",
        "SOME",
        "SELECT",
        "FROM",
        "USING",
        "CROSS",
        "RIGHT",
        "FULL",
        "OUTER",
        "NATURAL",
    }
    | {"LATERAL", "ONLY", "UNION", "EXCEPT", "INTERSECT", "HAVING", "WINDOW", "FETCH", "TABLESAMPLE", "INTO"}
    | {
        "PARTITION",
        "USE",
        "FORCE",
        "IGNORE",
        "INDEXED",
        "AS",
        "INTERVAL",
        "ARRAY",
        "ROW",
        "VALUES",
        "DEFAULT",
    }
    | {"BINARY", "CAST", "COLLATE", "DISTINCT", "STRAIGHT_JOIN", "WITH", "ASOF", "PIVOT", "UNPIVOT", "SEMI"}
    | {"ANTI", "MINUS", "QUALIFY", "MATCH_RECOGNIZE", "GLOB", "MATCH", "REGEXP", "RLIKE", "SIMILAR", "ESCAPE"}
    | {"OVERLAPS", "ISNULL", "NOTNULL", "XOR", "DIV", "MOD", "SOUNDS", "MEMBER", "AT", "CURRENT_DATE", "USER"}
    | {"CURRENT_TIME", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "CURRENT_USER", "SESSION_USER"}
    | {"CURRENT_ROLE", "CURRENT_CATALOG", "CURRENT_SCHEMA", "SYSDATE", "LOCK", "PROCEDURE", "FINAL", "UNNEST"}
    | {
        "TABLE",
        "OPERATOR",
        "SYSTEM_USER",
        "CURRENT_DATETIME",
        "UTC_DATE",
        "UTC_TIME",
        "UTC_TIMESTAMP",
        *_CLAUSES,
    }
)
#: Anywhere outside a condition these make a statement more than a plain one.
_NOT_PLAIN: Final = frozenset(
    {"SELECT", "UNION", "EXCEPT", "INTERSECT", "HAVING", "WINDOW", "INTO", "WHERE", "JOIN", "FETCH", "LOCK"}
    | {"PROCEDURE", "QUALIFY", "MINUS", "USING", "VALUES", "FROM", "WITH", "FILTER", "CONNECT", "START"}
)
_ORDERS: Final = frozenset({"<", ">", "<=", ">=", "<>", "!="})
_TYPE_WORDS: Final = frozenset({"VARYING", "PRECISION", "WITH", "WITHOUT", "TIME", "ZONE"})
_MOMENTS: Final = frozenset({"CURRENT_TIMESTAMP", "CURRENT_DATE", "CURRENT_TIME"})
_MOMENT_FUNCTIONS: Final = frozenset({"NOW"})
_MAX_DEPTH: Final = 20

_Column = tuple[str, str]
#: The slot of a value, a column, or None for what is neither and does not matter.
_Operand = int | _Column | None


class _NotPlainError(Exception):
    """The statement is for the parser."""


def read(pieces: Sequence[Piece]) -> Facts | None:
    """Return the facts of one plain statement, None where it is not one."""
    try:
        return _Reader([one for one in pieces if one.template]).read()
    except (_NotPlainError, IndexError):
        return None


class _Reader:
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
            raise _NotPlainError
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
            elif word in _JOINS:
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
            raise _NotPlainError
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
                    raise _NotPlainError
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
            elif word in _NOT_PLAIN:
                break
        raise _NotPlainError

    def _tail(self, *, locks: bool = False) -> bool:
        """Check what follows the conditions; True where it locks rows."""
        words = self._words
        if words[self._at] and words[self._at] not in _CLAUSES:
            raise _NotPlainError
        lock = False
        for at in range(self._at, len(words)):
            if words[at] == "FOR":
                if not locks:
                    raise _NotPlainError
                lock = lock or "UPDATE" in words[at + 1 : at + 4]
            elif words[at] in _NOT_PLAIN:
                raise _NotPlainError
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
            self._pieces_kind(self._at) == "word" and word not in _RESERVED
        ):
            alias = self._name()
        else:
            alias = self._last
        if alias in self._sources or self._words[self._at] not in ("", ",", *_CLAUSES):
            raise _NotPlainError
        self._sources[alias] = name

    def _table(self) -> str:
        parts = [self._name()]
        while self._words[self._at] == ".":
            self._at += 1
            parts.append(self._name())
        if len(parts) > 3:
            raise _NotPlainError
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
        if word in ("NULL", "TRUE", "FALSE") or word in _MOMENTS:
            self._at += 1
            slot = None
        elif word in _MOMENT_FUNCTIONS and self._words[self._at + 1 : self._at + 3] == ["(", ")"]:
            self._at += 3
            slot = None
        else:
            slot = self._value()
        if self._words[self._at] not in (",", ")", "", "WHERE", "RETURNING"):
            raise _NotPlainError
        return slot

    # -- conditions -------------------------------------------------------------------------------------

    def _condition(self, *, join: bool, certain: bool, depth: int = 0) -> None:
        """Read terms joined by AND and OR; what stands in an OR is certain of no row."""
        if depth > _MAX_DEPTH:
            raise _NotPlainError
        start = len(self._comparisons)
        either = False
        while True:
            self._term(join, certain, depth)
            word = self._words[self._at]
            if word not in ("AND", "OR"):
                break
            either = either or word == "OR"
            self._at += 1
        if depth == 0 and word and word != "," and word not in _CLAUSES:
            raise _NotPlainError
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
        elif word in _ORDERS:
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
                raise _NotPlainError
        after = self._words[self._at]
        if after and after not in ("AND", "OR", ")", ",") and after not in _CLAUSES:
            raise _NotPlainError

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
            elif depth == 0 and (word == "," or word in _CLAUSES):
                return
            self._at += 1

    def _operand(self, join: bool) -> _Operand:
        piece = self._pieces[self._at]
        if piece.kind == "value":
            return self._value()
        if self._words[self._at] in _MOMENTS:
            self._at += 1
            return None
        parts = [self._name()]
        while self._words[self._at] == ".":
            self._at += 1
            parts.append(self._name())
        if len(parts) == 1:
            if len(self._sources) != 1:
                raise _NotPlainError
            table = next(iter(self._sources.values()))
        elif len(parts) <= 3 and parts[-2] in self._sources:
            table = self._sources[parts[-2]]
        else:
            raise _NotPlainError
        if not join:
            self._filters[f"{table}.{parts[-1]}"] = None
        return table, parts[-1]

    def _value(self) -> int:
        """Read a value and its casts: ``?``, ``$1::UUID``, ``%(x)s::TIMESTAMP WITHOUT TIME ZONE``."""
        piece = self._pieces[self._at]
        if piece.kind != "value":
            raise _NotPlainError
        self._at += 1
        while self._words[self._at] == "::":
            self._at += 1
            self._name()
            while self._words[self._at] in _TYPE_WORDS:
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
            if self._words[self._at] in _RESERVED and before != ".":
                raise _NotPlainError
            self._at += 1
            return piece.template.lower()
        return self._word_name()

    def _word_name(self) -> str:
        piece = self._pieces[self._at]
        if piece.kind == "word":
            return self._name()
        body = piece.template[1:-1]
        if piece.kind != "quoted" or piece.template[0] in body or len(piece.template) < 3:
            raise _NotPlainError
        self._at += 1
        return body

    def _expect(self, word: str) -> None:
        if self._words[self._at] != word:
            raise _NotPlainError
        self._at += 1
