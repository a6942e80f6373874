"""What is done around the driver's commit and rollback. Nothing here raises."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from trueline.instrumentation import runtime
from trueline.instrumentation.causes import Why
from trueline.instrumentation.connection import INFO_KEY, ConnectionState
from trueline.instrumentation.guard import guarded, swallow


def state_in_transaction(connection: Any) -> ConnectionState | None:
    """The state of a connection in a transaction of ours; ``connection``: the pool's, or an engine's."""
    try:
        state = connection.info.get(INFO_KEY)
        if state is None or state.transaction is None:
            return None
        current = runtime.active
        return None if current is None or state.generation != current.holder.generation else state
    except (AttributeError, NotImplementedError):
        # A driver's own connection has no such dictionary, and SQLAlchemy's stand-in for the very first
        # connect of an engine has nothing.
        return None
    except Exception as error:
        swallow("ending.state", error)
        return None


def _dbapi_connection(connection: Any) -> Any:
    proxy = connection.connection if isinstance(connection, Connection) else connection
    return getattr(proxy, "dbapi_connection", proxy)


@guarded("ending.before_commit", default=False)
def will_be_refused(state: ConnectionState, connection: Any) -> bool:
    """Whether the server will answer the commit with a rollback."""
    return state.before_commit(_dbapi_connection(connection))


def committed(state: ConnectionState, aborted: bool) -> None:
    """The driver's commit returned."""
    try:
        state.committed(aborted=aborted)
    except Exception as error:
        swallow("ending.committed", error)


@guarded("ending.commit_failed")
def commit_failed(dialect: Any, state: ConnectionState, connection: Any, error: BaseException) -> None:
    """The driver's commit raised."""
    lost = not isinstance(error, Exception)
    if not lost and isinstance(error, dialect.loaded_dbapi.Error):
        proxy = connection.connection if isinstance(connection, Connection) else connection
        lost = bool(dialect.is_disconnect(error, proxy, None))  # asked as SQLAlchemy does
    state.commit_failed(error, _dbapi_connection(connection), connection_lost=lost)


@guarded("ending.prepared")
def prepared(state: ConnectionState) -> None:
    """PREPARE TRANSACTION returned."""
    state.prepared()


@guarded("ending.before_rollback")
def before_rollback(state: ConnectionState, connection: Any) -> Why | None:
    """The driver's rollback is about to be called: why?"""
    return state.before_rollback(_dbapi_connection(connection))


@guarded("ending.rolled_back")
def rolled_back(state: ConnectionState, why: Why | None, connection: Any, *, raised: bool = False) -> None:
    """The driver's rollback returned, or raised."""
    state.rolled_back(why, _dbapi_connection(connection), raised=raised)
