"""SQLAlchemy's events, translated: nothing is decided here.

Only events that cost nothing a statement: of the pool, of sessions, and of errors while rows are fetched.
Statements, commits and rollbacks are watched on the dialect (see :mod:`dialects`). The listeners are on the
classes, so that engines made before and after, sync and async, are all covered.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, NestedTransaction
from sqlalchemy.engine.interfaces import Dialect, ExceptionContext
from sqlalchemy.orm import Session
from sqlalchemy.pool import Pool

from trueline.instrumentation import dialects, runtime
from trueline.instrumentation.async_exit import wrap_async
from trueline.instrumentation.connection import INFO_KEY, ConnectionState, info_of
from trueline.instrumentation.connections import known_state, new_state
from trueline.instrumentation.guard import guarded, swallow

_session_states: weakref.WeakKeyDictionary[Session, weakref.WeakSet[ConnectionState]] = (
    weakref.WeakKeyDictionary()
)
_session_numbers: weakref.WeakKeyDictionary[Session, str] = weakref.WeakKeyDictionary()
#: States of connections that were detached from their pools, by the id of the driver's connection.
_detached: weakref.WeakValueDictionary[int, ConnectionState] = weakref.WeakValueDictionary()


# -- connections -----------------------------------------------------------------------------------------


@guarded("pool.connect")
def _pool_connect(dbapi_connection: Any, record: Any) -> None:
    current = runtime.current()
    if current is not None:
        # The pool's dialect is the engine's. SQLAlchemy offers no public way from a record to it.
        dialect = record._ConnectionRecord__pool._dialect
        if not isinstance(dialect, Dialect):
            return  # a pool that no engine uses: nothing runs on it that could be seen
        dialects.cover(dialect)
        if dialect.is_async:
            wrap_async()
        record.info[INFO_KEY] = new_state(dialect, current)


def _record_state(record: Any) -> ConnectionState | None:
    current = runtime.active
    if current is None or record is None:
        return None
    state: ConnectionState | None = record.info.get(INFO_KEY)
    if state is None or state.generation != current.holder.generation:
        return None
    return state


def _pool_reset(dbapi_connection: Any, record: Any, reset_state: Any) -> None:
    try:
        state = _record_state(record) if record is not None else _detached.get(id(dbapi_connection))
        if state is not None:
            state.given_back(dbapi_connection)
            if state.transaction is not None:
                state.reset(
                    transaction_was_reset=reset_state.transaction_was_reset,
                    only_terminated=not reset_state.asyncio_safe,
                )
    except Exception as error:
        swallow("pool.reset", error)


@guarded("pool.detach")
def _pool_detach(dbapi_connection: Any, record: Any) -> None:
    """The connection leaves its pool, in the middle of a transaction perhaps; the record gets another one."""
    state = _record_state(record)
    if state is not None:
        _detached[id(dbapi_connection)] = state


@guarded("pool.close_detached")
def _pool_close_detached(dbapi_connection: Any) -> None:
    state = _detached.pop(id(dbapi_connection), None)
    if state is not None:
        state.lost()


@guarded("pool.invalidate")
def _pool_invalidate(dbapi_connection: Any, record: Any, error: BaseException | None) -> None:
    state = _record_state(record)
    if state is not None:
        state.lost(error)


@guarded("pool.close")
def _pool_close(dbapi_connection: Any, record: Any) -> None:
    state = _record_state(record)
    if state is not None:
        state.lost()


# -- errors that no statement raised ----------------------------------------------------------------------


@guarded("handle_error")
def _handle_error(error: ExceptionContext) -> None:
    # Statements report their errors themselves; what is left is an error while rows are fetched, which
    # aborts the transaction as well.
    connection = error.connection
    if error.statement is not None or connection is None or runtime.active is None:
        return
    if error.execution_context is None or error.is_disconnect:
        return
    if connection.closed or connection.invalidated:  # asked for its driver's connection, it would raise
        return
    info = info_of(connection.connection)
    state = None if info is None else info.get(INFO_KEY)
    if isinstance(state, ConnectionState):
        state.fetch_failed(error.original_exception, connection.connection.dbapi_connection)


# -- the ORM ---------------------------------------------------------------------------------------------


@guarded("session.after_begin")
def _after_begin(session: Session, transaction: Any, connection: Connection) -> None:
    current = runtime.current()
    if current is None:
        return
    state = known_state(connection, current)
    if state is None:
        return
    number = _session_numbers.get(session)
    if number is None:
        number = _session_numbers[session] = f"{time.monotonic_ns() & 0xFFFFFFFFFFFF:012x}"
    owned, lent = _ownership(session, transaction, connection)
    state.entered_by_session(number, session, owned=owned, lent=lent)
    states = _session_states.get(session)
    if states is None:
        states = _session_states[session] = weakref.WeakSet()
    states.add(state)


def _ownership(session: Session, transaction: Any, connection: Connection) -> tuple[bool, bool]:
    """Whether the session ends the connection's transaction, and whether the connection was lent to it.

    It can join a transaction that its holder will end. Of a savepoint of its own its root transaction tells.
    """
    root = session.get_transaction() or transaction
    entry = getattr(root, "_connections", {}).get(connection)
    if not isinstance(entry, tuple) or len(entry) != 4:
        lent = isinstance(session.bind, Connection)
        return not lent, lent
    _, begun, should_commit, own_connection = entry
    return bool(should_commit) and not isinstance(begun, NestedTransaction), not own_connection


@guarded("session.after_rollback")
def _after_rollback(session: Session) -> None:
    for state in list(_session_states.get(session, ())):
        state.session_rolled_back()


_LISTENERS: tuple[tuple[Any, str, Callable[..., None]], ...] = (
    (Engine, "handle_error", _handle_error),
    (Pool, "connect", _pool_connect),
    (Pool, "reset", _pool_reset),
    (Pool, "detach", _pool_detach),
    (Pool, "close_detached", _pool_close_detached),
    (Pool, "invalidate", _pool_invalidate),
    (Pool, "close", _pool_close),
    (Session, "after_begin", _after_begin),
    (Session, "after_rollback", _after_rollback),
)


def listen() -> None:
    """Put the listeners on SQLAlchemy's classes, once."""
    for target, name, listener in _LISTENERS:
        if not event.contains(target, name, listener):
            event.listen(target, name, listener)


def unlisten() -> None:
    """Take them off again."""
    for target, name, listener in _LISTENERS:
        if event.contains(target, name, listener):
            event.remove(target, name, listener)
