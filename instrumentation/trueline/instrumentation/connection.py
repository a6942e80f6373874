"""The state of one pooled connection: its database, its transaction, and how that transaction ends.

It lives in the connection record's ``info`` dictionary, which SQLAlchemy empties when the record connects
anew. The listeners translate SQLAlchemy's events into calls of this class; it drives the pure
:class:`Transaction` and hands what is ready to the holder.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from typing import TYPE_CHECKING, Any

from trueline.instrumentation import ambient, scope
from trueline.instrumentation.block import qualified_name
from trueline.instrumentation.database import DatabaseFacts
from trueline.instrumentation.drivers import (
    DriverStatus,
    batch_may_halt,
    error_aborts,
    statement_autocommitted,
    transaction_status,
)
from trueline.instrumentation.guard import report
from trueline.instrumentation.isolation import level_in
from trueline.instrumentation.semconv import Reason
from trueline.instrumentation.statement import Control
from trueline.instrumentation.transaction import Cause, Transaction

if TYPE_CHECKING:
    from trueline.instrumentation.holder import Holder
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.statement import Plan

INFO_KEY = "trueline"
MAX_CAUSES = 8

# These end a block without anything having gone wrong in it.
_NOT_ERRORS = (StopIteration, StopAsyncIteration)
_OPEN = (DriverStatus.IN_TRANSACTION, DriverStatus.IN_ERROR)


class ConnectionState:
    """One database connection as seen by Trueline."""

    __slots__ = (
        "__weakref__",
        "attributes",
        "deciding",
        "driver",
        "explicit",
        "facts",
        "generation",
        "holder",
        "isolation_level",
        "orm_session",
        "orm_session_id",
        "owned_by_session",
        "returning",
        "system",
        "transaction",
        "url_known",
        "used",
    )

    def __init__(self, holder: Holder, driver: str, system: str, facts: DatabaseFacts) -> None:
        self.holder = holder
        #: A fork makes the child's copy of this state worthless: the connection is the parent's.
        self.generation = holder.generation
        self.driver = driver
        self.system = system
        self.facts = facts
        self.url_known = False
        #: Attributes of every statement span on this connection.
        self.attributes: dict[str, Any] = facts.attributes()
        self.transaction: Transaction[StatementRecord] | None = None
        #: Of the transaction that the next statement begins; None: SQL text changed it for the session.
        self.isolation_level: str | None = ""
        #: The application said BEGIN itself, on a connection that otherwise commits each statement.
        self.explicit = False
        #: The pool is taking the connection back.
        self.returning = False
        #: The dialect ends a two-phase transaction; what it runs and rolls back for that decides nothing.
        self.deciding = False
        #: A statement of SQLAlchemy's ran since the connection was taken from the pool.
        self.used = False
        self.orm_session: weakref.ref[Any] | None = None
        self.orm_session_id = ""
        self.owned_by_session = False

    # -- statements ----------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """The next statement is the first of a transaction."""
        transaction = self.transaction
        return transaction is None or transaction.ended or transaction.is_empty

    def transaction_for_statement(self) -> Transaction[StatementRecord]:
        """The transaction that a statement belongs to, begun if need be."""
        transaction = self.transaction
        self.used = True
        if transaction is not None and transaction.ended:
            self.settle()
            transaction = None
        if transaction is None:
            transaction = self.transaction = Transaction(ambient.new_transaction_id())
            scope.transaction_opened(transaction)
        if transaction.is_empty:
            transaction.isolation_level = self.isolation_level or ""
        if not transaction.orm_session_id:
            transaction.orm_session_id = self.orm_session_id
        return transaction

    def statement_ran(self, record: StatementRecord, dbapi_connection: Any) -> None:
        """A statement succeeded."""
        transaction = self.transaction_for_statement()
        control = None if self.deciding else record.plan.control
        if (
            control is None
            and not self.explicit
            and not self.deciding
            and self._autocommitted(record, dbapi_connection)
        ):
            self._autocommit(record)
            return
        with transaction.lock:
            # Neither SAVEPOINT nor the ROLLBACK TO that answers it is undone by the latter.
            if control is not None and control is not Control.SAVEPOINT:
                self._control(transaction, control, record.plan.control_name)
            transaction.add(record)
            self._count(transaction, record)
            if record.plan.kind == "other":
                self._note_isolation_level(transaction, record.plan)
            if control is Control.SAVEPOINT:
                self._control(transaction, control, record.plan.control_name)
            elif control is Control.RELEASE_SAVEPOINT and self._status(dbapi_connection) is DriverStatus.IDLE:
                # sqlite3 opens no transaction for SAVEPOINT: releasing the outermost one commits.
                transaction.committed()
        self.holder.hold(transaction, record)
        if transaction.ended:
            self.settle()

    def _note_isolation_level(self, transaction: Transaction[StatementRecord], plan: Plan) -> None:
        level, whole_session = level_in(plan)
        if whole_session:
            self.isolation_level = None
        elif level:
            transaction.isolation_level = level

    def statement_failed(
        self,
        record: StatementRecord,
        dbapi_connection: Any,
        *,
        disconnected: bool,
        error: BaseException | None = None,
    ) -> None:
        """A statement raised ``error``."""
        transaction = self.transaction_for_statement()
        if (
            not disconnected
            and not self.explicit
            and record.plan.control is None
            and self._autocommitted(record, dbapi_connection)
            and not transaction.held
            and not transaction.left
        ):
            self._autocommit(record)
            return
        aborts = not disconnected and self._aborts(dbapi_connection, error)
        with transaction.lock:
            transaction.add(record)
            self._count(transaction, record)
            transaction.statement_failed(aborts=aborts)
        self.holder.hold(transaction, record)
        if disconnected or transaction.ended:
            return
        if record.plan.control is Control.COMMIT:
            self._commit_refused(transaction, dbapi_connection, error)
        elif transaction.wrote and self._status(dbapi_connection) is DriverStatus.IDLE:
            # INSERT OR ROLLBACK, a full disk, a deadlock: the error ended the whole transaction.
            with transaction.lock:
                transaction.rolled_back(Reason.EXCEPTION, None if error is None else cause_of(error))
            self.settle()

    def failed_between(self, error: BaseException, dbapi_connection: Any, *, disconnected: bool) -> None:
        """Something raised that is no statement of its own: the rows of one were being fetched."""
        transaction = self.transaction
        if transaction is None or transaction.ended or disconnected:
            return
        if self._aborts(dbapi_connection, error):
            with transaction.lock:
                transaction.statement_failed(aborts=True)

    def _aborts(self, dbapi_connection: Any, error: BaseException | None) -> bool:
        if self.system != "postgresql":
            return False
        try:
            return error_aborts(self.driver, dbapi_connection, error)
        except Exception as problem:
            report("connection.aborts", problem)
            return True

    def _commit_refused(
        self, transaction: Transaction[StatementRecord], dbapi_connection: Any, error: BaseException | None
    ) -> None:
        """COMMIT raised on a healthy connection: over on most servers, as open as before on SQLite."""
        cause = Cause() if error is None else cause_of(error)
        with transaction.lock:
            if self._status(dbapi_connection) is DriverStatus.IN_TRANSACTION:
                transaction.commit_refused(cause)
                return
            transaction.commit_failed(connection_lost=False, cause=cause)
        self.settle()

    def _autocommitted(self, record: StatementRecord, dbapi_connection: Any) -> bool:
        transaction = self.transaction
        if transaction is not None and transaction.wrote:
            # Once a transaction has written, only its end can end it.
            return False
        return bool(statement_autocommitted(self.driver, dbapi_connection, writes=record.writes))

    def _autocommit(self, record: StatementRecord) -> None:
        transaction: Transaction[StatementRecord] = Transaction(ambient.new_transaction_id(), autocommit=True)
        transaction.isolation_level = self.isolation_level or ""
        transaction.orm_session_id = self.orm_session_id
        transaction.add(record)
        self._count(transaction, record)
        if record.error is not None and record.many and batch_may_halt(self.driver):
            transaction.statement_failed(aborts=False)
            transaction.ended_unseen()
        elif record.error is not None:
            transaction.statement_failed(aborts=False)
            transaction.rolled_back(Reason.EXCEPTION, Cause(record.error.error_type))
            transaction.settle()
        else:
            transaction.committed()
        self.holder.hold(transaction, record)
        self.holder.settled(transaction)

    def _count(self, transaction: Transaction[StatementRecord], record: StatementRecord) -> None:
        tally = transaction.tally
        if record.writes:
            tally.writes += 1
            tally.rows += max(record.rows or 0, 0)
            if record.plan.tables:
                tally.tables.setdefault(record.plan.tables[0])
        elif record.plan.kind == "read":
            tally.reads += 1

    def _control(self, transaction: Transaction[StatementRecord], control: Control, name: str) -> None:
        match control:
            case Control.BEGIN:
                self.explicit = True
            case Control.SAVEPOINT:
                transaction.savepoint(name)
            case Control.RELEASE_SAVEPOINT:
                transaction.release_savepoint(name)
            case Control.ROLLBACK_TO_SAVEPOINT:
                transaction.rollback_to_savepoint(name)
            case Control.COMMIT:
                transaction.committed()
            case Control.ROLLBACK:
                reason, cause = self._why_rolled_back()
                transaction.rolled_back(reason, cause)

    # -- how the transaction ends --------------------------------------------------------------------

    def before_commit(self, dbapi_connection: Any) -> bool:
        """Whether the server will answer the commit that follows with a rollback."""
        status = self._status(dbapi_connection)
        self._check_still_open(status)
        return status is DriverStatus.IN_ERROR

    def before_rollback(self, dbapi_connection: Any) -> tuple[Reason, Cause | None] | None:
        """Why the rollback that follows happens; None if there is nothing that it could end."""
        if not self.deciding:
            self._check_still_open(self._status(dbapi_connection))
        transaction = self.transaction
        if transaction is None or transaction.ended:
            return None
        return self._why_rolled_back()

    def _check_still_open(self, status: DriverStatus) -> None:
        """The driver's connection was committed or rolled back past SQLAlchemy: nobody saw which."""
        transaction = self.transaction
        if transaction is None or transaction.ended:
            return
        if status is DriverStatus.IDLE and transaction.wrote and not transaction.prepared:
            with transaction.lock:
                transaction.ended_unseen()
            self.settle()

    def look_for_unseen(self, dbapi_connection: Any) -> None:
        """The connection ends a transaction in which no statement of SQLAlchemy's ran."""
        if self.used or self._status(dbapi_connection) not in _OPEN:
            return
        self.holder.unseen["transactions"] += 1

    def _status(self, dbapi_connection: Any) -> DriverStatus:
        try:
            return transaction_status(self.driver, dbapi_connection)
        except Exception as error:
            report("connection.status", error)
            return DriverStatus.UNKNOWN

    def committed(self, *, aborted: bool) -> None:
        """The driver's commit returned."""
        transaction = self.transaction
        if transaction is not None and not transaction.ended:
            with transaction.lock:
                transaction.committed(aborted=aborted)
        self.settle()

    def commit_failed(self, error: BaseException, dbapi_connection: Any, *, connection_lost: bool) -> None:
        """The driver's commit raised."""
        transaction = self.transaction
        if transaction is None or transaction.ended:
            self.settle()
        elif connection_lost or transaction.prepared:
            with transaction.lock:
                transaction.commit_failed(connection_lost=True, cause=cause_of(error))
            self.settle()
        else:
            self._commit_refused(transaction, dbapi_connection, error)

    def prepared(self) -> None:
        """PREPARE TRANSACTION succeeded: from now on the transaction does not depend on the connection."""
        if self.transaction is not None:
            self.transaction.prepared = True

    def rolled_back(
        self, why: tuple[Reason, Cause | None] | None, dbapi_connection: Any, *, raised: bool = False
    ) -> None:
        """The driver's rollback returned, or raised: the server rolls back then all the same."""
        transaction = self.transaction
        if transaction is None or transaction.ended or why is None or self.deciding:
            return
        if raised and transaction.prepared:
            with transaction.lock:
                transaction.ended_unseen()
            self.settle()
        elif raised or self._status(dbapi_connection) not in _OPEN:
            with transaction.lock:
                transaction.rolled_back(*why)
        # Otherwise the driver did nothing: asyncpg and psycopg2 leave alone what SQL text began.

    def _why_rolled_back(self) -> tuple[Reason, Cause | None]:
        if self.returning:
            # Nobody closed the connection: the pool found it, after its holder was collected.
            return Reason.ABANDONED, None
        error = _leaving_with()
        if isinstance(error, GeneratorExit):
            # A generator was closed before it was done: nobody asked for a rollback.
            return Reason.NOT_COMMITTED, None
        if error is not None and not isinstance(error, _NOT_ERRORS):
            abandoned = isinstance(error, asyncio.CancelledError)
            return (Reason.ABANDONED if abandoned else Reason.EXCEPTION), cause_of(error)
        return (Reason.NOT_COMMITTED if self.owned_by_session else Reason.EXPLICIT), None

    def session_rolled_back(self) -> None:
        """The ORM session that owns the transaction was rolled back by a call, not by being closed."""
        transaction = self.transaction
        if (
            transaction is not None
            and self.owned_by_session
            and not isinstance(_leaving_with(), GeneratorExit)
        ):
            with transaction.lock:
                transaction.correct(Reason.EXPLICIT)

    def reset(self, *, transaction_was_reset: bool, only_terminated: bool) -> None:
        """The pool resets the connection; a rollback of its own follows."""
        self.returning = True
        transaction = self.transaction
        if transaction is None:
            return
        if transaction.ended:
            if transaction_was_reset:
                # Connection.close() with the transaction open: SQLAlchemy rolled back, nobody asked it to.
                with transaction.lock:
                    transaction.correct(Reason.NOT_COMMITTED)
            self.settle()
        elif only_terminated:
            self.lost()

    def checked_in(self) -> None:
        """The connection is back in the pool, in good health."""
        if not self.used:
            self.holder.unseen["checkouts"] += 1
        self.returned()

    def returned(self) -> None:
        """The connection is back in the pool."""
        self.returning = False
        self.used = False
        self.settle()
        self.orm_session = None
        self.orm_session_id = ""
        self.owned_by_session = False

    def lost(self, error: BaseException | None = None) -> None:
        """The connection is gone, and the transaction with it."""
        transaction = self.transaction
        if transaction is not None and not transaction.ended:
            with transaction.lock:
                if transaction.prepared:
                    transaction.ended_unseen()
                else:
                    transaction.rolled_back(Reason.ABANDONED, None if error is None else cause_of(error))
        self.settle()

    def settle(self) -> None:
        """Nothing more will be learned of an ended transaction: let its spans go."""
        transaction = self.transaction
        if transaction is None or not transaction.ended:
            return
        self.transaction = None
        self.explicit = False
        self.owned_by_session = False
        transaction.settle()
        self.holder.settled(transaction)

    def __del__(self) -> None:
        # The record was dropped without any event (NullPool, an engine thrown away).
        try:
            if self.transaction is not None and self.holder.generation == self.generation:
                self.lost()
        except Exception as error:
            report("connection.del", error)


def _leaving_with() -> BaseException | None:
    """The exception that is being handled here, or with which an async block is being left."""
    return sys.exc_info()[1] or scope.leaving_with.get()


def info_of(connection: Any) -> dict[str, Any] | None:
    """SQLAlchemy's dictionary of a pooled connection (its proxy, or an engine's Connection); else None."""
    try:
        # A driver's own connection has no dictionary there, and SQLAlchemy's stand-in for the very first
        # connect of an engine has nothing.
        info = getattr(connection, "info", None)
    except NotImplementedError:
        return None
    return info if isinstance(info, dict) else None


def cause_of(error: BaseException) -> Cause:
    """Class names of an exception and of what it was raised from; the exception is not kept.

    SQLAlchemy's wrapper names the driver's exception as its cause already (``raise ... from``).
    """
    chain: list[str] = []
    from_ai = False
    current: BaseException | None = error
    while current is not None and len(chain) < MAX_CAUSES:
        chain.append(qualified_name(type(current)))
        from_ai = from_ai or scope.came_from_ai(current)
        suppressed = current.__suppress_context__
        current = current.__cause__ or (None if suppressed else current.__context__)
    return Cause(chain[0], tuple(chain), from_ai)
