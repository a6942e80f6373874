"""What a database error says: its code, the violated constraint, and a description without row values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from trueline.instrumentation.descriptions import MAX_READ, clean_description
from trueline.instrumentation.semconv import ConstraintKind

_MAX_COLUMNS: Final = 32

SQLSTATE_KINDS: Final = {
    "23505": ConstraintKind.UNIQUE,
    "23503": ConstraintKind.FOREIGN_KEY,
    "23502": ConstraintKind.NOT_NULL,
    "23514": ConstraintKind.CHECK,
    "23P01": ConstraintKind.EXCLUSION,
}
_MYSQL: Final = {
    1022: ConstraintKind.UNIQUE,
    1062: ConstraintKind.UNIQUE,
    1586: ConstraintKind.UNIQUE,
    1048: ConstraintKind.NOT_NULL,
    1364: ConstraintKind.NOT_NULL,
    1216: ConstraintKind.FOREIGN_KEY,
    1217: ConstraintKind.FOREIGN_KEY,
    1451: ConstraintKind.FOREIGN_KEY,
    1452: ConstraintKind.FOREIGN_KEY,
    3819: ConstraintKind.CHECK,
    4025: ConstraintKind.CHECK,
}
SQLITE_KINDS: Final = {
    "UNIQUE": ConstraintKind.UNIQUE,
    "PRIMARY KEY": ConstraintKind.UNIQUE,
    "NOT NULL": ConstraintKind.NOT_NULL,
    "CHECK": ConstraintKind.CHECK,
    "FOREIGN KEY": ConstraintKind.FOREIGN_KEY,
}
_SQLITE_FAILED: Final = re.compile(
    r"(UNIQUE|PRIMARY KEY|NOT NULL|CHECK|FOREIGN KEY) constraint failed(?:: (?P<what>[^\n]*))?"
)
#: The names in PostgreSQL's DETAIL, which stand before the values.
_KEY_COLUMNS: Final = re.compile(r"Key \((?P<columns>[^\n]*?)\)=\(")
_PLAIN_NAME: Final = re.compile(r'"[^"]+"|[^\W\d][\w$]*')
_MYSQL_KEY: Final = re.compile(r"for key '(?P<key>[^']*)'\s*$")
_MYSQL_COLUMN: Final = re.compile(r"(?:Column|Field) '(?P<column>[^']*)'")
_MYSQL_FOREIGN: Final = re.compile(
    r"`(?P<table>[^`]*)`, CONSTRAINT `(?P<name>[^`]*)` FOREIGN KEY \((?P<columns>[^)]*)\)"
)
_MYSQL_CHECK: Final = re.compile(r"(?i)constraint ['`](?P<name>[^'`]*)['`]")

_NAME: Final = re.compile(r"[^\W\d][\w$.]{0,127}")
_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}")
#: Source files of PostgreSQL's procedural languages: message and diagnostics are what a function made them.
_RAISED_IN: Final = re.compile(r"(?:.*/)?pl(?:_exec|perl|py_\w+|tcl|v8\w*)\.\w+")
#: SQLite: here a table of the statement's text stands without quotes.
_SQLITE_TABLE: Final = re.compile(r"(?:no such table: |^table )([^\W\d][\w$]*)(?=$| )")
_SQLITE_ERROR: Final = 1
#: Errors about a table, column, index, type or schema that is not there, or there already: SQLSTATEs, and the
#: numbers of MySQL and SQLite.
_ABOUT_NAMES: Final = frozenset(
    {"42P01", "42703", "42P07", "42701", "42710", "42704", "42P06", "3F000"}
    | {1050, 1051, 1054, 1060, 1061, 1091, 1146, 1364, _SQLITE_ERROR}
)
#: SQLAlchemy's own words for an object whose session has ended.
_DETACHED: Final = re.compile(
    r"(?:Parent instance|Instance) <(?P<name>\w+) at 0x[0-9a-fA-F]+> is not bound to a Session;"
    r"(?: lazy load operation of attribute '(?P<attribute>\w+)')?"
)
_DOTTED_NAME: Final = re.compile(r"[^\W\d][\w$]*(?:\.[^\W\d][\w$]*)*")
_SQLITE_CONSTRAINT_TRIGGER: Final = 1811


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """What an error of the database driver says.

    ``error_type`` is ``status_code`` (SQLSTATE, or the vendor's number) where there is one, else the class.
    ``constraint_kind`` is one of semconv.ConstraintKind or "". ``description`` has no row values, at most
    200 characters.
    """

    error_type: str
    status_code: str
    constraint_name: str = ""
    constraint_kind: str = ""
    constraint_table: str = ""
    constraint_columns: tuple[str, ...] = ()
    description: str = ""


def error_facts(exception: BaseException, statement: str = "") -> ErrorFacts:
    """Read an exception of psycopg, psycopg2, asyncpg (also in SQLAlchemy's wrapping), sqlite3 or MySQL.

    ``statement`` is the statement's text without literals: where the error is about a name (a table or column
    that is not there, or there already), names that stand in the text stay in the description.
    Works on attributes, not classes; never raises. Anything unknown gives its class and a clean description.
    """
    try:
        return _facts(exception, statement)
    except Exception:  # a driver's attributes are foreign code
        return ErrorFacts(_class_name(exception), "")


def description_of(exception: BaseException) -> str:
    """The description of a database's error, or of a lazy load without a session.

    Of what SQLAlchemy wraps of its own (``MissingGreenlet``) it is the class, in brackets as it writes it.
    "" for any other exception: its text is the application's.
    """
    kind = type(exception)
    wrapped = type(getattr(exception, "orig", None))
    if kind.__name__ == "StatementError" and wrapped.__module__.startswith("sqlalchemy."):
        return f"({wrapped.__module__}.{wrapped.__qualname__})"
    if kind.__name__ == "DetachedInstanceError" and kind.__module__.startswith("sqlalchemy."):
        return _detached(str(exception)[:MAX_READ])
    for one in (exception, getattr(exception, "orig", None)):
        if isinstance(one, BaseException) and _is_of_a_driver(one):
            return error_facts(one).description
    return ""


def _detached(text: str) -> str:
    """Class and attribute, which are names of the code."""
    found = _DETACHED.match(text)
    if found is None:
        return ""
    attribute = f"; attribute '{found['attribute']}'" if found["attribute"] else ""
    return f"instance <{found['name']}> is not bound to a session{attribute}"


def _facts(exception: BaseException, statement: str) -> ErrorFacts:
    for one in _chain(exception):
        sqlstate = _text(getattr(one, "sqlstate", None)) or _text(getattr(one, "pgcode", None))
        if _SQLSTATE.fullmatch(sqlstate) and not isinstance(getattr(one, "errno", None), int):
            return _postgresql(exception, sqlstate, _names_in(statement, sqlstate))
        if getattr(one, "sqlite_errorcode", None) is not None or _SQLITE_FAILED.match(str(one)[:MAX_READ]):
            return _sqlite(one, _names_in(statement, getattr(one, "sqlite_errorcode", None)))
        number = _mysql_number(one)
        if number:
            return _mysql(one, number, _names_in(statement, number))
    description = clean_description(str(exception)) if _is_of_a_driver(exception) else ""
    return ErrorFacts(_class_name(exception), "", description=description)


def _names_in(statement: str, code: object) -> set[str]:
    """The names in a statement's text, if ``code`` is one of an error about names."""
    if code not in _ABOUT_NAMES:
        return set()
    dotted = set(_DOTTED_NAME.findall(statement[:MAX_READ]))
    return dotted.union(*(name.split(".") for name in dotted))


def _is_of_a_driver(exception: BaseException) -> bool:
    """Whether a driver made the text, and not code of the application that a driver called.

    Told by the names of PEP 249's hierarchy, of which SQLAlchemy's wrappers have a copy.
    """
    names = {base.__name__ for base in type(exception).__mro__}
    return "Error" in names and not names.isdisjoint(
        {"InterfaceError", "DatabaseError", "Warning", "PostgresError", "MySQLError"}
    )


def _chain(exception: BaseException) -> list[BaseException]:
    """Return the exception and what it wraps: SQLAlchemy's ``orig``, an adapter's cause."""
    found: list[BaseException] = []
    one: BaseException | None = exception
    while one is not None and one not in found and len(found) < 5:
        found.append(one)
        wrapped = getattr(one, "orig", None)
        one = wrapped if isinstance(wrapped, BaseException) else one.__cause__
    return found


def _postgresql(exception: BaseException, sqlstate: str, names: set[str]) -> ErrorFacts:
    name = table = column = message = detail = ""
    kind = SQLSTATE_KINDS.get(sqlstate)
    for one in _chain(exception):
        source: Any = getattr(one, "diag", None) or one
        if _raised_by_function(source):
            return ErrorFacts(sqlstate, sqlstate, constraint_kind=kind or "")
        name = name or _text(getattr(source, "constraint_name", None))
        table = table or _text(getattr(source, "table_name", None))
        column = column or _text(getattr(source, "column_name", None))
        detail = (
            detail or _text(getattr(source, "message_detail", None)) or _text(getattr(one, "detail", None))
        )
        message = (
            message or _text(getattr(source, "message_primary", None)) or _text(getattr(one, "message", None))
        )
    columns: tuple[str, ...] = ()
    if kind is ConstraintKind.NOT_NULL and column:
        columns = (column,)
    elif kind is not None:
        columns = _key_columns(detail)
    return ErrorFacts(
        error_type=sqlstate,
        status_code=sqlstate,
        constraint_name=name if kind is not None else "",
        constraint_kind=kind or "",
        constraint_table=table if kind is not None else "",
        constraint_columns=columns,
        description=clean_description(message or str(exception), {name, table, column, *columns, *names}),
    )


def _raised_by_function(source: Any) -> bool:
    """Whether the text is that of a RAISE or its like: any part of it may be a row's value."""
    file = getattr(source, "source_file", None) or getattr(source, "server_source_filename", None)
    return isinstance(file, str) and _RAISED_IN.fullmatch(file) is not None


def _key_columns(detail: str) -> tuple[str, ...]:
    """Return the plain column names of ``Key (a, b)=(...)``; expressions are left out."""
    found = _KEY_COLUMNS.search(detail[:MAX_READ])
    if found is None:
        return ()
    parts = [part.strip() for part in found["columns"].split(",")][:_MAX_COLUMNS]
    return tuple(part.strip('"') for part in parts if _PLAIN_NAME.fullmatch(part))


def _sqlite(error: BaseException, known: set[str]) -> ErrorFacts:
    message = str(error)[:MAX_READ]
    code = getattr(error, "sqlite_errorcode", None)
    status = str(code) if isinstance(code, int) else ""
    name = table = ""
    columns: tuple[str, ...] = ()
    kind: ConstraintKind | None = None
    # A trigger's RAISE can say anything, that a constraint failed too.
    failed = None if code == _SQLITE_CONSTRAINT_TRIGGER else _SQLITE_FAILED.match(message)
    if failed is not None:
        kind, what = SQLITE_KINDS[failed[1]], failed["what"] or ""
        if kind is ConstraintKind.CHECK:
            name = what if _NAME.fullmatch(what) else ""
        elif what.startswith("index '"):
            name = what.removeprefix("index '").removesuffix("'")
        elif what:
            parts = [part.strip().partition(".") for part in what.split(",")][:_MAX_COLUMNS]
            table, columns = parts[0][0], tuple(part[2] for part in parts if part[2])
    names = {name, table, *columns, *known}
    if code == _SQLITE_ERROR:
        names.update(_SQLITE_TABLE.findall(message))
    return ErrorFacts(
        error_type=status or _class_name(error),
        status_code=status,
        constraint_name=name,
        constraint_kind=kind or "",
        constraint_table=table,
        constraint_columns=columns,
        description="" if code == _SQLITE_CONSTRAINT_TRIGGER else clean_description(message, names),
    )


def _mysql_number(error: BaseException) -> int:
    number = getattr(error, "errno", None)
    if number is None and error.args and len(error.args) >= 2 and isinstance(error.args[1], str):
        number = error.args[0]
    plausible = isinstance(number, int) and not isinstance(error, OSError) and 1000 <= number < 70_000
    return number if plausible and isinstance(number, int) else 0


def _mysql(error: BaseException, number: int, names: set[str]) -> ErrorFacts:
    spoken = getattr(error, "msg", None)
    message = spoken if isinstance(spoken, str) else str(error.args[1] if len(error.args) > 1 else error)
    message = message[:MAX_READ]
    kind = _MYSQL.get(number)
    name = table = ""
    columns: tuple[str, ...] = ()
    if kind is ConstraintKind.UNIQUE and (key := _MYSQL_KEY.search(message)):
        table, _, name = key["key"].rpartition(".")
    elif kind is ConstraintKind.NOT_NULL and (column := _MYSQL_COLUMN.search(message)):
        columns = (column["column"],)
    elif kind is ConstraintKind.FOREIGN_KEY and (foreign := _MYSQL_FOREIGN.search(message)):
        table, name = foreign["table"], foreign["name"]
        columns = tuple(part.strip(" `") for part in foreign["columns"].split(",")[:_MAX_COLUMNS])
    elif kind is ConstraintKind.CHECK and (check := _MYSQL_CHECK.search(message)):
        name = check["name"]
    return ErrorFacts(
        error_type=str(number),
        status_code=str(number),
        constraint_name=name,
        constraint_kind=kind or "",
        constraint_table=table,
        constraint_columns=columns,
        description=clean_description(message, {name, table, f"{table}.{name}", *columns, *names}),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _class_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
