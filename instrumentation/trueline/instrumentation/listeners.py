"""SQLAlchemy's events, translated: nothing is decided here.

The listeners are on the classes, so that engines made before and after, sync and async, are all covered,
and so that they run before the listeners that contrib's instrumentation puts on each engine: its span can
be taken over before it would be ended.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine, NestedTransaction
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.orm import Session
from sqlalchemy.pool import Pool

from trueline.instrumentation import ambient, runtime, scope, semconv
from trueline.instrumentation.connection import INFO_KEY, ConnectionState, info_of
from trueline.instrumentation.database import DatabaseFacts, with_url
from trueline.instrumentation.database_errors import ErrorFacts, error_facts
from trueline.instrumentation.dialects import wrap_dialect
from trueline.instrumentation.entry import entry_of
from trueline.instrumentation.fingerprint import probe
from trueline.instrumentation.guard import guarded, report
from trueline.instrumentation.identity import EMPTY, Identities
from trueline.instrumentation.isolation import level_of
from trueline.instrumentation.records import StatementRecord
from trueline.instrumentation.runtime import Runtime
from trueline.instrumentation.semconv import Kind

_STARTED = "_trueline_started"
#: Where contrib's instrumentation keeps the span of a statement, on the execution context.
_CONTRIB_SPAN = "_otel_span"

_session_states: weakref.WeakKeyDictionary[Session, weakref.WeakSet[ConnectionState]] = (
    weakref.WeakKeyDictionary()
)
_session_numbers: weakref.WeakKeyDictionary[Session, str] = weakref.WeakKeyDictionary()
#: States of connections that were detached from their pools, by the id of the driver's connection.
_detached: weakref.WeakValueDictionary[int, ConnectionState] = weakref.WeakValueDictionary()
_announced: set[tuple[str, str]] = set()
_MAX_ANNOUNCED = 1024


# -- statements ------------------------------------------------------------------------------------------


@guarded("before_cursor_execute")
def _before_cursor_execute(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> None:
    if context is None or runtime.current() is None or not is_instrumentation_enabled():
        return
    setattr(context, _STARTED, (ambient.now_ns(), trace.get_current_span()))


@guarded("after_cursor_execute")
def _after_cursor_execute(
    connection: Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> None:
    ended_at = ambient.now_ns()
    current = runtime.current()
    if context is None or current is None:
        return
    started = context.__dict__.pop(_STARTED, None)
    if started is None:
        return
    state = _state_of(connection, current)
    if state is None:
        return
    record = _record(
        current, state, statement, parameters, executemany, started, ended_at, context, cursor=cursor
    )
    if state.is_idle and state.isolation_level is not None:
        state.isolation_level = level_of(connection)
    state.statement_ran(record, connection.connection.dbapi_connection)


@guarded("handle_error")
def _handle_error(error: ExceptionContext) -> None:
    ended_at = ambient.now_ns()
    current = runtime.current()
    context: Any = error.execution_context
    if current is None or context is None or error.connection is None:
        return
    connection = error.connection
    if connection.closed or connection.invalidated:
        return  # to look at its connection would connect again
    state = _state_of(connection, current)
    if state is None:
        return
    started = context.__dict__.pop(_STARTED, None)
    if started is None or error.statement is None:
        state.failed_between(
            error.original_exception,
            connection.connection.dbapi_connection,
            disconnected=error.is_disconnect,
        )
        return
    record = _record(
        current,
        state,
        error.statement,
        error.parameters,
        bool(getattr(context, "executemany", False)),
        started,
        ended_at,
        context,
        error=error_facts(error.original_exception),
    )
    if state.is_idle and state.isolation_level is not None:
        state.isolation_level = level_of(connection)
    state.statement_failed(
        record,
        connection.connection.dbapi_connection,
        disconnected=error.is_disconnect,
        error=error.original_exception,
    )


def _record(
    current: Runtime,
    state: ConnectionState,
    statement: str,
    parameters: Any,
    executemany: bool,
    started: tuple[int, Any],
    ended_at: int,
    context: Any,
    *,
    cursor: Any = None,
    error: ErrorFacts | None = None,
) -> StatementRecord:
    started_at, span = started
    adopted = context.__dict__.pop(_CONTRIB_SPAN, None)
    if adopted is not None and not adopted.is_recording():
        adopted = None
    plan = current.planner.plan(statement, state.system)
    bound = scope.bound_identities.get()
    identities: Identities = EMPTY
    row_key = ""
    if plan.identities:
        identities = current.extractor.extract(plan, parameters, executemany=executemany, bound=bound)
    if plan.row_filter and not executemany:
        row_key = current.extractor.row_key(plan, parameters)
    span_context = span.get_span_context()
    return StatementRecord(
        plan=plan,
        database=state.attributes,
        orm_session_id=state.orm_session_id,
        started_at=started_at,
        ended_at=ended_at,
        parent=span_context if span_context.is_valid else None,
        entry=entry_of(span) if span_context.is_valid else None,
        bound=bound,
        identities=identities,
        row_key=row_key,
        rows=None if cursor is None else _row_count(state, plan.kind, statement, cursor),
        batch=len(parameters) if executemany and isinstance(parameters, list) else 0,
        error=error,
        adopted=adopted,
        writes=plan.kind is Kind.WRITE or plan.kind is Kind.DDL,
    )


def _row_count(state: ConnectionState, kind: Kind, statement: str, cursor: Any) -> int | None:
    """Rows written or returned; None where the driver does not know (yet)."""
    if state.system == "sqlite" and (kind is not Kind.WRITE or "RETURNING" in statement.upper()):
        # sqlite3 counts while rows are fetched. The asyncio adapter has fetched them all.
        fetched = getattr(cursor, "_rows", None)
        return len(fetched) if fetched is not None else None
    count = getattr(cursor, "rowcount", None)
    return count if isinstance(count, int) and count >= 0 else None


# -- connections -----------------------------------------------------------------------------------------


def _state_of(connection: Connection, current: Runtime) -> ConnectionState | None:
    info = info_of(connection.connection)
    if info is None:
        return None  # the dialect looks around on an engine's very first connection
    state: ConnectionState | None = info.get(INFO_KEY)
    if state is None or state.generation != current.holder.generation or state.holder is not current.holder:
        # Connected before Trueline was switched on, or in the parent of a fork: the connection may be in
        # the middle of a transaction, so nothing is asked of it here.
        dialect = connection.dialect
        wrap_dialect(dialect)
        state = ConnectionState(
            current.holder, _driver(dialect), dialect.name, DatabaseFacts(system=_system(dialect.name))
        )
        info[INFO_KEY] = state
    if not state.url_known:
        state.url_known = True
        state.facts = with_url(state.facts, connection.engine.url)
        state.attributes = state.facts.attributes()
        _announce(current, state)
    return state


def _announce(current: Runtime, state: ConnectionState) -> None:
    """Once for each database that this process reaches: `trueline.database.connected`."""
    key = (state.facts.fingerprint, state.facts.url)
    if key in _announced or len(_announced) >= _MAX_ANNOUNCED:
        return
    _announced.add(key)
    current.emit_event(semconv.EVENT_DATABASE_CONNECTED, state.attributes)


def _new_state(current: Runtime, dbapi_connection: Any, record: Any, dialect: Any) -> None:
    wrap_dialect(dialect)
    system = _system(dialect.name)
    try:
        facts = probe(system, dbapi_connection, configured=current.database_name)
    except Exception as error:
        report("fingerprint.probe", error)
        facts = DatabaseFacts(system=system)
    record.info[INFO_KEY] = ConnectionState(current.holder, _driver(dialect), dialect.name, facts)


def _system(dialect_name: str) -> str:
    return {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}.get(dialect_name, dialect_name)


def _driver(dialect: Any) -> str:
    # psycopg's two dialects share a driver name; their DBAPI connections differ.
    driver = str(dialect.driver)
    return "psycopg_async" if driver == "psycopg" and dialect.is_async else driver


@guarded("pool.connect")
def _pool_connect(dbapi_connection: Any, record: Any) -> None:
    current = runtime.current()
    if current is not None:
        _new_state(current, dbapi_connection, record, _dialect_of(record))


@guarded("pool.checkout")
def _pool_checkout(dbapi_connection: Any, record: Any, proxy: Any) -> None:
    current = runtime.current()
    if current is None:
        return
    state: ConnectionState | None = record.info.get(INFO_KEY)
    if state is None or state.holder is not current.holder:
        _new_state(current, dbapi_connection, record, _dialect_of(record))
    elif state.transaction is not None or state.returning:
        state.returned()


def _dialect_of(record: Any) -> Any:
    # The pool's dialect is the engine's. SQLAlchemy offers no public way from a record to it.
    return record._ConnectionRecord__pool._dialect


def _record_state(record: Any) -> ConnectionState | None:
    current = runtime.current()
    if current is None or record is None:
        return None
    state: ConnectionState | None = record.info.get(INFO_KEY)
    if state is None or state.generation != current.holder.generation:
        return None
    return state


@guarded("pool.reset")
def _pool_reset(dbapi_connection: Any, record: Any, reset_state: Any) -> None:
    state = _record_state(record) if record is not None else _detached.get(id(dbapi_connection))
    if state is not None:
        state.reset(
            transaction_was_reset=reset_state.transaction_was_reset,
            only_terminated=not reset_state.asyncio_safe,
        )


@guarded("pool.checkin")
def _pool_checkin(dbapi_connection: Any, record: Any) -> None:
    state = _record_state(record)
    if state is not None and dbapi_connection is not None:
        state.checked_in()
    elif state is not None:
        state.returned()


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


# -- the ORM ---------------------------------------------------------------------------------------------


@guarded("session.after_begin")
def _after_begin(session: Session, transaction: Any, connection: Connection) -> None:
    current = runtime.current()
    if current is None:
        return
    state = _state_of(connection, current)
    if state is None:
        return
    number = _session_numbers.get(session)
    if number is None:
        number = _session_numbers[session] = f"{time.monotonic_ns() & 0xFFFFFFFFFFFF:012x}"
    # A new transaction begins: nothing more will be learned of an ended one.
    state.settle()
    state.orm_session_id = number
    state.owned_by_session = _ends_with(session, transaction, connection)
    states = _session_states.get(session)
    if states is None:
        states = _session_states[session] = weakref.WeakSet()
    states.add(state)


def _ends_with(session: Session, transaction: Any, connection: Connection) -> bool:
    """Whether the session ends the connection's transaction; it can join one that its holder will end."""
    entry = getattr(transaction, "_connections", {}).get(connection)
    if not isinstance(entry, tuple) or len(entry) != 4:
        return not isinstance(session.bind, Connection)
    _, begun, should_commit, _ = entry
    return bool(should_commit) and not isinstance(begun, NestedTransaction)


@guarded("session.after_rollback")
def _after_rollback(session: Session) -> None:
    for state in list(_session_states.get(session, ())):
        state.session_rolled_back()


_LISTENERS: tuple[tuple[Any, str, Callable[..., None]], ...] = (
    (Engine, "before_cursor_execute", _before_cursor_execute),
    (Engine, "after_cursor_execute", _after_cursor_execute),
    (Engine, "handle_error", _handle_error),
    (Pool, "connect", _pool_connect),
    (Pool, "checkout", _pool_checkout),
    (Pool, "reset", _pool_reset),
    (Pool, "checkin", _pool_checkin),
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
    _announced.clear()
