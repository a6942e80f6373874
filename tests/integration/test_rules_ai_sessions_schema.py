"""Rules about AI calls, sessions and schemas: their own tests, and what the instrumentation really sends."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from opentelemetry.trace import SpanKind
from sqlalchemy.exc import IntegrityError, OperationalError, PendingRollbackError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship
from sqlalchemy.orm.exc import DetachedInstanceError
from support.judged import judge, store_telemetry
from support.recorder import Recorder
from support.telemetry import run_tests_of

from trueline.instrumentation import ai_call, bind_identity
from trueline.instrumentation.declarations.model import Budget, Declarations, Operation
from trueline.monitor.store.client import Store
from trueline.monitor.store.declarations import StoredDeclarations

#: The rules, and how many tests each carries at least.
RULES = {
    "ai_call_in_transaction": 19,
    "answer_without_read": 21,
    "detached_instance": 17,
    "poisoned_session": 23,
    "schema_mismatch_errors": 28,
    "write_waits_for_ai": 21,
}


@pytest.mark.parametrize("rule", RULES)
def test_finds_the_incident_and_no_twin(store: Store, rule: str) -> None:
    results = run_tests_of(store, rule)
    assert len(results) >= RULES[rule]
    assert {result.name: result.problems for result in results if not result.passed} == {}


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    expenses: Mapped[list[Expense]] = relationship()


class Expense(Base):
    __tablename__ = "expenses"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("users.id"))
    amount: Mapped[int]


class Application:
    """A small service: entries as a framework's instrumentation makes them, and one database."""

    def __init__(self, recorder: Recorder, path: Path) -> None:
        self.recorder = recorder
        self.engine = sa.create_engine(f"sqlite:///{path}")
        Base.metadata.create_all(self.engine)
        with Session(self.engine) as session, session.begin():
            session.add(User(id=1, name="first"))
        self._tracer = recorder.provider.get_tracer("framework")
        recorder.clear()

    @contextlib.contextmanager
    def entry(self, name: str) -> Iterator[None]:
        """A request; an exception that leaves it is recorded on its span and answered with 500."""
        with (
            contextlib.suppress(Exception),
            self._tracer.start_as_current_span(name, kind=SpanKind.SERVER),
        ):
            yield

    def begin(self) -> contextlib.AbstractContextManager[Session]:
        """A session that commits at its end."""
        return sa.orm.sessionmaker(self.engine).begin()


@pytest.fixture
def application(record: Callable[..., Recorder], tmp_path: Path) -> Iterator[Application]:
    made = Application(record(), tmp_path / "application.db")
    yield made
    made.engine.dispose()


def test_a_transaction_that_waits_for_a_model(application: Application, store: Store) -> None:
    for _ in range(3):
        with application.entry("POST /inside"), application.begin() as session:
            session.add(Expense(user_id=1, amount=1))
            session.flush()
            with ai_call("chat", model="m"):
                time.sleep(0.03)
        with application.entry("POST /before"):
            with ai_call("chat", model="m"):
                time.sleep(0.03)
            with application.begin() as session:
                session.add(Expense(user_id=1, amount=2))
        with application.entry("POST /between"), application.begin() as session:
            session.get(User, 1)
            with ai_call("chat", model="m"):
                time.sleep(0.03)
            session.add(Expense(user_id=1, amount=3))
    store_telemetry(store, application.recorder)
    [found] = judge(store, "ai_call_in_transaction", wait_ms=25.0)
    assert (found["entry_name"], found["count"], found["tables"]) == ("POST /inside", 3, ["expenses"])
    assert found["share"] > 50


def test_a_write_that_waits_for_a_model(application: Application, store: Store) -> None:
    for _ in range(3):
        with application.entry("POST /waits"):
            with ai_call("chat", model="m"):
                time.sleep(0.01)
            with application.begin() as session:
                session.add(Expense(user_id=1, amount=1))
        with application.entry("POST /stores-first"):
            with application.begin() as session:
                session.add(row := Expense(user_id=1, amount=2))
                session.flush()
                number = row.id
            with ai_call("chat", model="m"):
                time.sleep(0.01)
            with application.begin() as session:
                session.get_one(Expense, number).amount = 3
    store_telemetry(store, application.recorder)
    [found] = judge(store, "write_waits_for_ai", least_traces=3, least_wait_ms=5.0)
    assert (found["entry_name"], found["count"], found["percent"]) == ("POST /waits", 3, 100)


def test_a_summary_that_reads_nothing(application: Application, store: Store) -> None:
    StoredDeclarations(store).add(
        Declarations(
            operations=(
                Operation("POST /made-up", ("summary",), ("expenses",)),
                Operation("POST /summed", ("summary",), ("expenses",)),
                Operation("POST /cached", ("summary",), ("expenses",)),
            ),
            budgets=(Budget("answer_age", 3600.0, operation="POST /cached"),),
            content_hash="a",
        )
    )
    totals = sa.select(sa.func.sum(Expense.amount)).where(Expense.user_id == 1)
    with application.entry("POST /cached"), bind_identity("1"), application.begin() as session:
        session.execute(totals)
    for _ in range(3):
        with application.entry("POST /made-up"), bind_identity("1"), ai_call("chat", model="m"):
            pass
        with (
            application.entry("POST /summed"),
            bind_identity("1"),
            ai_call("chat", model="m"),
            application.begin() as session,
        ):
            session.execute(totals)
        with application.entry("POST /cached"), bind_identity("1"):
            pass
    store_telemetry(store, application.recorder)
    [found] = judge(store, "answer_without_read")
    assert (found["entry_name"], found["count"], found["made_by_ai"]) == ("POST /made-up", 3, 3)


def test_a_session_that_one_request_broke_for_the_others(application: Application, store: Store) -> None:
    shared = Session(application.engine)
    for number in range(5):
        with application.entry("POST /shared"):
            shared.add(User(name="first" if number == 0 else f"new {number}"))
            shared.flush()
    with application.entry("POST /swallows"):
        try:
            shared.flush()
        except PendingRollbackError:
            logging.getLogger("application").exception("not stored")
    shared.close()
    store_telemetry(store, application.recorder)
    [found] = judge(store, "poisoned_session")
    assert (found["count"], found["exceptions_seen"]) == (5, ["PendingRollbackError"])
    assert set(found["paths"]) == {"POST /shared", "POST /swallows"}
    assert "IntegrityError" in found["broke_by"] or "UNIQUE" in found["broke_by"]
    assert found["answered_well"] == 1


def test_requests_that_break_their_own_sessions(application: Application, store: Store) -> None:
    for _ in range(4):
        with application.entry("POST /own"), Session(application.engine) as session:
            session.add(User(name="first"))
            with contextlib.suppress(IntegrityError):
                session.flush()
            session.commit()
    store_telemetry(store, application.recorder)
    assert store.query("SELECT count() FROM exceptions WHERE exception_type LIKE '%Pending%'").scalar() == 4
    assert judge(store, "poisoned_session") == []


def test_objects_that_outlive_their_session(application: Application, store: Store) -> None:
    with Session(application.engine) as session:
        cached = session.get_one(User, 1)
    for _ in range(3):
        with application.entry("GET /expenses"), application.begin() as session:
            session.add(Expense(user_id=1, amount=1))
            session.flush()
            assert cached.expenses
    with application.entry("GET /once"):
        assert cached.expenses
    with pytest.raises(DetachedInstanceError):
        assert cached.expenses
    store_telemetry(store, application.recorder)
    [found] = judge(store, "detached_instance")
    assert (found["entry_name"], found["count"], found["lost_count"]) == ("GET /expenses", 3, 3)
    assert found["tables"] == ["expenses"]


def test_a_schema_that_is_older_than_the_code(application: Application, store: Store) -> None:
    for _ in range(3):
        with application.entry("POST /expenses"), application.engine.begin() as connection:
            connection.execute(
                sa.text("INSERT INTO expenses (user_id, amount, currency) VALUES (:a, 1, :b)"),
                {"a": 1, "b": "canary"},
            )
        with application.entry("POST /users"), application.engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO users (id) VALUES (:a)"), {"a": 7})
    with (
        application.entry("a look at what is there"),
        application.engine.connect() as connection,
        contextlib.suppress(OperationalError),
    ):
        connection.execute(sa.text("SELECT 1 FROM budgets"))
    store_telemetry(store, application.recorder)
    found = {row["object"]: row for row in judge(store, "schema_mismatch_errors")}
    assert set(found) == {"expenses.currency", "users.name"}
    column, name = found["expenses.currency"], found["users.name"]
    assert (column["fault"], name["fault"]) == ("column missing", "no default")
    assert column["count"] == column["failed_requests"] == 3
    assert "canary" not in str(found)
