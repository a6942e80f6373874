"""No value in what is said of an error: real errors of real databases, with a value planted wherever it fits.

The value is random letters, so that not even three of them in a row stand in an English sentence by chance
(the three are looked for, because databases quote the beginnings of values).
"""

from __future__ import annotations

import asyncio
import random
import re
import sqlite3
from typing import Any

import psycopg
import psycopg2
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import create_async_engine
from support.postgres import Postgres

from trueline.instrumentation.database_errors import error_facts
from trueline.instrumentation.descriptions import _WORDS, clean_description

pytestmark = pytest.mark.sqlalchemy_rest

SETUP = """
CREATE TYPE mood AS ENUM ('ok');
CREATE TABLE parents (id text PRIMARY KEY);
CREATE TABLE rows (id int PRIMARY KEY, email text UNIQUE, other text, v varchar(5), m mood,
  n int CONSTRAINT positive CHECK (n > 0), parent text REFERENCES parents,
  needed text NOT NULL DEFAULT '', r text, EXCLUDE USING hash (r WITH =));
CREATE UNIQUE INDEX lowered ON rows (lower(other));
CREATE TABLE parts (k text) PARTITION BY LIST (k);
CREATE DOMAIN short AS text CHECK (length(value) < 4);
CREATE FUNCTION raising(x text) RETURNS text LANGUAGE plpgsql AS
  $$BEGIN RAISE EXCEPTION 'no % of %', x, 'it' USING DETAIL = x, HINT = x; END$$;
CREATE FUNCTION disguised(x text) RETURNS text LANGUAGE plpgsql AS
  $$BEGIN RAISE unique_violation USING MESSAGE = 'duplicate key ' || x,
    DETAIL = 'Key (' || x || ')=(1) exists', CONSTRAINT = x, TABLE = x, COLUMN = x, SCHEMA = x; END$$;
CREATE FUNCTION quoting(x text) RETURNS text LANGUAGE plpgsql AS
  $$BEGIN RAISE check_violation USING MESSAGE = 'violates check constraint "' || x || '"'; END$$;
CREATE FUNCTION asserting(x text) RETURNS text LANGUAGE plpgsql AS $$BEGIN ASSERT false, x; END$$;
CREATE FUNCTION inside(x text) RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN x; END$$;
CREATE FUNCTION executing(x text) RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'SELECT ' || x; END$$;
CREATE FUNCTION checked() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN RAISE EXCEPTION 'row of % refused', NEW.x; END$$;
CREATE TABLE triggered (x text);
CREATE TRIGGER checking BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION checked();
INSERT INTO rows (id, email, other, r) VALUES (1, '{v}', '{v}', '{v}');
INSERT INTO parents VALUES ('{v}');
INSERT INTO rows (id, parent) VALUES (2, '{v}');
"""
#: Each fails on PostgreSQL, with the value in a parameter ({v} is a literal), in message, detail or context.
FAILURES = """
INSERT INTO rows (id, email) VALUES (3, {v})
INSERT INTO rows (id, other) VALUES (3, upper({v}))
INSERT INTO rows (id, r) VALUES (3, {v})
INSERT INTO rows (id, parent) VALUES (3, {v} || 'x')
DELETE FROM parents WHERE id = {v}
INSERT INTO rows (id, email, n) VALUES (3, {v} || 'y', -1)
INSERT INTO rows (id, email, needed) VALUES (3, {v} || 'y', NULL)
INSERT INTO rows (email) VALUES ({v} || 'y')
INSERT INTO rows (id, v) VALUES (3, {v})
INSERT INTO rows (id, m) VALUES (3, ({v}::text)::mood)
INSERT INTO parts VALUES ({v})
INSERT INTO triggered VALUES ({v})
UPDATE rows SET id = 1 WHERE parent = {v}
SELECT ({v}::text)::short
SELECT ({v}::text)::int
SELECT ({v}::text)::smallint
SELECT ({v}::text)::numeric
SELECT ({v}::text)::float
SELECT ({v}::text)::boolean
SELECT ({v}::text)::date
SELECT ({v}::text)::timestamptz
SELECT ({v}::text)::interval
SELECT ({v}::text)::uuid
SELECT ({v}::text)::jsonb
SELECT ('{"a": ' || {v}::text || '}')::json
SELECT ({v}::text)::inet
SELECT ({v}::text)::bit(3)
SELECT ({v}::text)::point
SELECT ({v}::text)::int4range
SELECT ('{' || {v}::text)::int[]
SELECT ('\\x' || {v}::text)::bytea
SELECT ({v}::text)::regclass
SELECT ({v}::text)::regtype
SELECT ({v}::text)::regproc
SELECT ({v}::text)::regrole
SELECT ({v}::text)::tsquery || ({v}::text || ' ! &')::tsquery
SELECT nextval({v}::text::regclass)
SELECT set_config({v}, 'x', false)
SELECT current_setting({v})
SELECT now() AT TIME ZONE {v}
SELECT encode('x', {v})
SELECT decode({v} || '!', 'base64')
SELECT convert_from('x', {v}::name)
SELECT to_tsvector({v}::text::regconfig, 'x')
SELECT 'a' ~ ({v}::text || '(')
SELECT date_trunc({v}, now())
SELECT jsonb_path_query('{}', ({v}::text || ' !!')::jsonpath)
SELECT to_date({v}, 'YYYY')
SELECT to_number({v}, '999')
SELECT format('%z' || {v}::text)
SELECT array_fill({v}::text, ARRAY[-1])
SELECT jsonb_array_length(to_jsonb({v}::text))
SELECT jsonb_set('1', ARRAY[{v}::text], '2')
SELECT (json_populate_record(NULL::rows, json_build_object('id', {v}::text))).id
SELECT has_table_privilege({v}, 'select')
SELECT pg_read_file({v})
SELECT lo_import({v})
SELECT repeat({v}, 2000000000)
SELECT chr(0) || {v}::text
SELECT 1 / (length({v}::text) - length({v}::text))
SELECT raising({v})
SELECT disguised({v})
SELECT quoting({v})
SELECT asserting({v})
SELECT inside({v})
SELECT executing({v})
SELECT executing('1; ' || {v}::text)
SELECT setval('parents', 424242), {v}::text
""".strip().splitlines()
LITERAL = """
SELECT '{v}'::int
SELECT '{v}'::regclass
SELECT {v} FROM rows
SELECT "{v}" FROM rows
SELECT * FROM rows WHERE email = '{v}' AND
SELECT * FROM rows WHERE '{v}
SELECT {v}('{v}')
SET {v} = '{v}'
SELECT '{v}' + 1
COPY rows FROM '{v}'
CREATE TABLE rows ({v} int)
INSERT INTO rows (id, email) VALUES (9, '{v}')
DO $$BEGIN RAISE EXCEPTION '{v} of %', '{v}'; END$$
""".strip().splitlines()

SQLITE = """
CREATE TABLE parents (id TEXT PRIMARY KEY);
CREATE TABLE rows (id INTEGER PRIMARY KEY, email TEXT UNIQUE, other TEXT, n INT CHECK (n > 0),
  needed TEXT NOT NULL DEFAULT '', parent TEXT REFERENCES parents (id), CHECK (other != '{v}'));
CREATE UNIQUE INDEX lowered ON rows (lower(other));
CREATE TABLE strict_rows (n INT) STRICT;
CREATE TRIGGER refusing BEFORE INSERT ON rows WHEN NEW.id = 77 BEGIN SELECT RAISE(ABORT, 'no {v} here'); END;
CREATE TRIGGER lying BEFORE INSERT ON rows WHEN NEW.id = 78
  BEGIN SELECT RAISE(ABORT, 'UNIQUE constraint failed: {v}.{v}'); END;
INSERT INTO rows (id, email) VALUES (1, '{v}');
"""
SQLITE_FAILURES = """
INSERT INTO rows (id, email) VALUES (2, ?)
INSERT INTO rows (id, other) VALUES (3, ?)
INSERT INTO rows (id, parent) VALUES (3, ?)
INSERT INTO rows (id, email, needed) VALUES (4, ? || 'x', NULL)
INSERT INTO rows (id, email, n) VALUES (4, ? || 'x', -1)
INSERT INTO rows (id, email) VALUES (77, ?)
INSERT INTO rows (id, email) VALUES (78, ?)
INSERT INTO rows (id) VALUES (?)
INSERT INTO strict_rows VALUES (?)
SELECT json(?)
SELECT json_extract('{}', ?)
SELECT abs(-9223372036854775808), ?
SELECT load_extension(?)
ATTACH DATABASE '/nowhere/' || ? AS aux
SELECT zeroblob(-1), printf('%s', ?) MATCH 'x'
SELECT * FROM rows WHERE email REGEXP ?
SELECT ? FROM rows WHERE '{v}
SELECT "{v}", ? FROM nowhere
SELECT '{v}' '{v}', ?
SELECT {v}.{v}, ? FROM rows
SELECT {v}(?)
SELECT ?, ?
INSERT INTO rows ({v}) VALUES (?)
CREATE TABLE rows ({v} INT, x DEFAULT ?)
PRAGMA {v} = ?
""".strip().splitlines()


RAISED = re.compile(r"raising|disguised|quoting|asserting|inside|executing|triggered|RAISE|\(7[78], ")


def value(seed: int) -> str:
    """Letters of which no three are neighbours in an English word."""
    return "".join(random.Random(seed).choices("qxzjkvw", k=12))


def assert_clean(error: BaseException, planted: str, where: str) -> None:
    facts = error_facts(error)
    said = repr((facts.error_type, facts.status_code, facts.description)).lower()
    names = repr((facts.constraint_name, facts.constraint_table, facts.constraint_columns)).lower()
    for start in range(len(planted) - 2):
        piece = planted[start : start + 3].lower()
        assert piece not in said, (where, facts.description)
        assert piece not in names, (where, names)
    # What a function or a trigger raised is not repeated at all.
    assert facts.description or RAISED.search(where), where
    assert "424242" not in said, where


@pytest.fixture
def planted(postgres: Postgres) -> tuple[Postgres, str]:
    planted = value(random.SystemRandom().randrange(2**32))
    print("planted:", planted)
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(SETUP.replace("{v}", planted))
    return postgres, planted


def failing(statement: str, planted: str, mark: str) -> tuple[str, int]:
    """The statement with ``mark`` for each value, and how many there are."""
    return statement.replace("%", "%%").replace("{v}", mark), statement.count("{v}")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_every_place_that_postgresql_puts_a_value(planted: tuple[Postgres, str], driver: str) -> None:
    postgres, word = planted
    connect: Any = {"psycopg": psycopg.connect, "psycopg2": psycopg2.connect}[driver]
    connection = connect(postgres.dsn)
    connection.autocommit = True
    error_class = (psycopg.Error, psycopg2.Error)
    try:
        for statement in FAILURES:
            text, count = failing(statement, word, "%s")
            with pytest.raises(error_class) as caught:
                connection.cursor().execute(text, (word,) * count)
            assert_clean(caught.value, word, statement)
        for statement in LITERAL:
            with pytest.raises(error_class) as caught:
                connection.cursor().execute(statement.replace("{v}", word))
            assert_clean(caught.value, word, statement)
    finally:
        connection.close()


def test_the_same_through_asyncpg_and_sqlalchemy(planted: tuple[Postgres, str]) -> None:
    postgres, word = planted
    originals: list[BaseException] = []

    async def main() -> None:
        engine = create_async_engine(postgres.url("asyncpg"), isolation_level="AUTOCOMMIT")
        sa.event.listen(
            engine.sync_engine, "handle_error", lambda context: originals.append(context.original_exception)
        )
        async with engine.connect() as connection:
            for statement in FAILURES:
                text = statement.replace("{v}", "CAST($1 AS text)")
                with pytest.raises(sa.exc.DBAPIError) as caught:
                    await connection.exec_driver_sql(text, (word,))
                for error in (originals.pop(), caught.value):
                    assert_clean(error, word, statement)
            for statement in LITERAL:
                with pytest.raises(sa.exc.DBAPIError) as caught:
                    await connection.exec_driver_sql(statement.replace("{v}", word))
                for error in (originals.pop(), caught.value):
                    assert_clean(error, word, statement)
            # What the driver itself refuses, before the server sees it.
            for argument in (word, [word], {word: word}):
                with pytest.raises(sa.exc.DBAPIError) as caught:
                    await connection.exec_driver_sql("SELECT $1::int", (argument,))
                assert_clean(caught.value, word, "argument")
        await engine.dispose()

    asyncio.run(main())


def test_every_place_that_sqlite_puts_a_value() -> None:
    word = value(random.SystemRandom().randrange(2**32))
    print("planted:", word)
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.executescript(SQLITE.replace("{v}", word))
    failed = 0
    for statement in SQLITE_FAILURES:
        try:
            connection.execute(statement.replace("{v}", word), (word,))
        except sqlite3.Error as error:
            failed += 1
            assert_clean(error, word, statement)
    with pytest.raises((sqlite3.Error, TypeError)) as caught:
        connection.execute("SELECT :a", {word: word})
    assert_clean(caught.value, word, "binding")
    connection.close()
    assert failed > 20


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_word_planted_anywhere_in_a_message(data: st.DataObject) -> None:
    """Any sentence, any alphabet, any quotes: what is not known to be no value does not leave."""
    word = data.draw(st.text(st.characters(categories=["L"], max_codepoint=0x2FFF), min_size=6, max_size=20))
    word = f"qx{word}zj"
    before, after = data.draw(st.tuples(SENTENCES, SENTENCES))
    left, right = data.draw(st.sampled_from(QUOTES))
    clean = clean_description(f"{before}{left}{word}{right}{after}")
    assert word not in clean
    assert word[1:-1] not in clean
    assert len(clean) <= 200


PIECES = (
    *(
        "duplicate key value",
        "constraint",
        "relation",
        "column",
        "of table",
        "is not null",
        "Key (",
        "DETAIL:",
    ),
    *(":", "(", ")", "=", "'", '"', "\n", ",", "-", "\\", "`", "%", "$1", "é", "«", "\u2028"),
)
SENTENCES = st.lists(st.sampled_from(PIECES), max_size=8).map(" ".join)
QUOTES = (
    *(("", ""), (" ", " "), ('"', '"'), ("'", "'"), ("`", "`"), ("\u201c", "\u201d"), ("«", "»")),
    *(("-", "-"), ("=", ","), ("@", "."), ("'", ""), ("not-", "-null")),
)


KNOWN = {part for word in _WORDS for part in (word, *word.split("'"), word.replace("'", ""))}


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_gives_known_words_only(text: str) -> None:
    clean = clean_description(text)
    assert len(clean) <= 200
    assert not any(character.isnumeric() for character in clean)
    assert {word.lower() for word in re.findall(r"[^\W_]+", clean.replace("'", ""))} <= KNOWN


def test_numbers_do_not_leave() -> None:
    for text in (
        "is 7",
        "is 4.5",
        "is -17",
        "is 1e9",
        "is 0xff",
        "is \u0663",
        "is \u2460",
        "is \u2167",
        "is 1_000",
    ):
        assert clean_description(text) == "is ?", text
