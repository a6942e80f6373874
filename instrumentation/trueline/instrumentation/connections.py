"""From SQLAlchemy's connections to ours: one state a pooled connection, made when it connects.

A connection that is older than Trueline gets its state with its first statement.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from trueline.instrumentation import semconv
from trueline.instrumentation.connection import INFO_KEY, ConnectionState, info_of
from trueline.instrumentation.database import DatabaseFacts, with_url
from trueline.instrumentation.drivers import DriverStatus, transaction_status
from trueline.instrumentation.fingerprint import probe
from trueline.instrumentation.guard import report
from trueline.instrumentation.runtime import Runtime
from trueline.instrumentation.wire import Part

_announced: set[tuple[str, str]] = set()
_MAX_ANNOUNCED = 1024


def state_of(connection: Connection, current: Runtime) -> ConnectionState | None:
    """The state of a connection in use; None where it can have none."""
    info = info_of(connection.connection)
    if info is None:
        return None  # the dialect looks around on an engine's very first connection
    state: ConnectionState | None = info.get(INFO_KEY)
    if state is None or state.generation != current.holder.generation or state.holder is not current.holder:
        state = info[INFO_KEY] = _late(connection, current, inherited=state is not None)
    if not state.url_known:
        state.url_known = True
        state.facts = with_url(state.facts, connection.engine.url)
        state.attributes = Part(state.facts.attributes())
        _announce(current, state)
    return state


def _late(connection: Connection, current: Runtime, *, inherited: bool) -> ConnectionState:
    """The state of a connection that was made before Trueline was switched on, or before a fork.

    It may be in the middle of a transaction, and in a forked child it may be the parent's: it is asked who
    it is only where neither can be.
    """
    dialect = connection.dialect
    driver = driver_of(dialect)
    raw = connection.connection.dbapi_connection
    if not inherited and transaction_status(driver, raw) is DriverStatus.IDLE:
        return new_state(current, raw, dialect)
    return ConnectionState(
        current.holder, driver, dialect.name, DatabaseFacts(system=system_of(dialect.name))
    )


def new_state(current: Runtime, dbapi_connection: Any, dialect: Any) -> ConnectionState:
    """The state of a connection on which nothing of the application runs: it is asked who it is."""
    system = system_of(dialect.name)
    try:
        facts = probe(system, dbapi_connection, configured=current.database_name)
    except Exception as error:
        report("fingerprint.probe", error)
        facts = DatabaseFacts(system=system)
    return ConnectionState(current.holder, driver_of(dialect), dialect.name, facts)


def _announce(current: Runtime, state: ConnectionState) -> None:
    """Once for each database that this process reaches: `trueline.database.connected`."""
    key = (state.facts.fingerprint, state.facts.url)
    if key in _announced or len(_announced) >= _MAX_ANNOUNCED:
        return
    _announced.add(key)
    current.emit_event(semconv.EVENT_DATABASE_CONNECTED, state.attributes.attributes)


def forget_announced() -> None:
    """Announce every database again."""
    _announced.clear()


def system_of(dialect_name: str) -> str:
    """OpenTelemetry's name of a database system, from SQLAlchemy's."""
    return {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}.get(dialect_name, dialect_name)


def driver_of(dialect: Any) -> str:
    """The driver's name; psycopg's two dialects share one, and their DBAPI connections differ."""
    driver = str(getattr(dialect, "driver", ""))  # not every foreign dialect says
    return "psycopg_async" if driver == "psycopg" and dialect.is_async else driver
