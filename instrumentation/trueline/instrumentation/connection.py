"""The state of one pooled connection: its database, its transaction, and how that transaction ends.

It lives in the connection record's ``info`` dictionary, which SQLAlchemy empties when the record connects
anew. The listeners translate SQLAlchemy's events into calls of this class; it drives the pure
:class:`Transaction` and hands what is ready to the holder.
"""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trueline.instrumentation import ambient, scope
from trueline.instrumentation.autocommit import alone
from trueline.instrumentation.causes import (
    Why,
    cause_of,
    leaving_with,
    session_rollback_is_running,
    why_left,
)
from trueline.instrumentation.database import DatabaseFacts
from trueline.instrumentation.database_errors import error_facts
from trueline.instrumentation.drivers import (
    DriverStatus,
    batch_may_halt,
    commits_each_statement,
    error_aborts,
    statement_autocommitted,
    transaction_status,
)
from trueline.instrumentation.guard import report
from trueline.instrumentation.isolation import level_in, level_of
from trueline.instrumentation.semconv import Reason
from trueline.instrumentation.statement import Control
from trueline.instrumentation.transaction import Transaction
from trueline.instrumentation.wire import Part

if TYPE_CHECKING:
    from trueline.instrumentation.holder import Holder
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.statement import Plan

INFO_KEY = "trueline"
_OPEN = (DriverStatus.IN_TRANSACTION, DriverStatus.IN_ERROR)


class ConnectionState:
    """One database connection as seen by Trueline."""

    __slots__ = (
        "__weakref__",
        "asked",
        "attributes",
        "deciding",
        "driver",
        "explicit",
        "facts",
        "generation",
        "holder",
        "lent_to_session",
        "level",
        "level_is_known",
        "level_options",
        "orm_session_id",
        "owned_by_session",
        "returning",
        "session",
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
        #: The server was asked who it is, or cannot be.
        self.asked = False
        self.url_known = False
        #: Attributes of every statement span on this connection.
        self.attributes = Part(facts.attributes())
        self.transaction: Transaction[StatementRecord] | None = None
        #: The application said BEGIN itself, on a connection that otherwise commits each statement.
        self.explicit = False
        #: The pool is taking the connection back.
        self.returning = False
        #: The dialect ends a two-phase transaction; what it runs and rolls back for that decides nothing.
        self.deciding = False
        #: A statement of SQLAlchemy's ran since the connection was taken from the pool.
        self.used = False
        #: SQL text has not changed the isolation level of the whole session.
        self.level_is_known = True
        #: The isolation level of transactions under these execution options.
        self.level = ""
        self.level_options: Any = None
        self.orm_session_id = ""
        #: The ORM session that uses the connection, weakly.
        self.session: weakref.ref[Any] | None = None
        self.owned_by_session = False
        #: The session was given this connection, which goes on without it.
        self.lent_to_session = False

    # -- statements ----------------------------------------------------------------------------------

    def _transaction_for_statement(self, connection: Any) -> Transaction[StatementRecord]:
        """The transaction that a statement belongs to, begun if need be."""
        if self.returning:
            self.returned()
        self.used = True
        transaction = self.transaction
        if transaction is not None and transaction.ended:
            self.settle()
            transaction = None
        if transaction is None:
            transaction = self.transaction = Transaction(ambient.new_transaction_id())
            if self.level_is_known:
                options = connection.get_execution_options()
                if options is not self.level_options or not self.level:
                    # A connection gets another level by options of its own; at an engine's first connect the
                    # server's is not known yet.
                    self.level = level_of(connection)
                    self.level_options = options
                transaction.isolation_level = self.level
            scope.transaction_opened(transaction)
        if self.orm_session_id:
            transaction.orm_session_id = transaction.orm_session_id or self.orm_session_id
        return transaction

    def statement_ran(self, record: StatementRecord, connection: Any) -> None:
        """A statement succeeded on SQLAlchemy's ``connection``."""
        transaction = self._transaction_for_statement(connection)
        control = None if self.deciding else record.plan.control
        if control is None:
            if not (transaction.confirmed or self.explicit or self.deciding) and self._autocommitted(
                transaction, record, connection
            ):
                self._autocommit(transaction, record)
                return
            with transaction.lock:
                if not record.reads and not record.writes:
                    self._note_isolation_level(transaction, record.plan)
                transaction.add(record)
                self.holder.hold(transaction)
            return
        with transaction.lock:
            # Neither SAVEPOINT nor the ROLLBACK TO that answers it is undone by the latter.
            if control is Control.BEGIN:
                self._note_isolation_level(transaction, record.plan)
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

    def _note_isolation_level(self, transaction: Transaction[StatementRecord], plan: Plan) -> None:
        level, whole_session = level_in(plan)
        if whole_session:
            self.level_is_known = False
        elif level:
            transaction.isolation_level = level

    def statement_failed(
        self, record: StatementRecord, connection: Any, error: BaseException, *, disconnected: bool
    ) -> None:
        """A statement raised ``error``."""
        transaction = self._transaction_for_statement(connection)
        if (
            not disconnected
            and not (transaction.confirmed or self.explicit)
            and record.plan.control is None
            and not transaction.changes_something
            and self._autocommitted(transaction, record, connection)
        ):
            self._autocommit(transaction, record)
            return
        if self._was_to_commit_itself(transaction, record, connection):
            self._autocommit(transaction, record, connection_lost=disconnected)
            return
        raw = _raw(connection)
        aborts = not disconnected and self._aborts(raw, error)
        with transaction.lock:
            transaction.add(record)
            transaction.statement_failed(aborts=aborts)
            self.holder.hold(transaction)
        if disconnected:
            return
        if record.plan.control is Control.COMMIT:
            self._commit_refused(transaction, raw, error)
        elif transaction.wrote and self._status(raw) is DriverStatus.IDLE:
            # INSERT OR ROLLBACK, a full disk, a deadlock: the error ended the whole transaction.
            with transaction.lock:
                transaction.rolled_back(Reason.EXCEPTION, cause_of(error))
            self.settle()

    def fetch_failed(self, error: BaseException, dbapi_connection: Any) -> None:
        """Reading rows of an earlier statement raised: the server then aborts the transaction too."""
        transaction = self.transaction
        if transaction is not None and not transaction.ended and self._aborts(dbapi_connection, error):
            with transaction.lock:
                transaction.statement_failed(aborts=True)

    def _aborts(self, dbapi_connection: Any, error: BaseException) -> bool:
        if self.system != "postgresql":
            return False
        try:
            return error_aborts(self.driver, dbapi_connection, error)
        except Exception as problem:  # a driver's attributes are foreign code
            report("connection.aborts", problem)
            return True

    def _commit_refused(
        self, transaction: Transaction[StatementRecord], dbapi_connection: Any, error: BaseException
    ) -> None:
        """COMMIT raised on a healthy connection: over on most servers, as open as before on SQLite."""
        facts = error_facts(error)
        cause = replace(cause_of(error), violation=facts if facts.constraint_kind else None)
        with transaction.lock:
            if self._status(dbapi_connection) is DriverStatus.IN_TRANSACTION:
                transaction.commit_refused(cause)
                return
            transaction.commit_failed(connection_lost=False, cause=cause)
        self.settle()

    def _autocommitted(
        self, transaction: Transaction[StatementRecord], record: StatementRecord, connection: Any
    ) -> bool:
        """Whether the statement was committed by itself; otherwise the transaction may be confirmed."""
        if transaction.wrote:
            # Once a transaction has written, only its end can end it.
            return False
        by_itself = statement_autocommitted(self.driver, _raw(connection), writes=record.writes)
        # Known once, this is true until the transaction ends.
        transaction.confirmed = by_itself is False
        return bool(by_itself)

    def _was_to_commit_itself(
        self, transaction: Transaction[StatementRecord], record: StatementRecord, connection: Any
    ) -> bool:
        """By the connection's setting: lost, and after some errors, it does not tell its status."""
        if self.explicit or transaction.changes_something or not record.writes or record.plan.control:
            return False
        try:
            return commits_each_statement(self.driver, _raw(connection))
        except Exception as error:  # a driver's attributes are foreign code
            report("connection.setting", error)
            return False

    def _autocommit(
        self,
        around: Transaction[StatementRecord],
        record: StatementRecord,
        *,
        connection_lost: bool = False,
    ) -> None:
        """A transaction of one statement; ``around``: the one that was begun and stays empty.

        ``connection_lost``: nobody knows whether the server had carried it out before.
        """
        self.holder.settled(
            alone(
                record,
                isolation_level=around.isolation_level,
                orm_session_id=self.orm_session_id,
                connection_lost=connection_lost,
                may_halt=record.many and batch_may_halt(self.driver),
            )
        )

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
                # Nobody closes anything: the application said so.
                said = Reason.EXPLICIT if reason is Reason.NOT_COMMITTED else reason
                transaction.rolled_back(said, cause)

    # -- how the transaction ends --------------------------------------------------------------------

    def before_commit(self, dbapi_connection: Any) -> bool:
        """Whether the server will answer the commit that follows with a rollback."""
        status = self._status(dbapi_connection)
        self._check_still_open(status)
        return status is DriverStatus.IN_ERROR

    def before_rollback(self, dbapi_connection: Any) -> Why | None:
        """Why the rollback that follows happens; None if there is nothing that it could end."""
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

    def rolled_back(self, why: Why | None, dbapi_connection: Any, *, raised: bool = False) -> None:
        """The driver's rollback returned, or raised: the server rolls back then all the same."""
        transaction = self.transaction
        if transaction is None or transaction.ended or why is None:
            return
        if raised and transaction.prepared:
            with transaction.lock:
                transaction.ended_unseen()
            self.settle()
        elif raised or self._status(dbapi_connection) not in _OPEN:
            with transaction.lock:
                transaction.rolled_back(*why)
            if raised and session_rollback_is_running():
                # The session's own event, which says so otherwise, does not come then.
                self.session_rolled_back()
            if self.returning:
                # The pool's own rollback: nothing more will be learned.
                self.settle()
        # Otherwise the driver did nothing: asyncpg and psycopg2 leave alone what SQL text began.

    def _why_rolled_back(self) -> Why:
        if self.returning:
            # Nobody closed the connection: the pool found it, after its holder was collected.
            return Reason.ABANDONED, None
        return why_left() or ((Reason.NOT_COMMITTED if self.owned_by_session else Reason.EXPLICIT), None)

    def session_rolled_back(self) -> None:
        """The ORM session that owns the transaction was rolled back by a call, not by being closed."""
        transaction = self.transaction
        if transaction is None or not self.owned_by_session:
            return
        if not isinstance(leaving_with(), GeneratorExit):
            with transaction.lock:
                transaction.correct(Reason.EXPLICIT)

    def given_back(self, dbapi_connection: Any) -> None:
        """The pool takes the connection back. Count what was done on it past SQLAlchemy."""
        self.returning = True
        self.orm_session_id = ""
        self.session = None
        if not self.asked:
            # It was in a transaction at its first statement. At the next one there is time to ask.
            self.url_known = False
        if self.used:
            self.used = False
            return
        self.holder.unseen["checkouts"] += 1
        if self._status(dbapi_connection) in _OPEN:
            self.holder.unseen["transactions"] += 1

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

    def entered_by_session(self, number: str, session: Any, *, owned: bool, lent: bool) -> None:
        """An ORM session begins to use the connection.

        ``owned``: it also ends what it begins. ``lent``: the connection is somebody else's.
        """
        if self.returning:
            self.returned()
        # A new transaction begins: nothing more will be learned of an ended one.
        self.settle()
        self.orm_session_id = number
        self.session = weakref.ref(session)
        self.owned_by_session = owned
        self.lent_to_session = lent

    def returned(self) -> None:
        """The connection was back in the pool."""
        self.returning = False
        self.settle()
        if self.transaction is not None and self.transaction.is_empty:
            # Everything committed by itself; the next user may have another isolation level.
            self.transaction = None
        self.orm_session_id = ""
        self.session = None
        self.owned_by_session = self.lent_to_session = False

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
        if self.lent_to_session:
            # Its holder may go on with it. On a connection of its own the session goes on itself, after a
            # COMMIT as text for one.
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
