"""Sessions that joined a transaction of somebody else's, a test's usually.

A test that wraps everything in an outer transaction and rolls it back binds the session to its connection.
What such a session "commits" is not committed by the database, so no statement's outcome can say it; the
session's own events do. Each of its transactions is kept as one :class:`Join`.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from trueline.instrumentation import ambient, scope
from trueline.instrumentation.causes import cause_of
from trueline.instrumentation.connection import INFO_KEY, ConnectionState, info_of
from trueline.instrumentation.guard import guarded
from trueline.instrumentation.transaction import Cause

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.orm import Session, SessionTransaction

# SQLAlchemy itself is imported when a recording begins, as instrument() does.

EndedBy = Literal["", "commit", "rollback", "close"]


@dataclass(slots=True, eq=False)
class Join:
    """One transaction of a session inside an outer one of its connection. Times are ambient's ns.

    ``started`` is 0 where it began before the recording; ``ended`` is None while it goes on.
    """

    started: int
    ended: int | None = None
    ended_by: EndedBy = ""
    cause: Cause = field(default_factory=Cause)
    #: ``trueline.orm.session_id`` of its statements, and the ids of the outer transaction.
    session_id: str = ""
    outer_ids: set[str] = field(default_factory=set)

    def covers(self, moment: int) -> bool:
        """Whether it was under way at that moment."""
        return self.started <= moment and (self.ended is None or moment <= self.ended)


class JoinWatcher:
    """Listens to every ORM session while recordings run."""

    def __init__(self) -> None:
        self.joins: list[Join] = []
        self._under_way: weakref.WeakKeyDictionary[SessionTransaction, list[tuple[Join, Connection]]] = (
            weakref.WeakKeyDictionary()
        )
        self._listeners: tuple[tuple[str, Callable[..., None]], ...] = (
            ("after_begin", self._after_begin),
            ("after_commit", self._after_commit),
            ("after_rollback", self._after_rollback),
            ("after_transaction_end", self._after_transaction_end),
        )

    def listen(self) -> None:
        """Put the listeners on."""
        from sqlalchemy import event
        from sqlalchemy.orm import Session

        for name, listener in self._listeners:
            event.listen(Session, name, listener)

    def unlisten(self) -> None:
        """Take them off again."""
        from sqlalchemy import event
        from sqlalchemy.orm import Session

        for name, listener in self._listeners:
            event.remove(Session, name, listener)

    @guarded("testing.after_begin")
    def _after_begin(self, session: Session, transaction: SessionTransaction, connection: Connection) -> None:
        if _is_root(transaction) and _joined(transaction, connection):
            join = Join(started=ambient.now_ns())
            _identify(join, connection)
            self.joins.append(join)
            self._under_way.setdefault(transaction, []).append((join, connection))

    @guarded("testing.after_commit")
    def _after_commit(self, session: Session) -> None:
        transaction = session.get_transaction()
        if transaction is not None and session.get_nested_transaction() is None:
            for join, _ in self._joins_of(transaction):
                join.ended_by = "commit"

    @guarded("testing.after_rollback")
    def _after_rollback(self, session: Session) -> None:
        transaction = session.get_transaction()
        if transaction is None or session.get_nested_transaction() is not None:
            return
        error = sys.exc_info()[1] or scope.leaving_with()
        for join, _ in self._joins_of(transaction):
            join.ended_by = "rollback"
            if error is not None and not isinstance(error, GeneratorExit):
                join.cause = cause_of(error)

    @guarded("testing.after_transaction_end")
    def _after_transaction_end(self, session: Session, transaction: SessionTransaction) -> None:
        if not _is_root(transaction):
            return
        for join, connection in self._joins_of(transaction):
            join.ended_by = join.ended_by or "close"
            _identify(join, connection)
            join.ended = ambient.now_ns()
        self._under_way.pop(transaction, None)

    def _joins_of(self, transaction: SessionTransaction) -> list[tuple[Join, Connection]]:
        """The joins of a session's transaction; one that began before the recording is found now."""
        known = self._under_way.get(transaction)
        if known is None:
            known = []
            for connection in {entry[0] for entry in transaction._connections.values()}:
                if _joined(transaction, connection):
                    join = Join(started=0)
                    self.joins.append(join)
                    known.append((join, connection))
            self._under_way[transaction] = known
        return known


def _is_root(transaction: SessionTransaction) -> bool:
    return transaction.parent is None and not transaction.nested


def _joined(transaction: SessionTransaction, connection: Connection) -> bool:
    """Whether the session's transaction is only a part of one that somebody else began.

    SQLAlchemy decided that when it joined, by join_transaction_mode; the result has no public name.
    """
    from sqlalchemy.engine import NestedTransaction

    entry: Any = transaction._connections.get(connection)
    if entry is None:
        return False
    _, inner, should_commit, _ = entry
    return isinstance(inner, NestedTransaction) or not should_commit


def _identify(join: Join, connection: Connection) -> None:
    if connection.closed or connection.invalidated:
        return
    info = info_of(connection.connection)
    state = None if info is None else info.get(INFO_KEY)
    if not isinstance(state, ConnectionState):
        return
    join.session_id = join.session_id or state.orm_session_id
    if state.transaction is not None:
        join.outer_ids.add(state.transaction.id)
