"""Foreign keys of mapped classes in real statements: ORM, Core and SQL text, with both span sources."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Column, Engine, ForeignKey, Integer, Table, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from support.recorder import Recorder

from trueline.instrumentation import bind_identity, semconv

pytestmark = pytest.mark.sqlalchemy_matrix


class Base(DeclarativeBase):
    pass


class Guest(Base):
    __tablename__ = "hotel_guests"
    id: Mapped[int] = mapped_column(primary_key=True)


class Login(Base):
    __tablename__ = "hotel_logins"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("hotel_guests.id"))


class Ledger(Base):
    __tablename__ = "hotel_ledgers"
    id: Mapped[int] = mapped_column(primary_key=True)


class Stay(Base):
    __tablename__ = "hotel_stays"
    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("hotel_guests.id"))
    account_id: Mapped[int] = mapped_column(ForeignKey("hotel_ledgers.id"))


class Gift(Base):
    __tablename__ = "hotel_gifts"
    id: Mapped[int] = mapped_column(primary_key=True)
    giver: Mapped[int] = mapped_column(ForeignKey("hotel_guests.id"))
    taker: Mapped[int] = mapped_column(ForeignKey("hotel_guests.id"))


@pytest.fixture
def hotel(source: Recorder) -> Iterator[Engine]:
    # Looked up on the module, so that contrib's wrapper of the function is the one that is called.
    engine = sqlalchemy.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    source.clear()
    yield engine
    engine.dispose()


def named(statement: Any) -> list[tuple[str, str]]:
    return list(
        zip(
            statement.get(semconv.IDENTITY_COLUMNS, ()),
            statement.get(semconv.IDENTITY_DOMAINS, ()),
            strict=True,
        )
    )


def of(recorder: Recorder, table: str) -> list[list[tuple[str, str]]]:
    return [named(s) for s in recorder.statements() if s[semconv.STATEMENT_TABLES][:1] == (table,)]


def test_orm_core_and_text(source: Recorder, hotel: Engine) -> None:
    with Session(hotel) as session:
        session.add(Guest(id=7))
        session.add(Ledger(id=7))
        session.flush()
        session.add(Stay(id=1, session_id=7, account_id=7))
        session.commit()
        session.scalars(select(Stay).where(Stay.session_id == 7)).all()
    with hotel.begin() as connection:
        connection.execute(insert(Stay).values(id=2, session_id=7, account_id=7))
        connection.execute(text("UPDATE hotel_stays SET session_id = 7 WHERE account_id = 7"))
        connection.exec_driver_sql("DELETE FROM hotel_stays WHERE session_id = ?", (7,))
    assert of(source, "hotel_stays") == [[("hotel_stays.session_id", "user")]] * 5
    assert of(source, "hotel_guests") == [[("hotel_guests.id", "user")]]
    assert of(source, "hotel_ledgers") == [[]]


def test_text_before_any_statement_of_sqlalchemys(source: Recorder, hotel: Engine) -> None:
    with hotel.begin() as connection:
        connection.exec_driver_sql("SELECT * FROM hotel_stays WHERE session_id = 7 AND account_id = 7")
    assert of(source, "hotel_stays") == [[("hotel_stays.session_id", "user")]]


def test_two_people_in_one_statement(source: Recorder, hotel: Engine) -> None:
    with hotel.begin() as connection, bind_identity(7):
        connection.execute(insert(Gift).values(id=1, giver=7, taker=8))
    (statement,) = [s for s in source.statements() if s[semconv.STATEMENT_TABLES] == ("hotel_gifts",)]
    assert named(statement) == [("hotel_gifts.giver", "user"), ("hotel_gifts.taker", "user")]
    giver, taker = statement[semconv.IDENTITY_VALUES]
    assert giver != taker
    assert statement[semconv.IDENTITY_BOUND] == (f"user:{giver}",)


def test_what_is_declared_later_counts_from_then_on(source: Recorder, hotel: Engine) -> None:
    read = "SELECT * FROM hotel_rooms WHERE occupant = 7"
    with hotel.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE hotel_rooms (id INTEGER PRIMARY KEY, occupant INTEGER)")
        connection.exec_driver_sql(read)

    rooms = Table(
        "hotel_rooms",
        Base.metadata,
        Column("id", Integer, primary_key=True),
        Column("occupant", ForeignKey("hotel_guests.id")),
    )
    with hotel.begin() as connection:
        connection.exec_driver_sql("SELECT 1 FROM hotel_rooms")  # a new text: declarations are looked at
        connection.exec_driver_sql(read)
    Base.metadata.remove(rooms)
    assert of(source, "hotel_rooms")[1:] == [[], [], [("hotel_rooms.occupant", "user")]]
