"""What is done around one execution of a statement. This is the hot path, and nothing here raises.

Everything that can wait until the span leaves does: building attributes, encoding, span ids. The one
exception to the second sentence: a connection that was lost while it was asked who it is.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.context import get_current
from opentelemetry.trace import Span, SpanContext, get_current_span

from trueline.instrumentation import ambient, bound, runtime
from trueline.instrumentation.adopted import adopt
from trueline.instrumentation.bound import BOUND_KEY, Bound, own
from trueline.instrumentation.connection import INFO_KEY, ConnectionState
from trueline.instrumentation.connections import ConnectionDied, state_of
from trueline.instrumentation.contrib import SPAN_ATTRIBUTE
from trueline.instrumentation.database_errors import error_facts
from trueline.instrumentation.drivers import changes
from trueline.instrumentation.entry import entry_of
from trueline.instrumentation.guard import report, swallow
from trueline.instrumentation.identity import EMPTY, created
from trueline.instrumentation.identity.rows import Owners
from trueline.instrumentation.records import StatementRecord
from trueline.instrumentation.runtime import Runtime
from trueline.instrumentation.semconv import Kind
from trueline.instrumentation.statement import Ownership, Plan
from trueline.instrumentation.suppression import SUPPRESSION_KEYS

#: Set on the execution context while a statement runs: a dialect's method may call that of its base class.
_RUNNING: Final = "_trueline_running"
_SUPPRESS, _SUPPRESS_OLD = SUPPRESSION_KEYS

#: Started at (ns), the current span's context, the entry span, runtime, connection, whom it is for.
Begun = tuple[int, SpanContext | None, Span | None, Runtime, ConnectionState, Bound]


def begin(context: Any) -> Begun | None:
    """A statement is about to run; None: not one of ours to watch."""
    try:
        current = runtime.active
        values = context.__dict__
        if current is None or values.get(_RUNNING):
            return None
        around = bound.tidied() if bound.revoking else get_current()
        parent = entry = None
        whom: Any = None
        if around:
            if around.get(_SUPPRESS) or around.get(_SUPPRESS_OLD):
                return None
            whom = around.get(BOUND_KEY)
            span = get_current_span(around)
            parent = span.get_span_context()
            if parent.is_valid:
                entry = entry_of(span)
            else:
                parent = None
        connection = context.root_connection
        try:
            state = connection._dbapi_connection.info[INFO_KEY]
            holder = current.holder
            if state.holder is not holder or state.generation != holder.generation or not state.url_known:
                state = state_of(connection, current)
        except (AttributeError, KeyError, NotImplementedError):
            # Its first statement, the stand-in of an engine's first connect, or another SQLAlchemy.
            state = state_of(connection, current)
        if state is None:
            return None
        if whom is None:
            whom = own.get()
        values[_RUNNING] = True
        return ambient.now_ns(), parent, entry, current, state, whom
    except ConnectionDied as died:
        # The statement cannot succeed any more. It fails with what it would have met itself.
        raise died.error from died.error.__cause__
    except Exception as error:
        swallow("execution.begin", error)
        return None


def ran(begun: Begun, context: Any, cursor: Any, statement: Any, parameters: Any) -> None:
    """The statement succeeded."""
    try:
        record = _record(begun, ambient.now_ns(), context, statement, parameters, None)
        state = begun[4]
        record.rows = _row_count(state, record.plan, cursor)
        if record.plan.created is not None:
            created.watch(context, record, begun[3].extractor)
        state.statement_ran(record, context.root_connection)
    except Exception as error:
        swallow("execution.ran", error)


def changes_before(begun: Begun, context: Any) -> int | None:
    """Rows that the connection has changed before a batch; None: nobody counts."""
    try:
        return changes(begun[4].driver, context.root_connection.connection.dbapi_connection)
    except Exception as error:
        swallow("execution.changes", error)
        return None


def failed(
    begun: Begun,
    context: Any,
    statement: Any,
    parameters: Any,
    error: BaseException,
    before: int | None = None,
) -> None:
    """The statement raised ``error``. ``before``: what :func:`changes_before` said of a batch."""
    try:
        record = _record(begun, ambient.now_ns(), context, statement, parameters, error)
        connection = context.root_connection
        if before is not None:
            record.kept_nothing = changes(begun[4].driver, connection.connection.dbapi_connection) == before
        begun[4].statement_failed(
            record, connection, error, disconnected=_disconnected(context, connection, error)
        )
    except Exception as internal:
        swallow("execution.failed", internal)


def _record(
    begun: Begun, ended_at: int, context: Any, statement: Any, parameters: Any, error: BaseException | None
) -> StatementRecord:
    """What is known of a statement that is over."""
    values = context.__dict__
    values[_RUNNING] = False
    started_at, parent, entry, current, state, whom = begun
    adopted = values.pop(SPAN_ATTRIBUTE, None)
    if adopted is not None:
        adopted = adopt(adopted)
    many = context.executemany
    plan = current.planner.plan(statement, state.system, context)
    identities = EMPTY
    if plan.identities:
        identities = current.extractor.extract(plan, parameters, executemany=many, bound=whom)
    row_key = ""
    if plan.row_filter and not many:
        row_key = current.extractor.row_key(plan, parameters)
    owners: Owners = ()
    if plan.ownership is not None and not identities.count:
        owners = _owners(current, state, plan.ownership, parameters, context, whom)
    return StatementRecord(
        plan,
        state.attributes,
        state.orm_session_id,
        started_at,
        ended_at,
        parent,
        entry,
        whom,
        identities,
        row_key,
        None,
        len(parameters) if many and isinstance(parameters, list) else 0,
        None if error is None else error_facts(error, plan.text),
        adopted,
        owners,
    )


def _owners(
    current: Runtime, state: ConnectionState, ownership: Ownership, parameters: Any, context: Any, whom: Bound
) -> Owners:
    """Whose rows a statement touches that names nobody, as far as its ORM session knows."""
    session = state.session
    if session is None:
        return ()
    return current.extractor.rows.find(
        session, ownership, parameters, executemany=context.executemany, bound=whom, dialect=context.dialect
    )


def _disconnected(context: Any, connection: Any, error: BaseException) -> bool:
    if not isinstance(error, Exception):
        return True
    dialect = context.dialect
    try:
        return isinstance(error, dialect.loaded_dbapi.Error) and bool(
            dialect.is_disconnect(error, connection.connection, context.cursor)  # asked as SQLAlchemy does
        )
    except Exception as internal:  # it reads the text of foreign exceptions
        report("execution.disconnected", internal)
        return False


def _row_count(state: ConnectionState, plan: Plan, cursor: Any) -> int | None:
    """Rows written or returned; None where the driver does not know (yet)."""
    if state.system == "sqlite" and (plan.kind is not Kind.WRITE or plan.returning):
        # sqlite3 counts while rows are fetched. The asyncio adapter has fetched them all.
        if state.driver == "pysqlite":
            return None
        fetched = getattr(cursor, "_rows", None)
        return len(fetched) if fetched is not None else None
    count = getattr(cursor, "rowcount", None)
    return count if isinstance(count, int) and count >= 0 else None
