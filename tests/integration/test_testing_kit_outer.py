"""The kit under the commonest of test fixtures: everything in an outer transaction that is rolled back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Connection, Engine, event, insert, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from support.matrix import Base, Expense

from trueline.instrumentation import ai_call
from trueline.instrumentation.testing import TelemetryAssertionError, recorded

pytestmark = pytest.mark.sqlalchemy_matrix


@pytest.fixture(params=["pysqlite", "psycopg"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "psycopg":
        engine = sqlalchemy.create_engine(request.getfixturevalue("postgres").url("psycopg"))
    else:
        engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/application.db")

        # SQLAlchemy's recipe: sqlite3 by itself opens no transaction for SAVEPOINT.
        @event.listens_for(engine, "connect")
        def connect(connection: Any, record: Any) -> None:
            connection.isolation_level = None

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A connection whose transaction is rolled back in the end."""
    with engine.connect() as connection:
        transaction = connection.begin()
        yield connection
        transaction.rollback()


@pytest.fixture
def session(connection: Connection) -> Iterator[Session]:
    """SQLAlchemy's recipe of a session for a test suite."""
    with Session(bind=connection, join_transaction_mode="create_savepoint") as session:
        yield session


def store(session: Session, user: str) -> None:
    session.add(Expense(user_id=user))
    session.commit()


def rows(engine: Engine) -> int:
    with Session(engine) as session:
        return len(session.scalars(select(Expense)).all())


def test_the_handlers_commit_counts_and_the_outcome_does_not_lie(session: Session) -> None:
    with recorded() as telemetry:
        store(session, "12345")

        (write,) = telemetry.assert_committed("expenses", column="user_id", identity="12345", times=1)
        assert (write.fate, write.outcome) == ("committed", "open")
        transaction = telemetry.assert_one_transaction("expenses")
        assert (transaction.joined, transaction.ended_by) == (True, "commit")
        assert transaction.outer is telemetry.outer_transactions[0]
        telemetry.assert_nothing_rolled_back()
        telemetry.assert_no_open_transactions()
        assert "transaction 1: committed by its session, inside an outer one: open" in str(telemetry)


def test_after_the_test_has_rolled_back_the_database_is_believed_about_the_outcome(engine: Engine) -> None:
    with recorded() as telemetry, engine.connect() as connection:
        outer = connection.begin()
        with Session(bind=connection, join_transaction_mode="create_savepoint") as session:
            store(session, "12345")
        outer.rollback()

    (write,) = telemetry.assert_committed("expenses", times=1)
    assert (write.fate, write.outcome, write.reason) == ("committed", "rolled_back", "explicit")
    telemetry.assert_nothing_rolled_back()
    assert rows(engine) == 0


def test_an_outer_transaction_that_is_committed_after_all(engine: Engine) -> None:
    with recorded() as telemetry, engine.begin() as connection:
        session = Session(bind=connection, join_transaction_mode="create_savepoint")
        store(session, "12345")
        session.add(Expense(user_id="777"))
        session.flush()
        session.close()

    telemetry.assert_committed("expenses", times=1, identity="12345")
    telemetry.assert_rolled_back("expenses", times=1, identity="777")
    assert [(w.fate, w.outcome, w.reason) for w in telemetry.writes] == [
        ("committed", "committed", None),
        ("rolled_back", "rolled_back", "savepoint"),
    ]
    assert rows(engine) == 1


def test_an_outer_transaction_lost_to_an_exception_takes_the_sessions_commit_with_it(engine: Engine) -> None:
    with recorded() as telemetry, pytest.raises(TimeoutError), engine.begin() as connection:
        with Session(bind=connection, join_transaction_mode="create_savepoint") as session:
            store(session, "12345")
        raise TimeoutError

    assert [(write.fate, write.outcome) for write in telemetry.writes] == [("rolled_back", "rolled_back")]
    with pytest.raises(TelemetryAssertionError, match="inside an outer one: rolled back, by an exception"):
        telemetry.assert_committed("expenses")


def test_a_forgotten_commit_is_caught(connection: Connection) -> None:
    with recorded() as telemetry:
        with Session(bind=connection, join_transaction_mode="create_savepoint") as session:
            session.add(Expense(user_id="12345"))
            session.flush()
            with pytest.raises(TelemetryAssertionError, match="open, inside an outer one"):
                telemetry.assert_committed("expenses")
            with pytest.raises(TelemetryAssertionError, match="transaction 1 is open after INSERT expenses"):
                telemetry.assert_no_open_transactions()
        with pytest.raises(TelemetryAssertionError, match="closed by its session without a commit"):
            telemetry.assert_committed("expenses")


def test_what_the_handler_rolls_back_is_rolled_back(session: Session) -> None:
    with recorded() as telemetry:
        store(session, "1")
        session.add(Expense(user_id="2"))
        session.flush()
        session.rollback()
        with pytest.raises(TimeoutError), session.begin():
            session.add(Expense(user_id="3"))
            session.flush()
            raise TimeoutError

        telemetry.assert_committed("expenses", times=1, identity="1")
        telemetry.assert_rolled_back("expenses", times=1, identity="2")
        telemetry.assert_rolled_back("expenses", times=1, identity="3")
        assert [(t.ended_by, t.error_type) for t in telemetry.transactions] == [
            ("commit", ""),
            ("rollback", ""),
            ("rollback", "TimeoutError"),
        ]
        with pytest.raises(TelemetryAssertionError, match=r"rolled back by its session \(TimeoutError\)"):
            telemetry.assert_nothing_rolled_back()


def test_savepoints_of_the_handlers_own(session: Session) -> None:
    with recorded() as telemetry:
        session.add(Expense(user_id="1"))
        session.flush()
        with pytest.raises(KeyError), session.begin_nested():
            session.add(Expense(user_id="2"))
            session.flush()
            raise KeyError
        with session.begin_nested():
            session.add(Expense(user_id="3"))
        session.commit()

        transaction = telemetry.assert_one_transaction()
        assert [(write.fate, write.undone) for write in transaction.writes] == [
            ("committed", False),
            ("rolled_back", True),
            ("committed", False),
        ]


def test_a_released_savepoint_is_no_commit(connection: Connection) -> None:
    with recorded() as telemetry:
        session = Session(bind=connection, join_transaction_mode="create_savepoint")
        with session.begin_nested():
            session.add(Expense(user_id="1"))
        session.close()

        assert [transaction.ended_by for transaction in telemetry.transactions] == ["close"]
        telemetry.assert_rolled_back("expenses", times=1)


def test_two_commits_are_two_transactions(session: Session) -> None:
    with recorded() as telemetry:
        store(session, "1")
        store(session, "2")

        with pytest.raises(TelemetryAssertionError, match="in one transaction, found 2 that wrote"):
            telemetry.assert_one_transaction()


def test_what_is_arranged_through_the_connection_is_not_the_handlers(connection: Connection) -> None:
    with recorded() as telemetry:
        connection.execute(insert(Expense).values(user_id="arranged"))
        with Session(bind=connection, join_transaction_mode="create_savepoint") as session:
            store(session, "12345")

        telemetry.assert_committed("expenses", times=1)
        telemetry.assert_one_transaction()
        assert "outer transaction: open" in str(telemetry)


def test_without_savepoints_the_sessions_word_is_all_there_is(connection: Connection) -> None:
    """join_transaction_mode's default: commit does nothing here, rollback rolls the outer one back."""
    with recorded() as telemetry:
        with Session(bind=connection) as session:
            store(session, "1")
        with Session(bind=connection) as session:
            session.add(Expense(user_id="2"))
            session.flush()

        telemetry.assert_committed("expenses", times=1, identity="1")
        assert [t.ended_by for t in telemetry.transactions] == ["commit", "close"]
        assert [t.fate for t in telemetry.transactions] == ["committed", "rolled_back"]


def test_a_session_that_began_before_the_recording(session: Session) -> None:
    session.add(Expense(user_id="before"))
    session.flush()
    with recorded() as telemetry:
        store(session, "12345")

        telemetry.assert_committed("expenses", times=1, identity="12345")
        assert telemetry.find(identity="before") == []


def test_an_ai_call_counts_for_the_sessions_transaction_only(session: Session) -> None:
    with recorded() as telemetry:
        store(session, "1")
        with ai_call("chat", model="between"):
            pass
        telemetry.assert_no_ai_call_inside_a_transaction()

        session.add(Expense(user_id="2"))
        session.flush()
        with ai_call("chat", model="inside"):
            pass
        session.commit()
        with pytest.raises(TelemetryAssertionError, match="chat inside inside transaction 2"):
            telemetry.assert_no_ai_call_inside_a_transaction()


def test_a_session_that_controls_its_connection_is_no_joined_one(engine: Engine) -> None:
    """A session on a connection without a transaction begins and commits the database's own."""
    with recorded() as telemetry, engine.connect() as connection, Session(bind=connection) as session:
        store(session, "12345")

    transaction = telemetry.assert_one_transaction()
    assert (transaction.joined, transaction.outcome) == (False, "committed")
    assert telemetry.outer_transactions == []


def test_async_sessions(request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("postgres").url("asyncpg")

    async def scenario() -> None:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with engine.connect() as connection:
            outer = await connection.begin()
            with recorded() as telemetry:
                session = AsyncSession(bind=connection, join_transaction_mode="create_savepoint")
                session.add(Expense(user_id="1"))
                await session.commit()
                with pytest.raises(TimeoutError):
                    async with session.begin():
                        session.add(Expense(user_id="2"))
                        await session.flush()
                        raise TimeoutError
                await session.close()

                telemetry.assert_committed("expenses", times=1, identity="1")
                telemetry.assert_rolled_back("expenses", times=1, identity="2")
                assert [(t.ended_by, t.error_type) for t in telemetry.transactions] == [
                    ("commit", ""),
                    ("rollback", "TimeoutError"),
                ]
            await outer.rollback()
        await engine.dispose()

    asyncio.run(scenario())
