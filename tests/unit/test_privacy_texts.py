"""Texts that the application or a person wrote do not pass for the database's or the programmer's own."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any

import pytest
from sqlalchemy import ForeignKey, create_engine
from sqlalchemy.exc import MissingGreenlet, StatementError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.orm.exc import DetachedInstanceError

from trueline.instrumentation.database_errors import description_of, error_facts
from trueline.instrumentation.descriptions import clean_description
from trueline.instrumentation.identity import IdentityConfig
from trueline.instrumentation.logs.standard import _template
from trueline.instrumentation.statement import Planner
from trueline.instrumentation.statement_span import clean_name

WORD = "Kanarienvogel"


@pytest.mark.parametrize(
    "message",
    [
        f"ungültige Eingabesyntax für Typ integer: »{WORD}«",
        f"syntaxe en entrée invalide pour le type integer : « {WORD} »",
        f"неверный синтаксис для типа integer: „{WORD}“",
        f"invalid input syntax for type integer: “{WORD}”",
        f"integer 型の入力構文が不正です: 「{WORD}」",
        f"unable to open database: /home/{WORD}/x.db",
        f"unable to open database file: {WORD}.db",
        f'role "{WORD}" does not exist',
    ],
)
def test_values_are_masked_in_every_servers_language(message: str) -> None:
    cleaned = clean_description(message)
    assert WORD not in cleaned
    assert cleaned


def test_a_trigger_of_sqlite_says_what_its_author_wrote() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(
        "CREATE TABLE t (x TEXT); CREATE TRIGGER guard BEFORE INSERT ON t "
        f"BEGIN SELECT RAISE(ABORT, 'no place for {WORD}'); END"
    )
    with pytest.raises(sqlite3.IntegrityError) as caught:
        connection.execute("INSERT INTO t VALUES ('1')")
    facts = error_facts(caught.value)
    assert facts.status_code == "1811"
    assert facts.description == ""
    connection.close()


def test_an_exception_of_the_application_has_no_description() -> None:
    error = LookupError(f"nothing known of {WORD}")
    error.__cause__ = sqlite3.OperationalError("no such table: missing")
    assert description_of(error) == ""
    assert error_facts(ValueError(WORD)).description == ""


def test_an_exception_of_a_driver_has_one() -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(":memory:").execute("SELECT * FROM missing")
    assert description_of(caught.value) == "no such table: missing"


def test_a_lazy_load_without_a_session_says_of_what() -> None:
    class Base(DeclarativeBase):
        pass

    class Child(Base):
        __tablename__ = "children"
        id: Mapped[int] = mapped_column(primary_key=True)
        parent_id: Mapped[int] = mapped_column(ForeignKey("parents.id"))

    class Parent(Base):
        __tablename__ = "parents"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        children: Mapped[list[Child]] = relationship(Child)

    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Parent(id=1, name=WORD))
        session.commit()
        parent = session.get_one(Parent, 1)
    with pytest.raises(DetachedInstanceError) as caught:
        assert parent.children
    assert description_of(caught.value) == "instance <Parent> is not bound to a session; attribute 'children'"
    assert description_of(DetachedInstanceError(WORD)) == ""


def test_an_error_of_sqlalchemy_that_it_wraps_is_named_and_not_quoted() -> None:
    wrapped = StatementError(WORD, f"SELECT {WORD}", {"name": WORD}, MissingGreenlet(WORD))
    assert description_of(wrapped) == "(sqlalchemy.exc.MissingGreenlet)"
    assert description_of(StatementError(WORD, None, None, LookupError(WORD))) == ""


@pytest.mark.parametrize(
    ("name", "message", "body"),
    [
        ("application", "stored %s", "stored %s"),
        ("application", LookupError(WORD), "LookupError"),
        ("application", {"user": WORD}, "dict"),
        ("py.warnings", f"/a/b.py:12: UserWarning: {WORD}\n  warn()", "/a/b.py:12: UserWarning"),
        ("py.warnings", WORD, "warning"),
    ],
)
def test_the_template_of_a_record(name: str, message: Any, body: str) -> None:
    record = logging.LogRecord(name, logging.INFO, "file.py", 1, message, None, None)
    assert _template(record) == body


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        (f"SET application_name = {WORD}", "SET application_name = ?"),
        (f'SET SESSION app.user TO "{WORD}"', "SET SESSION app.user TO ?"),
        (f"SELECT 1; SET x = {WORD}", "SELECT ?; SET x = ?"),
        (f"SET x = {WORD}; SELECT name FROM t", "SET x = ?; SELECT name FROM t"),
        ("UPDATE t SET name = other", "UPDATE t SET name = other"),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
    ],
)
def test_the_value_of_a_setting_needs_no_quotes(statement: str, text: str) -> None:
    assert Planner(IdentityConfig()).plan(statement, "postgresql").text == text


@pytest.mark.parametrize(
    ("name", "operation", "clean"),
    [
        ("SELECT app", "SELECT", "SELECT app"),
        (f"SELECT'{WORD}' app", "SELECT", "SELECT app"),
        (f"'{WORD}'", "", "SQL"),
    ],
)
def test_the_name_of_an_adopted_span(name: str, operation: str, clean: str) -> None:
    assert clean_name(name, operation) == clean
