"""The table that programs write to: a row of its own for each write, so that each write's effect shows."""

from __future__ import annotations

import time

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: Inserting this value of ``once`` violates a unique constraint.
TAKEN = "taken"
DONE = "done"
#: No such parent: the foreign key is checked by COMMIT.
NO_PARENT = -1
#: A row that all programs update.
SHARED = "shared"


class Base(DeclarativeBase):
    """Mapped classes of the programs."""


class Parent(Base):
    """What ``Entry.parent_id`` refers to."""

    __tablename__ = "parents"
    id: Mapped[int] = mapped_column(primary_key=True)


class Entry(Base):
    """A row; ``user_id`` is the key of the write."""

    __tablename__ = "entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64), index=True)
    value: Mapped[str | None] = mapped_column(String(64))
    once: Mapped[str | None] = mapped_column(String(64), unique=True)
    parent_id: Mapped[int | None] = mapped_column(
        ForeignKey("parents.id", deferrable=True, initially="DEFERRED")
    )
    #: Seconds since the epoch, by the clock of the process that wrote it; NULL where text wrote it.
    written_at: Mapped[float | None] = mapped_column(default=time.time, onupdate=time.time)
