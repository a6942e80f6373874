"""The driver's own commit and rollback, watched on each dialect object.

SQLAlchemy dispatches its commit event before the database commits, and pools roll back without any
event. The dialect's ``do_commit`` and ``do_rollback`` are where both really happen and where a failure
shows, so each dialect instance gets them shadowed by methods that report and pass everything through.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from sqlalchemy.engine import Connection

from trueline.instrumentation import runtime
from trueline.instrumentation.connection import INFO_KEY, ConnectionState, info_of
from trueline.instrumentation.guard import guarded
from trueline.instrumentation.semconv import Reason
from trueline.instrumentation.transaction import Cause

_wrapped: weakref.WeakSet[Any] = weakref.WeakSet()
_METHODS = ("do_commit", "do_rollback", "do_prepare_twophase", "do_commit_twophase", "do_rollback_twophase")


def wrap_dialect(dialect: Any) -> None:
    """Shadow the dialect's methods, once."""
    if dialect in _wrapped:
        return
    _wrapped.add(dialect)
    dialect.do_commit = _watched_commit(dialect, dialect.do_commit)
    dialect.do_rollback = _watched_rollback(dialect.do_rollback)
    dialect.do_prepare_twophase = _watched_prepare(dialect, dialect.do_prepare_twophase)
    dialect.do_commit_twophase = _watched_commit(dialect, _deciding(dialect.do_commit_twophase))
    dialect.do_rollback_twophase = _watched_rollback(_deciding(dialect.do_rollback_twophase))


def unwrap_dialects() -> None:
    """Give every dialect its own methods back."""
    for dialect in list(_wrapped):
        for name in _METHODS:
            dialect.__dict__.pop(name, None)
    _wrapped.clear()


def _watched_commit(dialect: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    reference = weakref.ref(dialect)

    def do_commit(connection: Any, *args: Any, **kwargs: Any) -> Any:
        state = _state(connection)
        if state is None or state.deciding:
            return original(connection, *args, **kwargs)
        if state.transaction is None:
            _look_for_unseen(state, connection)
            return original(connection, *args, **kwargs)
        aborted = _will_be_refused(state, connection)
        try:
            result = original(connection, *args, **kwargs)
        except BaseException as error:
            _commit_failed(reference(), state, connection, error)
            raise
        _committed(state, aborted)
        return result

    return do_commit


def _watched_rollback(original: Callable[..., Any]) -> Callable[..., Any]:
    def do_rollback(connection: Any, *args: Any, **kwargs: Any) -> Any:
        state = _state(connection)
        if state is None or state.deciding:
            return original(connection, *args, **kwargs)
        if state.transaction is None:
            _look_for_unseen(state, connection)
            return original(connection, *args, **kwargs)
        # Before the call: an exception of the rollback's own would hide the one that caused it.
        why = _why_rolled_back(state, connection)
        try:
            result = original(connection, *args, **kwargs)
        except BaseException:
            _rolled_back(state, why, connection, raised=True)
            raise
        _rolled_back(state, why, connection)
        return result

    return do_rollback


def _watched_prepare(dialect: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    reference = weakref.ref(dialect)

    def do_prepare_twophase(connection: Any, *args: Any, **kwargs: Any) -> Any:
        state = _state(connection)
        if state is None or state.transaction is None:
            return original(connection, *args, **kwargs)
        try:
            result = original(connection, *args, **kwargs)
        except BaseException as error:
            _commit_failed(reference(), state, connection, error)
            raise
        _prepared(state)
        return result

    return do_prepare_twophase


def _deciding(original: Callable[..., Any]) -> Callable[..., Any]:
    """Dialects end a two-phase transaction by statements, and by rolling the connection back after them."""

    def decide(connection: Any, *args: Any, **kwargs: Any) -> Any:
        state = _state(connection)
        if state is None:
            return original(connection, *args, **kwargs)
        state.deciding = True
        try:
            return original(connection, *args, **kwargs)
        finally:
            state.deciding = False

    return decide


@guarded("dialect.state")
def _state(connection: Any) -> ConnectionState | None:
    current = runtime.current()
    if current is None:
        return None
    info = info_of(connection)
    state = None if info is None else info.get(INFO_KEY)
    if not isinstance(state, ConnectionState) or state.generation != current.holder.generation:
        return None
    return state


def _dbapi_connection(connection: Any) -> Any:
    proxy = connection.connection if isinstance(connection, Connection) else connection
    return getattr(proxy, "dbapi_connection", proxy)


@guarded("dialect.before_commit", default=False)
def _will_be_refused(state: ConnectionState, connection: Any) -> bool:
    return state.before_commit(_dbapi_connection(connection))


@guarded("dialect.committed")
def _committed(state: ConnectionState, aborted: bool) -> None:
    state.committed(aborted=aborted)


@guarded("dialect.commit_failed")
def _commit_failed(dialect: Any, state: ConnectionState, connection: Any, error: BaseException) -> None:
    lost = not isinstance(error, Exception)
    if not lost and dialect is not None and isinstance(error, dialect.loaded_dbapi.Error):
        lost = bool(dialect.is_disconnect(error, _dbapi_connection(connection), None))
    state.commit_failed(error, _dbapi_connection(connection), connection_lost=lost)


@guarded("dialect.why_rolled_back")
def _why_rolled_back(state: ConnectionState, connection: Any) -> tuple[Reason, Cause | None] | None:
    return state.before_rollback(_dbapi_connection(connection))


@guarded("dialect.rolled_back")
def _rolled_back(
    state: ConnectionState,
    why: tuple[Reason, Cause | None] | None,
    connection: Any,
    *,
    raised: bool = False,
) -> None:
    state.rolled_back(why, _dbapi_connection(connection), raised=raised)


@guarded("dialect.prepared")
def _prepared(state: ConnectionState) -> None:
    state.prepared()


@guarded("dialect.unseen")
def _look_for_unseen(state: ConnectionState, connection: Any) -> None:
    if not state.used:
        state.look_for_unseen(_dbapi_connection(connection))
