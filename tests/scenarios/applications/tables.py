"""The tables of the expense tracker, as its migrations leave them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, DateTime, Integer, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """What all tables share."""


def _now() -> datetime:
    return datetime.now(UTC)


class Message(Base):
    """A chat message that was taken care of. The platform may deliver one twice."""

    __tablename__ = "messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    message_id: Mapped[str] = mapped_column(String(64), unique=True)


class Expense(Base):
    """What a user spent. user_id is the old key; user_id_hash (SHA-256 of it) is to replace it."""

    __tablename__ = "expenses"
    __table_args__ = (CheckConstraint("amount_cents > 0", name="expenses_amount_positive"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str | None] = mapped_column(String(64), index=True)
    user_id_hash: Mapped[str | None] = mapped_column(String(64), index=True)
    note: Mapped[str] = mapped_column(String(200))
    amount_cents: Mapped[int]
    category: Mapped[str | None] = mapped_column(String(40))
    spent_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)


class Summary(Base):
    """A user's totals, built from the expenses."""

    __tablename__ = "expense_summaries"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id_hash: Mapped[str] = mapped_column(String(64), index=True)
    total_cents: Mapped[int]
    built_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=_now)


class Budget(Base):
    """A user's monthly limit. Its key is a number."""

    __tablename__ = "budgets"
    __table_args__ = (CheckConstraint("limit_cents > 0", name="budgets_limit_positive"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, index=True)
    limit_cents: Mapped[int]


class Drop(Base):
    """A place where field photos are taken. A number comes again on another day."""

    __tablename__ = "drops"
    __table_args__ = (UniqueConstraint("drop_number", "day", name="drops_number_day_key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    drop_number: Mapped[str] = mapped_column(String(40))
    day: Mapped[str] = mapped_column(String(10))
    photos: Mapped[int] = mapped_column(Integer, default=0)


class QualityCheck(Base):
    """What somebody has to look at: one for each drop, and one for each photo."""

    __tablename__ = "quality_checks"
    __table_args__ = (UniqueConstraint("photo", name="quality_checks_photo_key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    drop_number: Mapped[str] = mapped_column(String(40), index=True)
    photo: Mapped[str | None] = mapped_column(String(60))
    state: Mapped[str] = mapped_column(String(20), default="open")


class Person(Base):
    """Whom the second system of the onboarding numbers by itself."""

    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)
    clerk_id: Mapped[str] = mapped_column(String(64), unique=True)


class Profile(Base):
    """What somebody said at onboarding. session_id is one thing to one system, and another to the other."""

    __tablename__ = "profiles"

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(BigInteger, index=True)
    goal: Mapped[str] = mapped_column(String(80))
    onboarded: Mapped[bool] = mapped_column(Boolean, default=True)


def hash_of(user_id: str) -> str:
    """The key that replaces user_id: 64 hex digits."""
    return hashlib.sha256(user_id.encode()).hexdigest()


def key_of(user_id: str, form: str) -> str | int:
    """A user's key in a form: raw, sha256, upper (of the SHA-256), cut (its first 32 digits), integer."""
    return {
        "raw": user_id,
        "sha256": hash_of(user_id),
        "upper": hash_of(user_id).upper(),
        "cut": hash_of(user_id)[:32],
        "integer": int(user_id) if user_id.isdigit() else user_id,
    }[form]


def keys_of(user_id: str, setting: str) -> dict[str, str | int]:
    """Columns and values for a setting such as ``user_id:raw,user_id_hash:sha256``."""
    pairs = (word.partition(":")[::2] for word in setting.split(","))
    return {column: key_of(user_id, form or "raw") for column, form in pairs}
