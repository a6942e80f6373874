"""From SQLAlchemy's connections to ours: one state a pooled connection, made when it connects.

The server is asked which database it is right before the connection's first statement: by then every listener
has run, so that the search path is the one that the application will use, and the driver has not begun a
transaction yet.
"""

from __future__ import annotations

import weakref
from typing import Any

from sqlalchemy.engine import Connection

from trueline.instrumentation.announcements import announce
from trueline.instrumentation.connection import INFO_KEY, ConnectionState, info_of
from trueline.instrumentation.database import DatabaseFacts, with_url
from trueline.instrumentation.fingerprint import probe
from trueline.instrumentation.guard import report
from trueline.instrumentation.recollection import recall, remember, reported
from trueline.instrumentation.runtime import Runtime
from trueline.instrumentation.url_variable import variable_of
from trueline.instrumentation.wire import Part

#: Dialects of engines of which a connection died of the question: it may have been the question's fault, so
#: their connections are not asked again.
_died: weakref.WeakSet[Any] = weakref.WeakSet()


class ConnectionDied(Exception):  # noqa: N818
    """The connection was lost while it was asked; the driver's error, which a statement would have met."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def state_of(connection: Connection, current: Runtime) -> ConnectionState | None:
    """The state of a connection that is about to run a statement; None where it can have none.

    Raises ConnectionDied.
    """
    state = known_state(connection, current)
    if state is None:
        return None
    if not state.asked:
        _ask(state, connection)
    if not state.url_known:
        state.url_known = True
        url = connection.engine.url
        variable = variable_of(connection.dialect, url)
        state.facts = with_url(state.facts, url, current.database_names, variable=variable)
        state.attributes = Part(state.facts.attributes())
        announce(current, state.facts, state.attributes.attributes)
    return state


def known_state(connection: Connection, current: Runtime) -> ConnectionState | None:
    """The state of a connection as far as it is known, without asking anything."""
    info = info_of(connection.connection)
    if info is None:
        return None  # the dialect looks around on an engine's very first connection
    state: ConnectionState | None = info.get(INFO_KEY)
    if state is None or state.generation != current.holder.generation or state.holder is not current.holder:
        state = info[INFO_KEY] = new_state(connection.dialect, current, state)
    return state


def new_state(dialect: Any, current: Runtime, before: ConnectionState | None = None) -> ConnectionState:
    """The state of a connection, not asked yet; ``before``: the one that a parent or predecessor left."""
    facts = DatabaseFacts(system=system_of(dialect.name))
    inherited = before is not None and before.holder is current.holder
    if inherited and before is not None:
        # Made in the parent of a fork: it may be in the parent's hands, and what it was told still holds.
        facts = before.facts
    state = ConnectionState(current.holder, driver_of(dialect), dialect.name, facts)
    state.asked = inherited
    return state


def _ask(state: ConnectionState, connection: Connection) -> None:
    """Ask which database this is, once a connection; after the next checkout if it is not the time now."""
    facts: DatabaseFacts | None = DatabaseFacts(system=system_of(state.system))
    if connection.dialect not in _died:
        raw: Any = connection.connection.dbapi_connection
        try:
            facts = _answer(state, raw, connection.engine.pool)
        except Exception as error:
            report("fingerprint.probe", error)
            if _is_closed(raw):
                _died.add(connection.dialect)
                raise ConnectionDied(error) from None
    if facts is not None:
        state.asked = True
        state.facts = facts
        state.url_known = False


def _answer(state: ConnectionState, dbapi_connection: Any, pool: Any) -> DatabaseFacts | None:
    key = reported(pool, dbapi_connection)
    facts = recall(pool, key)
    if facts is None:
        facts = probe(system_of(state.system), state.driver, dbapi_connection, owner=pool)
        if facts is not None:
            remember(pool, key, facts)
    return facts


def _is_closed(dbapi_connection: Any) -> bool:
    """Whether the driver knows that the connection is gone, so that no statement can succeed on it."""
    try:
        inner = getattr(dbapi_connection, "_connection", dbapi_connection)
        closed = inner.is_closed() if hasattr(inner, "is_closed") else getattr(inner, "closed", False)
        return bool(closed)
    except Exception as error:  # a driver's attributes are foreign code
        report("fingerprint.closed", error)
        return False


def system_of(dialect_name: str) -> str:
    """OpenTelemetry's name of a database system, from SQLAlchemy's."""
    return {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}.get(dialect_name, dialect_name)


def driver_of(dialect: Any) -> str:
    """The driver's name; psycopg's two dialects share one, and their DBAPI connections differ."""
    driver = str(getattr(dialect, "driver", ""))  # not every foreign dialect says
    return "psycopg_async" if driver == "psycopg" and dialect.is_async else driver
