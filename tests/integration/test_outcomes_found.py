"""What random transaction programs have found, each as the smallest program that showed it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import Connection, Engine, event, insert, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session
from support.matrix import Expense
from support.recorder import Recorder

pytestmark = pytest.mark.sqlalchemy_matrix

COMMITTED = ("committed", None)


def write(target: Connection | Session, number: int = 1) -> None:
    target.execute(insert(Expense).values(user_id=str(number)))


def kill(engine: Engine, connection: Connection | Session) -> None:
    """End the server process of ``connection``."""
    pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    admin = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 30000)", (pid,))


def only_postgresql(engine: Engine) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("has server processes")


@pytest.fixture
def sqlite(source: Recorder, tmp_path: Path) -> Engine:
    """SQLite with foreign keys that are checked by COMMIT, and one pooled connection."""
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/found.db", pool_size=1, max_overflow=0)
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql(
            "CREATE TABLE children (id INTEGER PRIMARY KEY, name TEXT UNIQUE ON CONFLICT ROLLBACK,"
            " parent_id INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)"
        )
        connection.exec_driver_sql("CREATE TABLE names (name TEXT UNIQUE)")
    source.clear()
    return engine


def refuse_commit(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO children (parent_id) VALUES (1)")
        with pytest.raises(IntegrityError):
            connection.commit()


def test_a_refused_commit_is_carried_out_by_the_next_user_of_the_connection(
    sqlite: Engine, source: Recorder
) -> None:
    refuse_commit(sqlite)
    with sqlite.begin() as connection:
        connection.exec_driver_sql("INSERT INTO parents (id) VALUES (1)")
    with sqlite.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM children").scalar_one() == 1
    assert source.writes() == [COMMITTED, COMMITTED]
    assert not any("ERROR" in span.status.status_code.name for span in source.spans())


def test_a_refused_commit_that_the_next_user_rolls_back_stays_refused(
    sqlite: Engine, source: Recorder
) -> None:
    refuse_commit(sqlite)
    with sqlite.connect() as connection:
        connection.exec_driver_sql("INSERT INTO parents (id) VALUES (1)")
        connection.rollback()
    assert source.writes() == [("rolled_back", "commit_failed")] * 2


def test_an_error_that_rolls_everything_back(sqlite: Engine, source: Recorder) -> None:
    with sqlite.begin() as connection:
        connection.exec_driver_sql("INSERT INTO children (name) VALUES ('a')")
        with pytest.raises(IntegrityError):
            connection.exec_driver_sql("INSERT INTO children (name) VALUES ('a')")
        connection.exec_driver_sql("INSERT INTO children (name) VALUES ('a')")
    assert source.writes() == [("rolled_back", "exception")] * 2 + [COMMITTED]


@pytest.mark.parametrize("autocommit", [False, True])
def test_a_failed_batch_of_which_the_first_rows_are_there(
    sqlite: Engine, source: Recorder, autocommit: bool
) -> None:
    level = {"isolation_level": "AUTOCOMMIT"} if autocommit else {}
    with sqlite.connect().execution_options(**level) as connection:
        with pytest.raises(IntegrityError):
            connection.execute(text("INSERT INTO names VALUES (:name)"), [{"name": "a"}, {"name": "a"}])
        connection.commit()
        assert connection.exec_driver_sql("SELECT count(*) FROM names").scalar_one() == 1
    assert source.writes() == [("unknown", None)]


def test_a_connection_lost_during_a_statement_that_commits_itself(engine: Engine, source: Recorder) -> None:
    only_postgresql(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        kill(engine, connection)
        with pytest.raises(DBAPIError):
            write(connection)
    assert source.writes() == [("unknown", None)]


@pytest.mark.parametrize(("call", "reason"), [("rollback", "explicit"), ("close", "not_committed")])
def test_a_session_whose_connection_was_lost_tells_rollback_from_close(
    engine: Engine, source: Recorder, call: str, reason: str
) -> None:
    only_postgresql(engine)
    session = Session(engine)
    write(session)
    kill(engine, session)
    with pytest.raises(DBAPIError):
        getattr(session, call)()
    assert source.writes() == [("rolled_back", reason)]


def test_rollback_as_text_in_a_session(engine: Engine, source: Recorder) -> None:
    with Session(engine) as session:
        write(session)
        session.execute(text("ROLLBACK"))
    assert source.writes() == [("rolled_back", "explicit")]


def test_a_session_that_began_on_a_connection_of_its_own_closes_without_commit(
    engine: Engine, source: Recorder
) -> None:
    with engine.connect() as connection:
        for number in range(2):
            with Session(connection) as session:
                write(session, number)
        write(connection, 3)
        connection.rollback()
    assert source.writes() == [("rolled_back", "not_committed")] * 2 + [("rolled_back", "explicit")]


def test_a_session_with_a_savepoint_closed_without_commit(engine: Engine, source: Recorder) -> None:
    with Session(engine) as session:
        write(session)
        session.begin_nested()
        write(session, 2)
    assert source.writes() == [("rolled_back", "not_committed")] * 2


def test_a_session_closed_without_commit_after_one_as_text(engine: Engine, source: Recorder) -> None:
    if engine.driver == "psycopg2":
        pytest.skip("does not begin again after COMMIT as text")
    with Session(engine) as session:
        write(session)
        session.execute(text("COMMIT"))
        write(session, 2)
    assert source.writes() == [COMMITTED, ("rolled_back", "not_committed")]


def test_a_session_that_controls_a_connection_fully_closes_without_commit(
    engine: Engine, source: Recorder
) -> None:
    with engine.connect() as connection:
        connection.begin()
        with Session(connection, join_transaction_mode="control_fully") as session:
            write(session)
    assert source.writes() == [("rolled_back", "not_committed")]


def test_what_has_left_as_open_and_is_made_late_is_not_called_committed(
    record: Callable[..., Recorder], tmp_path: Path
) -> None:
    recorder = record(logs=False, hold=0)
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/late.db")
    Expense.metadata.create_all(engine)
    recorder.clear()
    numbers = itertools.count()
    # Spans are made in batches by a thread, mostly after these transactions have committed.
    for _ in range(50):
        with engine.begin() as connection:
            write(connection, next(numbers))
            with connection.begin_nested() as savepoint:
                write(connection, next(numbers))
                savepoint.rollback()
    assert COMMITTED not in recorder.writes()
    assert len(recorder.writes()) == 100
