"""The rules on keys, copies and order over what real services did: each incident once, and a silent twin."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, String, create_engine, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.orm.exc import StaleDataError
from support.judged import judge
from support.recorder import Recorder
from support.telemetry import insert_telemetry
from support.watched import send

from trueline.instrumentation import IdentityConfig, bind_identity, bind_message
from trueline.instrumentation.identity import Domain
from trueline.monitor.store.client import Store


class Base(DeclarativeBase):
    pass


class Expense(Base):
    __tablename__ = "expenses"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None]
    user_id_hash: Mapped[str | None] = mapped_column(String(64))
    amount: Mapped[int] = mapped_column(default=1)


class Inbox(Base):
    __tablename__ = "inbox"
    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(unique=True)


class Account(Base):
    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int] = mapped_column(default=0)


class Careful(Base):
    __tablename__ = "careful_accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int] = mapped_column(default=0)
    version_id: Mapped[int] = mapped_column()
    __mapper_args__ = {"version_id_col": version_id}  # noqa: RUF012


class Drop(Base):
    __tablename__ = "drops"
    id: Mapped[int] = mapped_column(primary_key=True)
    drop_number: Mapped[int]


class Check(Base):
    __tablename__ = "quality_checks"
    id: Mapped[int] = mapped_column(primary_key=True)
    drop_number: Mapped[int]
    photo: Mapped[str] = mapped_column(unique=True)


class Summary(Base):
    __tablename__ = "expense_summaries"
    user_id: Mapped[int] = mapped_column(primary_key=True)
    total: Mapped[int]


@pytest.fixture
def recorder(record: Callable[..., Recorder]) -> Recorder:
    return record(
        identities=IdentityConfig(
            columns={"drops.drop_number": "drop", "quality_checks.drop_number": "drop"},
            domains={"drop": Domain(plain=True)},
        )
    )


@pytest.fixture
def engine(recorder: Recorder, tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'app.db'}")
    Base.metadata.create_all(engine)
    recorder.clear()
    yield engine
    engine.dispose()


def digest(user: int) -> str:
    return hashlib.sha256(str(user).encode()).hexdigest()


def test_a_message_that_is_stored_twice(store: Store, recorder: Recorder, engine: Engine) -> None:
    def handle(message: str, *, careful: bool) -> None:
        with bind_message(message, entry="POST /webhook"), Session(engine) as session, session.begin():
            if careful:
                session.add(Inbox(message_id=message))
                session.flush()
            session.add(Expense(user_id=1))

    handle("m-careful", careful=True)
    with pytest.raises(IntegrityError):
        handle("m-careful", careful=True)
    send(store, recorder, "web")
    assert judge(store, "duplicate_delivery") == []
    handle("m-1", careful=False)
    handle("m-1", careful=False)
    send(store, recorder, "web")
    [row] = judge(store, "duplicate_delivery")
    assert (row["table"], row["entry_name"], row["count"]) == ("expenses", "POST /webhook", 1)


@pytest.mark.parametrize(("model", "found"), [(Account, 1), (Careful, 0)])
def test_two_requests_that_write_one_balance(
    store: Store, recorder: Recorder, engine: Engine, model: type[Account] | type[Careful], found: int
) -> None:
    with Session(engine) as session, session.begin():
        session.add(model(id=1))
    first, second = Session(engine), Session(engine)
    with first, second:
        one: Any = first.get_one(model, 1)
        two: Any = second.get_one(model, 1)
        one.balance += 10
        two.balance += 20
        first.commit()
        if model is Careful:
            with pytest.raises(StaleDataError):
                second.commit()
        else:
            second.commit()
    send(store, recorder, "web")
    lost = judge(store, "lost_update")
    assert len(lost) == found
    for row in lost:
        assert (row["table"], row["columns_lost"], row["count"]) == ("accounts", ["balance"], 1)


def test_a_drop_whose_quality_check_is_refused(store: Store, recorder: Recorder, engine: Engine) -> None:
    insert_telemetry(
        store,
        declarations=[
            {
                "kind": "counterpart",
                "name": "drops",
                "tables": ["quality_checks"],
                "domain": "drop",
                "seconds": 60,
            }
        ],
    )  # fmt: skip
    for number in (2040, 2041):
        with Session(engine) as session, session.begin():
            session.add(Drop(drop_number=number))
    with Session(engine) as session, session.begin():
        session.add(Check(drop_number=2040, photo="a"))
    with Session(engine) as session, pytest.raises(IntegrityError), session.begin():
        session.add(Check(drop_number=2041, photo="a"))
    send(store, recorder, "bot", ago=timedelta(minutes=3))
    [row] = judge(store, "missing_counterpart")
    assert row["some_numbers"] == ["2041"]
    assert "refused by" in row["what_stopped_them"][0]
    with Session(engine) as session, session.begin():
        session.add(Check(drop_number=2041, photo="b"))
    send(store, recorder, "bot", ago=timedelta(minutes=2))
    assert judge(store, "missing_counterpart") == []


def test_a_key_that_is_no_longer_hashed(store: Store, recorder: Recorder, engine: Engine) -> None:
    def store_expenses(users: range, key: Callable[[int], str]) -> None:
        for user in users:
            with bind_identity(user, entry="POST /webhook"), Session(engine) as session, session.begin():
                session.add(Expense(user_id_hash=key(user)))

    store_expenses(range(1, 13), digest)
    send(store, recorder, "web", version="1.0", ago=timedelta(minutes=30))
    store_expenses(range(21, 25), digest)
    send(store, recorder, "web", version="1.1", ago=timedelta(minutes=20))
    assert judge(store, "identity_encoding_drift") == []
    store_expenses(range(31, 35), str)
    send(store, recorder, "web", version="1.2")
    [row] = judge(store, "identity_encoding_drift")
    assert (row["column"], row["old_form"], row["new_form"]) == ("expenses.user_id_hash", "sha256", "raw")
    assert row["versions"] == ["web 1.2"]


def test_two_services_with_a_key_of_their_own(store: Store, recorder: Recorder, engine: Engine) -> None:
    def insert(service: str, minutes: int, **columns: object) -> None:
        with bind_identity(7, entry="save"), Session(engine) as session, session.begin():
            session.add(Expense(**columns))
        send(store, recorder, service, ago=timedelta(minutes=minutes))

    insert("web", 5, user_id=7)
    insert("import", 4, user_id=7)
    insert("web", 3, user_id=7)
    assert judge(store, "dual_writer") == []
    insert("api", 2, user_id_hash=digest(7))
    insert("web", 1, user_id=7)
    insert("api", 0, user_id_hash=digest(7))
    rows = judge(store, "dual_writer")
    assert {(row["service"], row["other_service"]) for row in rows} == {("api", "web")}
    assert rows[0]["keys"] == "user_id_hash (sha256)"
    assert rows[0]["other_keys"] == "user_id (integer)"


@pytest.mark.parametrize("early", [True, False])
def test_a_summary_in_another_session_before_the_commit(
    store: Store, recorder: Recorder, engine: Engine, early: bool
) -> None:
    with bind_identity(7, entry="POST /expense"), Session(engine) as session:
        session.add(Expense(user_id=7))
        session.flush()
        if not early:
            session.commit()
        with Session(engine) as other:
            other.scalar(select(func.sum(Expense.amount)).where(Expense.user_id == 7))
        session.commit()
    send(store, recorder, "web")
    rows = judge(store, "read_before_commit")
    assert [(row["table"], row["dependence"]) for row in rows] == ([("expenses", "trace")] if early else [])


def test_a_summary_that_is_not_made_anew(store: Store, recorder: Recorder, engine: Engine) -> None:
    insert_telemetry(
        store,
        declarations=[
            {"kind": "lineage", "name": "expense_summaries", "tables": ["expenses"], "seconds": 300,
             "words": ["application"]}
        ],
    )  # fmt: skip

    def spend(minutes: int) -> None:
        with bind_identity(7, entry="POST /expense"), Session(engine) as session, session.begin():
            session.add(Expense(user_id=7))
        send(store, recorder, "web", ago=timedelta(minutes=minutes))

    def make(minutes: int) -> None:
        with bind_identity(7, entry="rebuild"), Session(engine) as session, session.begin():
            total = session.scalar(select(func.sum(Expense.amount)).where(Expense.user_id == 7))
            session.merge(Summary(user_id=7, total=total or 0))
        send(store, recorder, "worker", ago=timedelta(minutes=minutes))

    def look() -> None:
        with bind_identity(7, entry="GET /summary"), Session(engine) as session:
            session.execute(text("SELECT total FROM expense_summaries WHERE user_id = :user"), {"user": 7})
        send(store, recorder, "web")

    spend(40)
    make(39)
    look()
    assert judge(store, "stale_summary") == []
    spend(20)
    look()
    [row] = judge(store, "stale_summary")
    assert (row["table"], row["source_tables"], row["identities"]) == ("expense_summaries", "expenses", 1)
    assert row["rebuilt_by"] == ["worker in rebuild"]
    make(1)
    assert judge(store, "stale_summary") == []
