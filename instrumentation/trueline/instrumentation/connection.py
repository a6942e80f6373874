"""The state of one pooled connection: its database, its transaction, and how that transaction ends.

It lives in the connection record's ``info`` dictionary, which SQLAlchemy empties when the record connects
anew. The listeners translate SQLAlchemy's events into calls of this class; it drives the pure
:class:`Transaction` and hands what is ready to the holder.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from trueline.instrumentation import ambient, scope
from trueline.instrumentation.block import qualified_name
from trueline.instrumentation.database import DatabaseFacts
from trueline.instrumentation.database_errors import error_facts
from trueline.instrumentation.drivers import (
    DriverStatus,
    commits_each_statement,
    sends_rows_one_by_one,
    statement_autocommitted,
    tells_aborted,
    transaction_status,
)
from trueline.instrumentation.guard import report
from trueline.instrumentation.semconv import Reason
from trueline.instrumentation.statement import Control
from trueline.instrumentation.transaction import Cause, Transaction
from trueline.instrumentation.wire import Part

if TYPE_CHECKING:
    from trueline.instrumentation.holder import Holder
    from trueline.instrumentation.records import StatementRecord

INFO_KEY = "trueline"
MAX_CAUSES = 8

# These end a block without anything having gone wrong in it.
_NOT_ERRORS = (GeneratorExit, StopIteration, StopAsyncIteration)


class ConnectionState:
    """One database connection as seen by Trueline."""

    __slots__ = (
        "__weakref__",
        "attributes",
        "borrowed_by_session",
        "driver",
        "explicit",
        "facts",
        "generation",
        "holder",
        "orm_session_id",
        "owned_by_session",
        "returning",
        "system",
        "tells_aborted",
        "transaction",
        "url_known",
    )

    def __init__(self, holder: Holder, driver: str, system: str, facts: DatabaseFacts) -> None:
        self.holder = holder
        #: A fork makes the child's copy of this state worthless: the connection is the parent's.
        self.generation = holder.generation
        self.driver = driver
        self.tells_aborted = tells_aborted(driver)
        self.system = system
        self.facts = facts
        self.url_known = False
        #: Attributes of every statement span on this connection.
        self.attributes = Part(facts.attributes())
        self.transaction: Transaction[StatementRecord] | None = None
        #: The application said BEGIN itself, on a connection that otherwise commits each statement.
        self.explicit = False
        #: The pool is taking the connection back.
        self.returning = False
        self.orm_session_id = ""
        #: Closing the ORM session rolls this connection's transaction back.
        self.owned_by_session = False
        #: The session was given this connection, which goes on without it.
        self.borrowed_by_session = False

    # -- statements ----------------------------------------------------------------------------------

    def _transaction_for_statement(self) -> Transaction[StatementRecord]:
        """The transaction that a statement belongs to, begun if need be."""
        if self.returning:
            self.returned()
        transaction = self.transaction
        if transaction is not None and transaction.ended:
            self.settle()
            transaction = None
        if transaction is None:
            transaction = self.transaction = Transaction(ambient.new_transaction_id())
            scope.transaction_opened(transaction)
        return transaction

    def statement_ran(self, record: StatementRecord, connection: Any) -> None:
        """A statement succeeded on SQLAlchemy's ``connection``."""
        transaction = self._transaction_for_statement()
        control = record.plan.control
        if control is None:
            if not (transaction.confirmed or self.explicit) and self._autocommitted(
                transaction, record, connection
            ):
                self._autocommit(record)
                return
            with transaction.lock:
                transaction.add(record)
                self.holder.hold(transaction)
            return
        with transaction.lock:
            # Neither SAVEPOINT nor the ROLLBACK TO that answers it is undone by the latter.
            if control is not Control.SAVEPOINT:
                self._control(transaction, control, record.plan.control_name)
            transaction.add(record)
            if control is Control.SAVEPOINT:
                self._control(transaction, control, record.plan.control_name)
            elif control is Control.RELEASE_SAVEPOINT and self._status(_raw(connection)) is DriverStatus.IDLE:
                # sqlite3 opens no transaction for SAVEPOINT: releasing the outermost one commits.
                transaction.committed()
            self.holder.hold(transaction)
        if transaction.ended:
            self.settle()

    def statement_failed(self, record: StatementRecord, connection: Any, *, disconnected: bool) -> None:
        """A statement raised."""
        transaction = self._transaction_for_statement()
        record.in_parts = record.batch > 1 and sends_rows_one_by_one(self.driver)
        if (
            not disconnected
            and not (transaction.confirmed or self.explicit)
            and record.plan.control is None
            and not transaction.changes_something
            and self._autocommitted(transaction, record, connection)
        ):
            self._autocommit(record, unknown=record.in_parts)
            return
        if self._was_to_commit_itself(transaction, record, connection):
            # Of a lost connection nobody knows whether the server carried the statement out before.
            self._autocommit(record, unknown=disconnected or record.in_parts)
            return
        undone = not disconnected and self._undone_by_error(transaction, connection)
        server_said_so = record.error is not None and bool(record.error.status_code)
        with transaction.lock:
            transaction.add(record)
            transaction.statement_failed(aborts=self.system == "postgresql" and server_said_so)
            if undone and record.error is not None:
                transaction.rolled_back(Reason.EXCEPTION, Cause(record.error.error_type))
            self.holder.hold(transaction)
        if undone:
            self.settle()

    def fetch_failed(self, error: BaseException) -> None:
        """Reading rows of an earlier statement raised: the server then aborts the transaction too."""
        transaction = self.transaction
        if transaction is not None and not transaction.ended and self.system == "postgresql":
            with transaction.lock:
                transaction.statement_failed(aborts=bool(error_facts(error).status_code))

    def _autocommitted(
        self, transaction: Transaction[StatementRecord], record: StatementRecord, connection: Any
    ) -> bool:
        """Whether the statement was committed by itself; otherwise the transaction may be confirmed."""
        by_itself = statement_autocommitted(self.driver, _raw(connection), writes=record.writes)
        # Known once, this is true until the transaction ends.
        transaction.confirmed = by_itself is False
        return bool(by_itself)

    def _undone_by_error(self, transaction: Transaction[StatementRecord], connection: Any) -> bool:
        """Whether an error just rolled everything back: ON CONFLICT ROLLBACK, a full disk and the like."""
        if self.system != "sqlite" or not (self.explicit or transaction.changes_something):
            return False
        return self._status(_raw(connection)) is DriverStatus.IDLE

    def _was_to_commit_itself(
        self, transaction: Transaction[StatementRecord], record: StatementRecord, connection: Any
    ) -> bool:
        """By the connection's setting: a driver does not tell its status in all states after an error."""
        if self.explicit or record.plan.control is not None or not record.writes:
            return False
        if transaction.changes_something:
            return False
        try:
            return commits_each_statement(self.driver, _raw(connection))
        except Exception as error:
            report("connection.autocommit", error)
            return False

    def _autocommit(self, record: StatementRecord, *, unknown: bool = False) -> None:
        transaction: Transaction[StatementRecord] = Transaction(ambient.new_transaction_id(), autocommit=True)
        transaction.add(record)
        if record.error is not None and unknown:
            transaction.statement_failed(aborts=False)
            transaction.commit_failed(connection_lost=True, cause=Cause(record.error.error_type))
        elif record.error is not None:
            transaction.statement_failed(aborts=False)
            transaction.rolled_back(Reason.EXCEPTION, Cause(record.error.error_type))
            transaction.settle()
        else:
            transaction.committed()
        self.holder.settled(transaction)

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
                # Nobody closes anything: the application said so.
                reason, cause = self._why_rolled_back(otherwise=Reason.EXPLICIT)
                transaction.rolled_back(reason, cause)

    # -- how the transaction ends --------------------------------------------------------------------

    def before_commit(self, dbapi_connection: Any) -> bool:
        """Whether the server will answer the commit that follows with a rollback."""
        return self._status(dbapi_connection) is DriverStatus.IN_ERROR

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
        if transaction is not None and not transaction.ended:
            if not connection_lost and self._status(dbapi_connection) is DriverStatus.IN_TRANSACTION:
                # SQLite lets the transaction go on. SQLAlchemy then expects rollback() and does not roll back
                # when the connection is only closed: whoever gets it from the pool next can still commit.
                with transaction.lock:
                    transaction.commit_was_refused(cause_of(error))
                return
            with transaction.lock:
                transaction.commit_failed(connection_lost=connection_lost, cause=cause_of(error))
        self.settle()

    def rolled_back(self) -> None:
        """The driver's rollback is called; should it raise, the server rolls back all the same."""
        transaction = self.transaction
        if transaction is None or transaction.ended:
            return
        reason, cause = self._why_rolled_back()
        with transaction.lock:
            transaction.rolled_back(reason, cause)
        if self.returning:
            # The pool's own rollback: nothing more will be learned.
            self.settle()

    def _why_rolled_back(self, otherwise: Reason | None = None) -> tuple[Reason, Cause | None]:
        if self.returning:
            # Nobody closed the connection: the pool found it, after its holder was collected.
            return Reason.ABANDONED, None
        error = sys.exc_info()[1] or scope.leaving_with()
        if error is not None and not isinstance(error, _NOT_ERRORS):
            abandoned = isinstance(error, asyncio.CancelledError)
            return (Reason.ABANDONED if abandoned else Reason.EXCEPTION), cause_of(error)
        return otherwise or (Reason.NOT_COMMITTED if self.owned_by_session else Reason.EXPLICIT), None

    def session_rolled_back(self) -> None:
        """The ORM session that owns the transaction was rolled back by a call, not by being closed."""
        transaction = self.transaction
        if transaction is not None and self.owned_by_session:
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

    def entered_by_session(self, number: str, *, owned: bool, borrowed: bool) -> None:
        """An ORM session begins to use the connection.

        ``owned``: closing it rolls back; ``borrowed``: the connection was given to it and goes on without it.
        """
        if self.returning:
            self.returned()
        # What the connection did before is over, and was somebody else's.
        self.settle()
        self.orm_session_id = number
        self.owned_by_session = owned
        self.borrowed_by_session = borrowed

    def returned(self) -> None:
        """The connection was back in the pool."""
        self.returning = False
        self.settle()
        self.orm_session_id = ""
        self.owned_by_session = self.borrowed_by_session = False

    def rollback_failed(self, *, called: bool) -> None:
        """The driver's rollback raised; ``called``: it was the ORM session's rollback() that wanted it.

        The session's own event, which says so otherwise, does not come then.
        """
        if called:
            self.session_rolled_back()

    def lost(self, error: BaseException | None = None) -> None:
        """The connection is gone, and the transaction with it."""
        transaction = self.transaction
        if transaction is not None and not transaction.ended:
            with transaction.lock:
                transaction.rolled_back(Reason.ABANDONED, None if error is None else cause_of(error))
        self.settle()

    def settle(self) -> None:
        """Nothing more will be learned of an ended transaction: let its spans go."""
        transaction = self.transaction
        if transaction is None or not transaction.ended:
            return
        self.transaction = None
        self.explicit = False
        if self.borrowed_by_session:
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


def _raw(connection: Any) -> Any:
    """The driver's connection behind SQLAlchemy's."""
    return connection.connection.dbapi_connection


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
