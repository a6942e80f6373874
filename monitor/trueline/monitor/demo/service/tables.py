"""The expense tracker's tables, and where a user's rows live."""

from __future__ import annotations

import hashlib
import os
import zlib
from datetime import UTC, datetime

import sqlalchemy
from sqlalchemy import BigInteger, CheckConstraint, DateTime, Engine, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker


class Base(DeclarativeBase):
    """What all tables share."""


class Message(Base):
    """A chat message that was taken care of. The platform may deliver one twice: message_id is unique."""

    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(String(64), unique=True)
    received_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))


class Expense(Base):
    """What a user spent. user_id is the old key; user_id_hash (SHA-256 of it) is to replace it."""

    __tablename__ = "expenses"
    __table_args__ = (CheckConstraint("amount_cents > 0", name="expenses_amount_positive"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str | None] = mapped_column(String(32), index=True)
    user_id_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    note: Mapped[str] = mapped_column(String(200))
    amount_cents: Mapped[int]
    category: Mapped[str | None] = mapped_column(String(40))
    spent_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))


class Budget(Base):
    """A user's monthly limit."""

    __tablename__ = "budgets"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, index=True)
    limit_cents: Mapped[int]


class Receipt(Base):
    """A receipt as a merchant reports it. Two merchants may well use the same number."""

    __tablename__ = "receipts"
    __table_args__ = (UniqueConstraint("merchant", "receipt_number", name="receipts_merchant_number_key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant: Mapped[str] = mapped_column(String(80))
    receipt_number: Mapped[str] = mapped_column(String(40))
    amount_cents: Mapped[int]


def hash_of(user_id: str) -> str:
    """The key that replaces user_id: 64 hex digits."""
    return hashlib.sha256(user_id.encode()).hexdigest()


class Databases:
    """The databases that hold the users: one, or several shards with each user in one of them.

    ``variables`` are environment variables, the first one that is set counts: a URL, or the shards' URLs
    separated by spaces.
    """

    def __init__(self, *variables: str) -> None:
        urls = next(os.environ[name] for name in variables if name in os.environ).split()
        self._engines: list[Engine] = [sqlalchemy.create_engine(url) for url in urls]
        self._sessions = [sessionmaker(engine, expire_on_commit=False) for engine in self._engines]

    def session_of(self, user_id: str) -> Session:
        """A session on the database that holds this user."""
        return self._sessions[zlib.crc32(user_id.encode()) % len(self._sessions)]()

    def session(self) -> Session:
        """A session on the first database, for what belongs to no user."""
        return self._sessions[0]()

    def close(self) -> None:
        """Close all connections."""
        for engine in self._engines:
            engine.dispose()

    def create_tables(self) -> None:
        """Create the tables that are missing: the first migration."""
        for engine in self._engines:
            Base.metadata.create_all(engine)


if __name__ == "__main__":
    Databases("DATABASE_SHARDS", "DATABASE_URL").create_tables()
