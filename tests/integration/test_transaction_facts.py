"""What spans say of a transaction beside its outcome, which is the conformance matrix's."""

from __future__ import annotations

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
