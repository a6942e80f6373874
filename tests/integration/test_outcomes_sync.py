"""How transactions end, on every sync driver and both span sources, against what the table then holds."""

from __future__ import annotations

import gc

import pytest
from sqlalchemy import Engine, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from support.matrix import Expense
from support.recorder import Recorder

from trueline.instrumentation import ai_call, semconv

pytestmark = pytest.mark.sqlalchemy_matrix

COMMITTED = ("committed", None)


def stored(engine: Engine) -> int:
    """Rows that are really there."""
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(Expense)).scalar_one()


def add(engine: Engine, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(insert(Expense).values(**{"user_id": "7", **values}))


def test_commit(engine: Engine, source: Recorder) -> None:
    with Session(engine) as session:
        session.add(Expense(user_id="7"))
        session.commit()
    assert source.writes() == [COMMITTED]
    assert stored(engine) == 1


def test_engine_begin(engine: Engine, source: Recorder) -> None:
    add(engine)
    assert source.writes() == [COMMITTED]


def test_explicit_rollback_of_a_session(engine: Engine, source: Recorder) -> None:
    with Session(engine) as session:
        session.add(Expense(user_id="7"))
        session.flush()
        session.rollback()
    assert source.writes() == [("rolled_back", "explicit")]
    assert stored(engine) == 0


def test_explicit_rollback_of_a_connection(engine: Engine, source: Recorder) -> None:
    with engine.connect() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
        connection.rollback()
    assert source.writes() == [("rolled_back", "explicit")]


def test_session_closed_without_commit(engine: Engine, source: Recorder) -> None:
    with Session(engine) as session:
        session.add(Expense(user_id="7"))
        session.flush()
    assert source.writes() == [("rolled_back", "not_committed")]
    assert stored(engine) == 0


def test_session_with_an_engine_for_each_class_closed_without_commit(
    engine: Engine, source: Recorder
) -> None:
    with Session(binds={Expense: engine}) as session:
        session.add(Expense(user_id="7"))
        session.flush()
    assert source.writes() == [("rolled_back", "not_committed")]


def test_connection_closed_without_commit(engine: Engine, source: Recorder) -> None:
    with engine.connect() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
    assert source.writes() == [("rolled_back", "not_committed")]


def test_exception_leaves_the_block(engine: Engine, source: Recorder) -> None:
    with pytest.raises(ValueError, match="no"), Session(engine) as session, session.begin():
        session.add(Expense(user_id="7"))
        session.flush()
        raise ValueError("no")
    assert source.writes() == [("rolled_back", "exception")]
    (transaction,) = source.transactions()
    assert transaction[semconv.TRANSACTION_ERROR_TYPE] == "ValueError"


def test_rollback_in_an_except_block(engine: Engine, source: Recorder) -> None:
    with Session(engine) as session:
        try:
            session.add(Expense(user_id="7"))
            session.flush()
            raise ValueError
        except ValueError:
            session.rollback()
    assert source.writes() == [("rolled_back", "exception")]


def test_rollback_caused_by_an_ai_call(engine: Engine, source: Recorder) -> None:
    def handle() -> None:
        with Session(engine) as session, session.begin():
            session.add(Expense(user_id="7"))
            session.flush()
            try:
                with ai_call("chat", model="small"):
                    raise TimeoutError
            except TimeoutError as error:
                raise RuntimeError("no answer") from error

    with pytest.raises(RuntimeError):
        handle()
    (transaction,) = source.transactions()
    assert transaction[semconv.TRANSACTION_ERROR_CHAIN] == ("RuntimeError", "TimeoutError")
    assert transaction[semconv.TRANSACTION_ERROR_FROM_AI] is True
    assert transaction[semconv.TRANSACTION_AI_CALLS] == transaction[semconv.TRANSACTION_AI_ERRORS] == 1


def test_a_handled_ai_error_is_not_the_cause_of_a_later_rollback(engine: Engine, source: Recorder) -> None:
    with pytest.raises(KeyError), Session(engine) as session, session.begin():
        session.add(Expense(user_id="7"))
        session.flush()
        try:
            with ai_call("chat"):
                raise TimeoutError
        except TimeoutError:
            pass
        raise KeyError
    (transaction,) = source.transactions()
    assert transaction[semconv.TRANSACTION_ERROR_CHAIN] == ("KeyError",)
    assert transaction[semconv.TRANSACTION_ERROR_FROM_AI] is False
    assert transaction[semconv.TRANSACTION_AI_ERRORS] == 1


def test_commit_of_a_transaction_that_the_server_aborted(engine: Engine, source: Recorder) -> None:
    add(engine, message="once")
    source.clear()
    with engine.connect() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
        with pytest.raises(IntegrityError):
            connection.execute(insert(Expense).values(user_id="7", message="once"))
        connection.commit()
    first, _failed = source.writes()
    if engine.dialect.name == "postgresql":
        assert first == ("rolled_back", "commit_of_aborted")
        assert stored(engine) == 1
    else:
        assert first == COMMITTED
        assert stored(engine) == 2


def test_commit_that_fails(engine: Engine, source: Recorder) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE parents (id INTEGER PRIMARY KEY)"))
        connection.execute(
            text(
                "CREATE TABLE children (parent_id INTEGER"
                " REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)"
            )
        )
    source.clear()
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA foreign_keys = ON"))
            connection.commit()
            source.clear()
        connection.execute(text("INSERT INTO children VALUES (1)"))
        with pytest.raises(IntegrityError):
            connection.commit()
        connection.rollback()
    assert source.writes() == [("rolled_back", "commit_failed")]


def test_savepoint_rolled_back_in_a_transaction_that_commits(engine: Engine, source: Recorder) -> None:
    with Session(engine) as session:
        session.add(Expense(user_id="1"))
        session.flush()
        with pytest.raises(ValueError, match="undo"), session.begin_nested():
            session.add(Expense(user_id="2"))
            session.flush()
            raise ValueError("undo")
        session.add(Expense(user_id="3"))
        session.commit()
    assert source.writes() == [COMMITTED, ("rolled_back", "savepoint"), COMMITTED]
    assert stored(engine) == 2


def test_violation_caught_by_a_savepoint(engine: Engine, source: Recorder) -> None:
    add(engine, message="once")
    source.clear()
    with Session(engine) as session:
        session.add(Expense(user_id="1"))
        session.flush()
        with pytest.raises(IntegrityError), session.begin_nested():
            session.add(Expense(user_id="2", message="once"))
            session.flush()
        session.commit()
    assert source.writes() == [COMMITTED, ("rolled_back", "savepoint")]
    assert stored(engine) == 2


def test_autocommit(engine: Engine, source: Recorder) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(insert(Expense).values(user_id="7"))
    assert source.writes() == [COMMITTED]
    assert source.statements("write")[0][semconv.TRANSACTION_AUTOCOMMIT] is True
    assert stored(engine) == 1


def test_textual_transaction_on_an_autocommit_connection(engine: Engine, source: Recorder) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("BEGIN")
        connection.execute(insert(Expense).values(user_id="1"))
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("BEGIN")
        connection.execute(insert(Expense).values(user_id="2"))
        connection.exec_driver_sql("COMMIT")
    assert source.writes() == [("rolled_back", "explicit"), COMMITTED]
    assert stored(engine) == 1


def test_connection_dropped_by_the_garbage_collector(engine: Engine, source: Recorder) -> None:
    connection = engine.connect()
    connection.execute(insert(Expense).values(user_id="7"))
    del connection
    gc.collect()
    assert source.writes() == [("rolled_back", "abandoned")]
    assert stored(engine) == 0


def test_invalidated_connection(engine: Engine, source: Recorder) -> None:
    with engine.connect() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
        connection.invalidate()
        connection.rollback()
    assert source.writes() == [("rolled_back", "abandoned")]


def test_session_joined_to_an_outer_connection(engine: Engine, source: Recorder) -> None:
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            session.add(Expense(user_id="7"))
            session.commit()
        outer.rollback()
    if engine.driver == "pysqlite":
        # In sqlite3's default mode nothing is begun before a SAVEPOINT, so that releasing it commits.
        assert source.writes() == [COMMITTED]
        assert stored(engine) == 1
    else:
        assert source.writes() == [("rolled_back", "explicit")]
        assert stored(engine) == 0


def test_many_rows_in_one_statement(engine: Engine, source: Recorder) -> None:
    with Session(engine) as session:
        session.add_all([Expense(user_id=str(number)) for number in range(50)])
        session.commit()
    assert set(source.writes()) == {COMMITTED}
    (first, *_) = source.statements("write")
    assert first[semconv.STATEMENT_TABLES] == ("expenses",)
    assert first[semconv.IDENTITY_COLUMNS][0] == "expenses.user_id"
    assert stored(engine) == 50


def test_bulk_update_by_executemany(engine: Engine, source: Recorder) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO expenses (user_id) VALUES (:user_id)"), [{"user_id": "1"}, {"user_id": "2"}]
        )
    (write,) = source.statements("write")
    assert write[semconv.DB_OPERATION_BATCH_SIZE] == 2
    assert write[semconv.TRANSACTION_OUTCOME] == "committed"


def test_reads_and_writes_of_one_transaction_share_its_id(engine: Engine, source: Recorder) -> None:
    add(engine)
    source.clear()
    with Session(engine) as session:
        session.execute(select(Expense).where(Expense.user_id == "7")).scalar_one()
        session.execute(update(Expense).where(Expense.user_id == "7").values(message="m"))
        session.commit()
    (transaction,) = source.transactions()
    identifiers = {statement[semconv.TRANSACTION_ID] for statement in source.statements()}
    assert identifiers == {transaction[semconv.TRANSACTION_ID]}
    assert transaction[semconv.TRANSACTION_READS] == transaction[semconv.TRANSACTION_WRITES] == 1
    assert source.statements("write")[0][semconv.STATEMENT_ROWS] == 1


def test_constraint_facts_of_a_failed_write(engine: Engine, source: Recorder) -> None:
    add(engine, message="once")
    source.clear()
    with pytest.raises(IntegrityError):
        add(engine, message="once", user_id="8")
    (failed,) = source.statements("write")
    assert failed[semconv.CONSTRAINT_KIND] == "unique"
    assert failed[semconv.CONSTRAINT_TABLE] == "expenses"
    assert failed[semconv.CONSTRAINT_COLUMNS] == ("message",)
    assert (failed[semconv.TRANSACTION_OUTCOME], failed[semconv.TRANSACTION_REASON]) == (
        "rolled_back",
        "exception",
    )
    assert not any("once" in str(value) for value in failed.values())
    if engine.dialect.name == "postgresql":
        assert failed[semconv.CONSTRAINT_NAME] == "expenses_message_key"
        assert failed[semconv.DB_RESPONSE_STATUS_CODE] == "23505"


def test_no_statement_is_doubled_or_lost(engine: Engine, source: Recorder) -> None:
    for _ in range(5):
        add(engine)
    assert stored(engine) == 5
    assert len(source.statements("write")) == 5
    assert len(source.statements("read")) == 1
