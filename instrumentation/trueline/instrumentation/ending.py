"""What is done around the driver's commit and rollback. Nothing here raises."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from trueline.instrumentation import runtime
from trueline.instrumentation.connection import INFO_KEY, ConnectionState, info_of
from trueline.instrumentation.guard import guarded


@guarded("ending.state")
def state_in_transaction(connection: Any) -> ConnectionState | None:
    """The state of a connection in a transaction of ours; ``connection``: the pool's, or an engine's."""
    current = runtime.current()
    if current is None:
        return None
    info = info_of(connection)
    state = None if info is None else info.get(INFO_KEY)
    if not isinstance(state, ConnectionState) or state.transaction is None:
        return None
    return state if state.generation == current.holder.generation else None


def _dbapi_connection(connection: Any) -> Any:
    proxy = connection.connection if isinstance(connection, Connection) else connection
    return getattr(proxy, "dbapi_connection", proxy)


@guarded("ending.before_commit", default=False)
def will_be_refused(state: ConnectionState, connection: Any) -> bool:
    """Whether the server will answer the commit with a rollback."""
    return state.before_commit(_dbapi_connection(connection))


@guarded("ending.committed")
def committed(state: ConnectionState, aborted: bool) -> None:
    """The driver's commit returned."""
    state.committed(aborted=aborted)


@guarded("ending.commit_failed")
def commit_failed(dialect: Any, state: ConnectionState, connection: Any, error: BaseException) -> None:
    """The driver's commit raised."""
    lost = not isinstance(error, Exception)
    if not lost and isinstance(error, dialect.loaded_dbapi.Error):
        lost = bool(dialect.is_disconnect(error, _dbapi_connection(connection), None))
    state.commit_failed(error, connection_lost=lost)


@guarded("ending.rolled_back")
def rolled_back(state: ConnectionState) -> None:
    """The driver's rollback is about to be called."""
    state.rolled_back()
