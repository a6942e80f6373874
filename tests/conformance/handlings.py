"""What makes the rows right, piece by piece, and how to take each piece away.

``where`` is the code; ``remove`` replaces it by what would be there if nobody had thought of the row. The
test beside this runs each row without each piece that it names, and expects the row's own check to fail.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from trueline.instrumentation import (
    causes,
    connection,
    dialects,
    ending,
    execution,
    listeners,
    records,
    scope,
    spans,
    transaction,
)
from trueline.instrumentation.connection import ConnectionState
from trueline.instrumentation.drivers import DriverStatus
from trueline.instrumentation.semconv import Outcome
from trueline.instrumentation.statement import Control
from trueline.instrumentation.transaction import Transaction
from trueline.instrumentation.transaction_span import TransactionSpan

Remove = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Handling:
    """A piece of code that some rows depend on."""

    name: str
    where: str
    meaning: str
    remove: Remove


HANDLINGS: Final[dict[str, Handling]] = {}


def handling(where: str) -> Callable[[Remove], Remove]:
    """Register a removal under its function's name; its docstring says what the piece is for."""

    def register(remove: Remove) -> Remove:
        name = remove.__name__
        HANDLINGS[name] = Handling(name, where, (remove.__doc__ or "").strip(), remove)
        return remove

    return register


class Never(BaseException):
    """An exception that nobody raises, in the place of one that is looked for."""


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing."""


def without(patch: pytest.MonkeyPatch, *names: str) -> None:
    """Leave methods of the dialect unwatched."""
    for name in names:
        patch.delitem(dialects._METHODS, name)


# -- how transactions end --------------------------------------------------------------------------------


@handling("dialects._watched_commit")
def commit_watched(patch: pytest.MonkeyPatch) -> None:
    """The dialect's own do_commit tells that the commit happened; SQLAlchemy's event comes before it."""
    without(patch, "do_commit")


@handling("ending.commit_failed")
def commit_failure_watched(patch: pytest.MonkeyPatch) -> None:
    """A do_commit that raises ends the transaction as `commit_failed`."""
    patch.setattr(ending, "commit_failed", _nothing)


@handling("ending.commit_failed")
def lost_commits_are_unknown(patch: pytest.MonkeyPatch) -> None:
    """A do_commit that raises because the connection is gone says nothing about the commit."""
    original = ConnectionState.commit_failed

    def commit_failed(self: ConnectionState, error: BaseException, dbapi: Any, **_: bool) -> None:
        original(self, error, dbapi, connection_lost=False)

    patch.setattr(ConnectionState, "commit_failed", commit_failed)


@handling("Transaction.commit_refused")
def refused_commit_may_stay_open(patch: pytest.MonkeyPatch) -> None:
    """SQLite refuses a COMMIT and keeps the transaction open: it can be committed later."""

    def commit_refused(self: Transaction[Any], cause: transaction.Cause) -> None:
        self.commit_failed(connection_lost=False, cause=cause)

    patch.setattr(Transaction, "commit_refused", commit_refused)


@handling("dialects._watched_rollback")
def rollback_watched(patch: pytest.MonkeyPatch) -> None:
    """The dialect's own do_rollback tells that a rollback happened, the pool's too."""
    without(patch, "do_rollback")


@handling("ConnectionState.rolled_back")
def rollbacks_that_do_nothing(patch: pytest.MonkeyPatch) -> None:
    """After a rollback the driver is asked: asyncpg and psycopg2 leave alone what SQL text began."""
    original = ConnectionState.rolled_back

    def rolled_back(self: ConnectionState, why: Any, dbapi: Any, **_: bool) -> None:
        original(self, why, dbapi, raised=True)

    patch.setattr(ConnectionState, "rolled_back", rolled_back)


@handling("ConnectionState._check_still_open")
def ends_behind_the_back(patch: pytest.MonkeyPatch) -> None:
    """Before a commit or rollback the driver is asked whether there is anything to end."""
    patch.setattr(ConnectionState, "_check_still_open", _nothing)


@handling("ConnectionState.lost")
def lost_connections(patch: pytest.MonkeyPatch) -> None:
    """The pool's invalidate and close events end the transaction: SQLAlchemy's rollback event comes later."""
    patch.setattr(ConnectionState, "lost", _nothing)


@handling("listeners._pool_detach")
def detached_connections(patch: pytest.MonkeyPatch) -> None:
    """A connection that left its pool has no record any more: its state is kept beside."""
    kept = tuple(entry for entry in listeners._LISTENERS if entry[1] != "detach")
    patch.setattr(listeners, "_LISTENERS", kept)


@handling("ConnectionState.reset")
def pool_finds_open_transactions(patch: pytest.MonkeyPatch) -> None:
    """A rollback by the pool itself, while it takes a connection back, means that nobody closed it."""
    original = ConnectionState.reset

    def reset(self: ConnectionState, **arguments: bool) -> None:
        original(self, **arguments)
        self.returning = False

    patch.setattr(ConnectionState, "reset", reset)


@handling("ConnectionState.returned")
def transactions_outlive_their_user(patch: pytest.MonkeyPatch) -> None:
    """A pool that resets nothing hands an open transaction to the next user of the connection."""
    original = ConnectionState.returned

    def returned(self: ConnectionState) -> None:
        self.lost()
        original(self)

    patch.setattr(ConnectionState, "returned", returned)


# -- why they were rolled back ---------------------------------------------------------------------------


@handling("causes.leaving_with, async_exit")
def cause_of_a_rollback(patch: pytest.MonkeyPatch) -> None:
    """The exception being handled, or with which an async block is left, is the cause."""
    patch.setattr(causes, "leaving_with", lambda: None)
    patch.setattr(connection, "leaving_with", lambda: None)


@handling("causes.why_left")
def cancellation_is_abandonment(patch: pytest.MonkeyPatch) -> None:
    """CancelledError is no error of the application's: the work was abandoned."""
    patch.setattr(causes, "asyncio", types.SimpleNamespace(CancelledError=Never))


@handling("ConnectionState.lost, causes.why_left")
def lost_or_cancelled(patch: pytest.MonkeyPatch) -> None:
    """A task cancelled in the middle of a statement loses its connection as well: either tells."""
    lost_connections(patch)
    cancellation_is_abandonment(patch)


@handling("causes.why_left, ConnectionState.session_rolled_back")
def generator_exit_is_no_error(patch: pytest.MonkeyPatch) -> None:
    """GeneratorExit leaves a block without anything having gone wrong, and nobody said rollback."""
    patch.setattr(causes, "GeneratorExit", Never, raising=False)


@handling("ConnectionState.reset")
def closing_is_not_committing(patch: pytest.MonkeyPatch) -> None:
    """Connection.close() rolls back first and tells the pool so afterwards: nobody had asked for it."""
    original = ConnectionState.reset

    def reset(self: ConnectionState, **arguments: bool) -> None:
        original(self, **{**arguments, "transaction_was_reset": False})

    patch.setattr(ConnectionState, "reset", reset)


@handling("listeners._ownership")
def sessions_own_transactions(patch: pytest.MonkeyPatch) -> None:
    """A session that ends a transaction without announcing a rollback was closed."""
    patch.setattr(listeners, "_ownership", lambda *_: (False, False))


@handling("ConnectionState.session_rolled_back")
def session_rollback_is_explicit(patch: pytest.MonkeyPatch) -> None:
    """The session's after_rollback event tells rollback() from close()."""
    patch.setattr(ConnectionState, "session_rolled_back", _nothing)


@handling("scope.came_from_ai")
def ai_failures_are_remembered(patch: pytest.MonkeyPatch) -> None:
    """An exception that left an AI call is recognised among the causes."""
    patch.setattr(scope, "came_from_ai", lambda _error: False)


# -- errors inside ---------------------------------------------------------------------------------------


@handling("ConnectionState._aborts, before_commit")
def aborted_transactions(patch: pytest.MonkeyPatch) -> None:
    """PostgreSQL aborts a transaction at an error; the driver's status tells too, except asyncpg's."""
    patch.setattr(connection, "error_aborts", lambda *_: False)
    patch.setattr(ConnectionState, "before_commit", lambda *_: False)


@handling("drivers.error_aborts")
def driver_errors_do_not_abort(patch: pytest.MonkeyPatch) -> None:
    """What the driver itself refuses never reaches the server, and aborts nothing."""
    patch.setattr(connection, "error_aborts", lambda *_: True)


@handling("ConnectionState.fetch_failed")
def errors_while_fetching(patch: pytest.MonkeyPatch) -> None:
    """An error while rows are fetched aborts as well; asyncpg's status does not tell."""
    patch.setattr(ConnectionState, "fetch_failed", _nothing)


@handling("ConnectionState.statement_failed, by the driver's status")
def errors_that_end_transactions(patch: pytest.MonkeyPatch) -> None:
    """After an error the driver is asked whether the transaction is still there."""
    patch.setattr(ConnectionState, "_status", lambda *_: DriverStatus.UNKNOWN)


@handling("Transaction.outcome_of")
def failed_statements_have_failed(patch: pytest.MonkeyPatch) -> None:
    """A statement that raised is not committed with the rest, and waits for nothing."""

    def outcome_of(self: Transaction[Any], statement: Any) -> tuple[Outcome, Any]:
        return (Outcome.OPEN, None) if statement.left else (self.outcome, self.reason)

    patch.setattr(Transaction, "outcome_of", outcome_of)


@handling("StatementRecord.many, drivers.batch_may_halt")
def halted_batches(patch: pytest.MonkeyPatch) -> None:
    """Of several parameter sets, those before the failing one may have been kept."""
    patch.setattr(records.StatementRecord, "many", False)


@handling("execution.changes_before")
def batches_that_kept_nothing(patch: pytest.MonkeyPatch) -> None:
    """SQLite counts what it changed: a batch that changed nothing is undone as a whole."""
    patch.setattr(execution, "changes_before", _nothing)


# -- savepoints and text ---------------------------------------------------------------------------------


@handling("Transaction.rollback_to_savepoint")
def savepoints_undo(patch: pytest.MonkeyPatch) -> None:
    """ROLLBACK TO undoes what ran since the savepoint."""
    patch.setattr(Transaction, "rollback_to_savepoint", _nothing)


@handling("Transaction.rollback_to_savepoint")
def savepoints_heal(patch: pytest.MonkeyPatch) -> None:
    """ROLLBACK TO makes an aborted transaction usable again."""
    original = Transaction.rollback_to_savepoint

    def rollback_to_savepoint(self: Transaction[Any], name: str) -> None:
        aborted = self.aborted
        original(self, name)
        self.aborted = aborted

    patch.setattr(Transaction, "rollback_to_savepoint", rollback_to_savepoint)


@handling("ConnectionState.statement_ran, by the driver's status")
def released_savepoints_may_commit(patch: pytest.MonkeyPatch) -> None:
    """RELEASE of a savepoint that began the transaction (sqlite3) commits it."""
    patch.setattr(ConnectionState, "_status", lambda *_: DriverStatus.UNKNOWN)


@handling("Transaction.leave")
def undone_statements_are_named(patch: pytest.MonkeyPatch) -> None:
    """What left as `open` while a savepoint could undo it is remembered."""
    original = Transaction.leave

    def leave(self: Transaction[Any], statements: list[Any]) -> None:
        original(self, statements)
        self.left.clear()

    patch.setattr(Transaction, "leave", leave)


@handling("ConnectionState._control")
def textual_transactions(patch: pytest.MonkeyPatch) -> None:
    """BEGIN, COMMIT and ROLLBACK are read in the text of statements."""
    original = ConnectionState._control

    def control(self: ConnectionState, current: Any, what: Control, name: str) -> None:
        if what not in (Control.BEGIN, Control.COMMIT, Control.ROLLBACK):
            original(self, current, what, name)

    patch.setattr(ConnectionState, "_control", control)


@handling("ConnectionState._commit_refused")
def textual_commit_failures(patch: pytest.MonkeyPatch) -> None:
    """A COMMIT as text that raises is a commit that failed."""
    patch.setattr(ConnectionState, "_commit_refused", _nothing)


# -- autocommit, two phases, and what is said besides ----------------------------------------------------


@handling("ConnectionState._autocommitted")
def autocommit_is_seen(patch: pytest.MonkeyPatch) -> None:
    """The driver's status after a statement tells whether it committed by itself."""
    patch.setattr(ConnectionState, "_autocommitted", lambda *_: False)


@handling("ConnectionState.statement_failed, _autocommitted, _was_to_commit_itself")
def autocommit_of_failures(patch: pytest.MonkeyPatch) -> None:
    """The same after a statement that failed."""
    original = ConnectionState._autocommitted

    def autocommitted(self: ConnectionState, around: Any, record: Any, connection: Any) -> bool:
        return not record.failed and original(self, around, record, connection)

    patch.setattr(ConnectionState, "_autocommitted", autocommitted)
    patch.setattr(ConnectionState, "_was_to_commit_itself", lambda *_: False)


@handling("ConnectionState._was_to_commit_itself")
def commits_of_single_statements_can_be_lost(patch: pytest.MonkeyPatch) -> None:
    """A statement that commits itself is as unknown as a COMMIT when its connection is lost."""
    patch.setattr(ConnectionState, "_was_to_commit_itself", lambda *_: False)


@handling("dialects._watched_prepare, _watched_commit_twophase, _watched_rollback_twophase")
def two_phase_is_watched(patch: pytest.MonkeyPatch) -> None:
    """PREPARE, COMMIT PREPARED and ROLLBACK PREPARED have methods of their own in the dialect."""
    without(patch, "do_prepare_twophase", "do_commit_twophase", "do_rollback_twophase")


@handling("dialects._deciding")
def two_phase_decides_once(patch: pytest.MonkeyPatch) -> None:
    """Dialects roll the connection back after COMMIT PREPARED, which decides nothing."""
    patch.setattr(dialects, "_deciding", lambda original: original)


@handling("SpanBuilder.emit")
def readers_have_no_transaction_span(patch: pytest.MonkeyPatch) -> None:
    """A transaction that only read has no span of its own inside a trace."""
    original = spans.SpanBuilder.emit

    def emit(self: spans.SpanBuilder, current: Any, statements: list[Any], settled: bool) -> None:
        original(self, current, statements, settled)
        if settled and current.place is not None and not current.tally.writes:
            ending = self._ending(current, current.outcome, current.reason)
            self._pass_on(TransactionSpan(current, ending, current.place))

    patch.setattr(spans.SpanBuilder, "emit", emit)


@handling("ConnectionState.given_back")
def sessions_leave_connections(patch: pytest.MonkeyPatch) -> None:
    """A connection that goes back to the pool is no session's any more."""
    original = ConnectionState.given_back

    def given_back(self: ConnectionState, dbapi: Any) -> None:
        number = self.orm_session_id
        original(self, dbapi)
        self.orm_session_id = number

    patch.setattr(ConnectionState, "given_back", given_back)


@handling("isolation.level_of")
def isolation_level_is_looked_up(patch: pytest.MonkeyPatch) -> None:
    """Execution options, the engine's argument and the server's default are looked up, not asked for."""
    patch.setattr(connection, "level_of", lambda _connection: "")


@handling("isolation.level_in")
def isolation_level_in_text(patch: pytest.MonkeyPatch) -> None:
    """SET TRANSACTION ISOLATION LEVEL is read in the text."""
    patch.setattr(connection, "level_in", lambda _plan: ("", False))


@handling("ConnectionState.given_back")
def unseen_work_is_counted(patch: pytest.MonkeyPatch) -> None:
    """Checkouts without a statement, and transactions without one, are counted."""

    def given_back(self: ConnectionState, _dbapi: Any) -> None:
        self.returning = True

    patch.setattr(ConnectionState, "given_back", given_back)
