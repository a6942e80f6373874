"""What a log line says of a database's error: code, constraint, table and columns, never a row's value.

For services whose statements nobody sees: a raw driver, a library in between, a process that only logs. The
texts are those of PostgreSQL, SQLite and MySQL, and of the drivers' exception classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from trueline.instrumentation import semconv
from trueline.instrumentation.database_errors import SQLITE_KINDS, SQLSTATE_KINDS, ErrorFacts, error_facts
from trueline.instrumentation.semconv import ConstraintKind

#: A text without any of these says nothing of a database's error. Cheaper than the patterns.
_HINTS: Final = ("constraint", "SQLSTATE", "Duplicate entry", "Violation", "IntegrityError", "cannot be null")
_MAX_READ: Final = 4096
_NAME: Final = r"[^\W\d][\w$.]{0,127}"

_VIOLATES: Final = re.compile(
    r"violates (?P<kind>unique|foreign key|not-null|check|exclusion) constraint"
    rf'(?: "(?P<name>{_NAME})")?(?: on table "(?P<other>{_NAME})")?'
)
_PG_TABLE: Final = re.compile(rf'(?:on table|of relation|for relation) "(?P<table>{_NAME})"')
_PG_COLUMN: Final = re.compile(rf'null value in column "(?P<column>{_NAME})"')
_PG_KEY: Final = re.compile(r"Key \((?P<columns>[\w$\", ]{1,500})\)=\(")
#: SQLSTATEs by what PostgreSQL calls the kinds in its texts.
_PG_CODES: Final = {
    "unique": "23505",
    "foreign key": "23503",
    "not-null": "23502",
    "check": "23514",
    "exclusion": "23P01",
}
_SQLITE: Final = re.compile(
    rf"(?P<kind>UNIQUE|PRIMARY KEY|NOT NULL|CHECK|FOREIGN KEY) constraint failed"
    rf"(?:: (?P<what>{_NAME}(?:, {_NAME})*))?"
)
_MYSQL_DUPLICATE: Final = re.compile(
    rf"Duplicate entry '.{{0,500}}?' for key '(?:(?P<table>{_NAME})\.)?(?P<name>[\w$]{{1,128}})'"
)
_MYSQL_NULL: Final = re.compile(r"Column '(?P<column>[\w$]{1,128})' cannot be null")
_SQLSTATE: Final = re.compile(r"SQLSTATE\W{0,3}(?P<code>[0-9A-Z]{5})\b")

#: Where texts of databases quote rows, parameters or literals.
_VALUES: Final = (
    (
        re.compile(
            r"(Key \([^)\n]{1,500}\)=)\(.*?\)(?= (?:already exists|is not|is still|conflicts)|$)", re.M
        ),
        r"\1(?)",
    ),
    (re.compile(r"(conflicts with existing key \([^)\n]{1,500}\)=)\(.*?\)(?=\.?$)", re.M), r"\1(?)"),
    (re.compile(r"(Failing row contains )\(.*?\)(?=\.?$)", re.M), r"\1(?)"),
    (re.compile(r"(Duplicate entry )'.*?'(?= for key)"), r"\1?"),
    (re.compile(r"\[parameters: .*", re.S), "[parameters: ?]"),
    (re.compile(r"(\[SQL: ).*?\](?=\s*(?:\[parameters|\(Background|$))", re.S), r"\1?]"),
)  # fmt: skip


def masked(text: str) -> str:
    """``text`` without the rows, parameters and statements that a database's error quotes."""
    if not any(
        hint in text for hint in ("Key (", "Failing row", "Duplicate entry", "[parameters: ", "[SQL: ")
    ):
        return text
    for pattern, instead in _VALUES:
        text = pattern.sub(instead, text)
    return text


def facts_of(error: BaseException | None, arguments: Iterable[Any], text: str) -> ErrorFacts | None:
    """What is said of a database's error: by the exception, by one among the arguments, else by the text."""
    for one in (error, *arguments):
        if isinstance(one, BaseException):
            facts = error_facts(one)
            if facts.status_code or facts.constraint_kind:
                return facts
    return facts_in(text)


def facts_in(text: str) -> ErrorFacts | None:
    """What a text says of a database's error; None where it says nothing."""
    text = text[:_MAX_READ]
    if not any(hint in text for hint in _HINTS):
        return None
    return _postgresql(text) or _sqlite(text) or _mysql(text) or _coded(text)


def attributes_of(facts: ErrorFacts) -> dict[str, Any]:
    """As attributes of a log record."""
    said: dict[str, Any] = {
        semconv.DB_RESPONSE_STATUS_CODE: facts.status_code,
        semconv.CONSTRAINT_KIND: str(facts.constraint_kind),
        semconv.CONSTRAINT_NAME: facts.constraint_name,
        semconv.CONSTRAINT_TABLE: facts.constraint_table,
        semconv.CONSTRAINT_COLUMNS: facts.constraint_columns,
    }
    return {name: value for name, value in said.items() if value}


def _postgresql(text: str) -> ErrorFacts | None:
    found = _VIOLATES.search(text)
    if found is None:
        return None
    code = _PG_CODES[found["kind"]]
    kind = SQLSTATE_KINDS[code]
    table = _PG_TABLE.search(text)
    column, key = _PG_COLUMN.search(text), _PG_KEY.search(text)
    columns: tuple[str, ...] = ()
    if column is not None:
        columns = (column["column"],)
    elif key is not None:
        columns = tuple(part.strip(' "') for part in key["columns"].split(","))
    return ErrorFacts(
        error_type=code,
        status_code=code,
        constraint_name=found["name"] or "",
        constraint_kind=kind,
        constraint_table="" if table is None else table["table"],
        constraint_columns=columns,
    )


def _sqlite(text: str) -> ErrorFacts | None:
    found = _SQLITE.search(text)
    if found is None:
        return None
    kind = SQLITE_KINDS[found["kind"]]
    what = found["what"] or ""
    if kind is ConstraintKind.CHECK:
        return ErrorFacts("sqlite3.IntegrityError", "", constraint_name=what, constraint_kind=kind)
    parts = [part.partition(".") for part in what.split(", ")] if "." in what else []
    return ErrorFacts(
        error_type="sqlite3.IntegrityError",
        status_code="",
        constraint_kind=kind,
        constraint_table=parts[0][0] if parts else "",
        constraint_columns=tuple(part[2] for part in parts if part[2]),
    )


def _mysql(text: str) -> ErrorFacts | None:
    duplicate = _MYSQL_DUPLICATE.search(text)
    if duplicate is not None:
        return ErrorFacts(
            error_type="1062",
            status_code="1062",
            constraint_name=duplicate["name"],
            constraint_kind=ConstraintKind.UNIQUE,
            constraint_table=duplicate["table"] or "",
        )
    null = _MYSQL_NULL.search(text)
    if null is None:
        return None
    return ErrorFacts(
        "1048", "1048", constraint_kind=ConstraintKind.NOT_NULL, constraint_columns=(null["column"],)
    )


def _coded(text: str) -> ErrorFacts | None:
    found = _SQLSTATE.search(text)
    if found is None:
        return None
    code = found["code"]
    return ErrorFacts(code, code, constraint_kind=SQLSTATE_KINDS.get(code, ""))
