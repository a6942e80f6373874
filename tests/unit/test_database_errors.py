"""Facts of database errors: real exceptions of real drivers, and descriptions without row values."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import create_async_engine

from trueline.instrumentation.database_errors import ErrorFacts, error_facts
from trueline.instrumentation.descriptions import clean_description

CANARY = "canary7731"
TABLES = """
CREATE TABLE users (id INTEGER PRIMARY KEY);
CREATE TABLE expenses (
  id INTEGER PRIMARY KEY,
  user_id INTEGER REFERENCES users (id) DEFERRABLE,
  drop_number TEXT NOT NULL,
  amount INTEGER CONSTRAINT positive CHECK (amount > 0),
  tenant TEXT,
  CONSTRAINT one_drop UNIQUE (drop_number, tenant)
);
"""
GOOD = f"INSERT INTO expenses (id, drop_number, tenant) VALUES (1, '{CANARY}', 't')"
#: Statement, SQLSTATE, constraint's name on PostgreSQL, kind, columns.
FAILURES = {
    "unique": (
        f"INSERT INTO expenses (id, drop_number, tenant) VALUES (2, '{CANARY}', 't')",
        ("23505", "one_drop", "unique", ("drop_number", "tenant")),
    ),
    "primary key": (
        f"INSERT INTO expenses (id, drop_number, tenant) VALUES (1, '{CANARY}', 'x')",
        ("23505", "expenses_pkey", "unique", ("id",)),
    ),
    "not null": (
        f"INSERT INTO expenses (id, tenant) VALUES (3, '{CANARY}')",
        ("23502", "", "not_null", ("drop_number",)),
    ),
    "check": (
        f"INSERT INTO expenses (id, drop_number, amount) VALUES (4, '{CANARY}', -7731)",
        ("23514", "positive", "check", ()),
    ),
    "foreign key": (
        f"INSERT INTO expenses (id, drop_number, user_id) VALUES (5, '{CANARY}', 7731)",
        ("23503", "expenses_user_id_fkey", "foreign_key", ("user_id",)),
    ),
}


def without_values(facts: ErrorFacts) -> ErrorFacts:
    assert CANARY not in repr(facts)
    assert "7731" not in repr(facts)
    assert len(facts.description) <= 200
    assert facts.description
    return facts


@pytest.fixture
def sqlite() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.executescript(TABLES)
    connection.execute(GOOD)
    connection.commit()
    yield connection
    connection.close()


@pytest.mark.parametrize("name", FAILURES)
def test_sqlite(sqlite: sqlite3.Connection, name: str) -> None:
    statement, (_, _, kind, columns) = FAILURES[name]
    with pytest.raises(sqlite3.IntegrityError) as caught:
        sqlite.execute(statement)
    facts = without_values(error_facts(caught.value))
    assert facts.constraint_kind == kind
    assert facts.status_code == str(caught.value.sqlite_errorcode) == facts.error_type
    if kind == "foreign_key":  # SQLite does not say which
        assert (facts.constraint_table, facts.constraint_columns) == ("", ())
    elif kind == "check":
        assert facts.constraint_name == "positive"
    else:
        assert (facts.constraint_table, facts.constraint_columns) == ("expenses", columns)


def test_sqlite_other_errors(sqlite: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite.execute(f"SELECT '{CANARY}' FROM nowhere")
    facts = without_values(error_facts(caught.value))
    assert facts.description == "no such table: nowhere"
    assert facts.constraint_kind == ""
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite.execute(f"SELECT 1 '{CANARY}' 'x'")
    without_values(error_facts(caught.value))


@pytest.fixture(scope="module")
def database(postgres_server: URL) -> Iterator[URL]:
    """One database for all failures: each of them is rolled back."""
    engine = sa.create_engine(postgres_server.set(drivername="postgresql+psycopg"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("CREATE DATABASE errors")
    filled = sa.create_engine(engine.url.set(database="errors"))
    with filled.begin() as connection:
        for statement in (*TABLES.split(";")[:-1], GOOD):
            connection.exec_driver_sql(statement)
    filled.dispose()
    yield filled.url
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("DROP DATABASE errors WITH (FORCE)")
    engine.dispose()


def failing(database: URL, driver: str, statement: str) -> BaseException:
    """Return the exception that SQLAlchemy's handle_error event gets as the original one."""
    url = database.set(drivername=f"postgresql+{driver}")
    if driver == "asyncpg":
        return asyncio.run(failing_async(url, statement))
    engine = sa.create_engine(url)
    originals = watch(engine)
    with pytest.raises(sa.exc.DBAPIError), engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
    return originals[0]


async def failing_async(url: URL, statement: str) -> BaseException:
    engine = create_async_engine(url)
    originals = watch(engine.sync_engine)
    with pytest.raises(sa.exc.DBAPIError):
        async with engine.begin() as connection:
            await connection.exec_driver_sql(statement)
    await engine.dispose()
    return originals[0]


def watch(engine: sa.Engine) -> list[BaseException]:
    originals: list[BaseException] = []
    sa.event.listen(engine, "handle_error", lambda context: originals.append(context.original_exception))
    return originals


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
@pytest.mark.parametrize("name", FAILURES)
def test_postgresql(database: URL, driver: str, name: str) -> None:
    statement, (sqlstate, constraint, kind, columns) = FAILURES[name]
    facts = without_values(error_facts(failing(database, driver, statement)))
    assert (facts.status_code, facts.error_type) == (sqlstate, sqlstate)
    assert (facts.constraint_name, facts.constraint_kind) == (constraint, kind)
    assert (facts.constraint_table, facts.constraint_columns) == ("expenses", columns)
    named = constraint or "drop_number"
    assert f'"{named}"' in facts.description


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        (f"SELECT * FROM nowhere WHERE a = '{CANARY}'", "42P01"),
        (f"SELECT nothing FROM users WHERE 1 = 1 OR '{CANARY}' = ''", "42703"),
        (f"SELECT * FROM users WHERE id = '{CANARY}'", "22P02"),
        (f"SELECT '{CANARY}'::date", "22007"),
        (f"SELECT FROM WHERE '{CANARY}'", "42601"),
        ("CREATE TABLE users (id INTEGER)", "42P07"),
        ("SELECT 7731000000::int", "22003"),
    ],
)
def test_postgresql_other_errors(database: URL, driver: str, statement: str, sqlstate: str) -> None:
    facts = without_values(error_facts(failing(database, driver, statement)))
    assert (facts.status_code, facts.constraint_kind, facts.constraint_name) == (sqlstate, "", "")
    assert facts.constraint_table == ""


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "asyncpg"])
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT * FROM public.nowhere", 'relation "public.nowhere" does not exist'),
        ("SELECT u.currency FROM users u", "column u.currency does not exist"),
        ("INSERT INTO users (id, age) VALUES (1, 2)", 'column "age" of relation "users" does not exist'),
        ("CREATE TABLE users (id INTEGER)", 'relation "users" already exists'),
    ],
)
def test_names_of_the_statement_stay(database: URL, driver: str, statement: str, said: str) -> None:
    error = failing(database, driver, statement)
    assert error_facts(error, statement).description == said
    # Another statement's names, or those of a literal that the text does not have, are values.
    hidden = error_facts(error, "SELECT ? FROM t").description
    assert "?" in hidden
    assert not any(name in hidden for name in ("nowhere", "currency", "age", "users"))


def test_names_of_the_statement_stay_on_others(sqlite: sqlite3.Connection) -> None:
    statement = "INSERT INTO expenses (id, currency) VALUES (?, ?)"
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite.execute(statement, (1, CANARY))
    assert error_facts(caught.value, statement).description == "table expenses has no column named currency"
    unknown = MySQLError(1054, "Unknown column 'currency' in 'field list'")
    assert error_facts(unknown, statement).description == "Unknown column 'currency' in '?'"
    assert error_facts(unknown).description == "Unknown column '?' in '?'"
    # Not an error about names: what it quotes are values, even where the statement has such a name.
    same = MySQLError(1366, "Incorrect integer value: 'currency' for column 'id' at row 1")
    assert "currency" not in error_facts(same, statement).description


def test_sqlalchemy_wrapping_is_seen_through(sqlite: sqlite3.Connection) -> None:
    engine = sa.create_engine("sqlite://", creator=lambda: sqlite)
    with pytest.raises(sa.exc.IntegrityError) as caught, engine.connect() as connection:
        connection.exec_driver_sql(FAILURES["unique"][0])
    engine.dispose()
    facts = without_values(error_facts(caught.value))
    assert (facts.constraint_kind, facts.constraint_table) == ("unique", "expenses")


class MySQLError(Exception):
    """The shape of mysqlclient's and PyMySQL's errors: (number, message)."""


@pytest.mark.parametrize(
    ("number", "message", "kind", "name", "table", "columns"),
    [
        (
            1062,
            f"Duplicate entry '{CANARY}' for key 'expenses.one_drop'",
            "unique",
            "one_drop",
            "expenses",
            (),
        ),
        (1062, f"Duplicate entry '{CANARY}' for key 'PRIMARY'", "unique", "PRIMARY", "", ()),
        (1048, "Column 'drop_number' cannot be null", "not_null", "", "", ("drop_number",)),
        (1364, "Field 'drop_number' doesn't have a default value", "not_null", "", "", ("drop_number",)),
        (3819, "Check constraint 'positive' is violated.", "check", "positive", "", ()),
        (
            1452,
            "Cannot add or update a child row: a foreign key constraint fails (`app`.`expenses`, CONSTRAINT "
            "`fk_user` FOREIGN KEY (`user_id`) REFERENCES `users` (`id`))",
            *("foreign_key", "fk_user", "expenses", ("user_id",)),
        ),
        (1366, f"Incorrect integer value: '{CANARY}' for column 'amount' at row 1", "", "", "", ()),
    ],
)
def test_mysql_messages(
    number: int, message: str, kind: str, name: str, table: str, columns: tuple[str, ...]
) -> None:
    """No MySQL server here: the numbers and messages are the server's, as its manual lists them."""
    facts = without_values(error_facts(MySQLError(number, message)))
    assert (facts.status_code, facts.error_type) == (str(number), str(number))
    assert (facts.constraint_kind, facts.constraint_name) == (kind, name)
    assert (facts.constraint_table, facts.constraint_columns) == (table, columns)


def test_mysql_connector_has_attributes() -> None:
    error: Any = MySQLError("1062 (23000): Duplicate entry")
    error.errno, error.sqlstate, error.msg = 1062, "23000", f"Duplicate entry '{CANARY}' for key 'one_drop'"
    facts = without_values(error_facts(error))
    assert (facts.status_code, facts.constraint_name) == ("1062", "one_drop")


@pytest.mark.parametrize("error", [TimeoutError("late"), ConnectionResetError(104, "reset"), KeyError("x")])
def test_errors_of_others(error: Exception) -> None:
    facts = error_facts(error)
    assert (facts.error_type, facts.status_code, facts.constraint_kind) == (type(error).__name__, "", "")


class Hostile(Exception):  # noqa: N818
    @property
    def sqlstate(self) -> str:
        raise RuntimeError("no")

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_never_raises() -> None:
    assert error_facts(Hostile()).error_type.endswith(".Hostile")


def test_a_circle_of_causes_ends() -> None:
    one, other = RuntimeError("a"), RuntimeError("b")
    one.__cause__, other.__cause__ = other, one
    assert error_facts(one).error_type == "RuntimeError"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (
            'duplicate key value violates unique constraint "one_drop"\nDETAIL:  Key (a)=(7) already exists.',
            'duplicate key value violates unique constraint "?"',
        ),
        ('invalid input syntax for type integer: "alice"', 'invalid input syntax for type integer: "?"'),
        ("value 'o''brien' of alice@example.com", "value '?' of ?"),
        ("invalid input for query argument $1: 42 (expected str, got int)", "invalid input"),
        ("(1, 'x')\n[SQL: INSERT INTO t VALUES (7)]\n[parameters: ('alice',)]", "(?, '?')"),
        ("row 123456 of 5994471abb01112afcc18159f6cc74b4", "row ? of ?"),
        ("it can't be, said 'alice", "it can't be, ? '?'"),
        ("user alice of acme not found", "user ? of ? not found"),
        ("alice@example.com has age 42, not 43", "? has ?, not ?"),
        ("null value violates not-null constraint", "null value violates not-null constraint"),
        ("", ""),
    ],
)
def test_descriptions(text: str, clean: str) -> None:
    assert clean_description(text) == clean


def test_names_that_are_known_to_be_names_stay() -> None:
    text = 'duplicate key value violates unique constraint "one_drop" of "alice"'
    clean = clean_description(text, {"one_drop"})
    assert clean == 'duplicate key value violates unique constraint "one_drop" of "?"'
