"""What must have become of each write, and why, from what the program did and the specification says.

Written from DESIGN.md section 3 and the telemetry contract's words, not from the instrumentation:

- ``commit_failed``: the database refused the COMMIT. ``commit_of_aborted``: it answered it with a rollback.
- ``exception``: an exception left the block, or was being handled when the rollback was called.
- ``explicit``: rollback() was called. ``not_committed``: closed without a commit.
- ``abandoned``: the holder was collected or cancelled, or the connection was lost.
- ``savepoint``: undone by ROLLBACK TO SAVEPOINT while the transaction went on (and committed).
- A statement that raised in a transaction that commits is ``rolled_back``, ``exception``.
- Strongest first: a transaction whose COMMIT was refused stays ``commit_failed`` whatever follows.
- ``unknown``: the connection was lost (or the call cancelled) during the commit, also when a statement that
  commits itself was under way.

It follows one connection by what the drivers' documentation says: which begin by themselves, and when.
The rows that are really there come from the table; the oracle says only why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Begins = Literal["statement", "first write", "client"]
Expected = tuple[str, str | None]
COMMITTED: Expected = ("committed", None)
UNKNOWN: Expected = ("unknown", None)


@dataclass(slots=True, eq=False)
class Written:
    """One write statement (or batch) that the program executed."""

    keys: tuple[str, ...]
    transaction: Transaction
    raised: bool
    #: The driver sends the rows of this batch one by one: some can stay though the statement raised.
    one_by_one: bool = False
    undone: bool = False


@dataclass(slots=True, eq=False)
class Mark:
    """A savepoint."""

    transaction: Transaction
    position: int
    name: str = ""


@dataclass(slots=True, eq=False)
class Transaction:
    """One transaction of the database."""

    #: SQLite: opened by SAVEPOINT, so that releasing the outermost one commits.
    by_savepoint: bool = False
    aborted: bool = False
    commit_refused: bool = False
    #: Its handle was forgotten when an exception left the block, and is collected while that is under way or
    #: later: `exception` or `abandoned`.
    either: bool = False
    end: Expected | None = None
    writes: list[Written] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)


@dataclass(slots=True)
class Line:
    """The transactions of one connection (or session), one after the other."""

    #: PostgreSQL refuses everything after an error until a rollback.
    aborts: bool
    begins: Begins
    autocommit: bool
    record: dict[str, Written]
    transaction: Transaction | None = None
    #: The client (asyncpg's adapter, psycopg2, a begin event) believes a transaction open that text has
    #: ended: what follows commits by itself.
    outside: bool = False
    #: Its backend was terminated, or a call on it cancelled.
    killed: bool = False
    #: It is terminated and nobody has noticed yet.
    dead: bool = False
    #: Closed after a refused COMMIT: see :meth:`returned`.
    returning: Expected | None = None
    #: The transaction was in the connection already; SQLAlchemy has not begun, its rollback() does nothing.
    inherited: bool = False

    # -- statements ----------------------------------------------------------------------------------

    def wrote(self, keys: tuple[str, ...], *, raised: bool = False, one_by_one: bool = False) -> None:
        """A write was executed; ``raised`` if it failed."""
        self.inherited = False
        transaction = self.transaction
        alone = transaction is None and (self.autocommit or self.outside)
        if transaction is None:
            transaction = Transaction()
            if not alone:
                self.transaction = transaction
        written = Written(keys, transaction, raised, one_by_one)
        transaction.writes.append(written)
        for key in keys:
            self.record[key] = written
        if alone:
            transaction.end = COMMITTED

    def ran(self) -> None:
        """A statement that does not write was executed."""
        self.inherited = False
        if self.transaction is None and self.begins == "statement" and not self.autocommit:
            self.transaction = Transaction()

    def server_error(self) -> None:
        """The server answered a statement with an error."""
        if not self.aborts:
            return
        if self.transaction is None and not (self.autocommit or self.outside):
            self.transaction = Transaction()
        if self.transaction is not None:
            self.transaction.aborted = True

    # -- savepoints ----------------------------------------------------------------------------------

    def savepoint(self, name: str = "") -> Mark:
        """SAVEPOINT."""
        self.inherited = False
        alone = self.transaction is None and (self.autocommit or self.outside)
        if self.aborts and (alone or (self.transaction is not None and self.transaction.aborted)):
            # PostgreSQL refuses it; a session does not ask for it before it is used.
            return Mark(Transaction(), 0)
        if self.transaction is None:
            silent = self.autocommit or self.outside or self.begins == "first write"
            self.transaction = Transaction(by_savepoint=silent and not self.aborts)
        mark = Mark(self.transaction, len(self.transaction.writes), name)
        self.transaction.marks.append(mark)
        return mark

    def named(self, name: str) -> Mark | None:
        """The innermost savepoint of that name."""
        marks = self.transaction.marks if self.transaction else []
        return next((mark for mark in reversed(marks) if mark.name == name), None)

    def in_savepoint(self, marks: list[Mark]) -> bool:
        """Whether one of ``marks`` is a savepoint of the transaction that is open."""
        return any(mark.transaction is self.transaction for mark in marks)

    def release(self, mark: Mark) -> None:
        """RELEASE SAVEPOINT."""
        transaction = self.transaction
        if transaction is not mark.transaction or mark not in transaction.marks:
            return
        del transaction.marks[transaction.marks.index(mark) :]
        if transaction.by_savepoint and not transaction.marks:
            self._end(COMMITTED)

    def rollback_to(self, mark: Mark) -> None:
        """ROLLBACK TO SAVEPOINT."""
        transaction = self.transaction
        if transaction is not mark.transaction or mark not in transaction.marks:
            return
        del transaction.marks[transaction.marks.index(mark) + 1 :]
        transaction.aborted = False
        for written in transaction.writes[mark.position :]:
            written.undone = True

    # -- ends ----------------------------------------------------------------------------------------

    def begin_text(self) -> None:
        """BEGIN as text."""
        if self.transaction is None:
            self.transaction = Transaction()

    def committed(self, *, by_text: bool = False) -> None:
        """COMMIT was answered without an error."""
        if self.transaction is not None:
            aborted = self.transaction.aborted
            self._end(("rolled_back", "commit_of_aborted") if aborted else COMMITTED)
        self.outside = by_text and self.begins == "client" and not self.autocommit

    def commit_refused(self, *, stays_open: bool) -> None:
        """COMMIT was answered with an error. SQLite then keeps the transaction as it was."""
        if self.transaction is None:
            return
        self.transaction.commit_refused = True
        if not stays_open:
            self._end(("rolled_back", "commit_failed"))

    def commit_unanswered(self) -> None:
        """The connection was lost, or the caller cancelled, during COMMIT."""
        self.killed = True
        self._end(UNKNOWN)

    def rolled_back(self, handling: BaseException | None, *, by_text: bool = False) -> None:
        """rollback() was called, or ROLLBACK executed; ``handling`` is the exception handled meanwhile."""
        if not self.inherited or by_text:
            self._end(_why(handling, "explicit"))
        self.outside = by_text and self.begins == "client" and not self.autocommit

    def rolled_back_by_error(self) -> None:
        """An error rolled the whole transaction back: of a flush (SQLAlchemy) or the server's choice."""
        self._end(("rolled_back", "exception"))

    def closed(self, leaving: BaseException | None) -> None:
        """The handle was closed; ``leaving`` is the exception with which."""
        end = _why(leaving, "not_committed")
        if self.transaction is not None and self.transaction.commit_refused:
            self.returning = end
            return
        self._end(end)
        self.outside = False

    def returned(self, *, still_open: bool) -> Transaction | None:
        """The pool has its connection back, with a transaction in it or without.

        After a refused COMMIT SQLAlchemy wants rollback() to be called; close() does not roll back, and
        SQLite keeps the transaction for whoever takes that connection next.
        """
        self.returning = None
        if self.transaction is None or not self.transaction.commit_refused:
            return None
        if still_open:
            left, self.transaction = self.transaction, None
            return left
        self._end(("rolled_back", "commit_failed"))
        return None

    def lost(self, during: Sequence[Written] = ()) -> None:
        """The connection is gone: killed, invalidated, or closed by SQLAlchemy after a cancellation.

        ``during``: what was then under way. It may have committed itself.
        """
        for written in during:
            if written.transaction is not self.transaction:
                written.transaction.end = UNKNOWN
        self._end(("rolled_back", "abandoned"))
        self.outside = self.dead = False

    def dropped(self, leaving: BaseException | None) -> None:
        """The handle was forgotten without being closed; ``leaving``: by an exception."""
        if self.transaction is not None and leaving is not None:
            self.transaction.either = True
        self.lost()

    def _end(self, end: Expected) -> None:
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            refused = transaction.commit_refused and end[0] == "rolled_back"
            transaction.end = ("rolled_back", "commit_failed") if refused else end


def _why(error: BaseException | None, otherwise: str) -> Expected:
    if error is None or isinstance(error, GeneratorExit):
        return ("rolled_back", otherwise)
    return ("rolled_back", "abandoned" if isinstance(error, asyncio.CancelledError) else "exception")


def expected(written: Written) -> Expected:
    """Outcome and reason that a write must be tagged with."""
    end = written.transaction.end
    assert end is not None, "the program ended with a transaction that the oracle holds open"
    if written.undone and end[0] != "rolled_back":
        return ("rolled_back", "savepoint")
    if written.raised and end == COMMITTED:
        return ("rolled_back", "exception")
    return end
