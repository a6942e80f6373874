"""The tables of the matrix's applications."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Mapped classes of the matrix."""


class Parent(Base):
    """What a payment may refer to; empty."""

    __tablename__ = "parents"
    id: Mapped[int] = mapped_column(primary_key=True)


class Payment(Base):
    """A row whose ``user_id`` names its write. ``note`` is unique, ``parent_id`` is checked by COMMIT."""

    __tablename__ = "payments"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64))
    note: Mapped[str | None] = mapped_column(String(64), unique=True)
    parent_id: Mapped[int | None] = mapped_column(
        ForeignKey("parents.id", deferrable=True, initially="DEFERRED")
    )
