"""The life of one database transaction as a pure state machine.

It is told what happened (a statement ran, a savepoint was rolled back, the driver's commit returned or
raised, the connection was lost) and says which outcome each statement has and why. It knows neither
SQLAlchemy nor OpenTelemetry.

    ACTIVE --commit ok--------------> committed
           --commit of an aborted---> rolled_back / commit_of_aborted
           --commit raised----------> rolled_back / commit_failed, or unknown if the connection was lost
           --commit refused---------> still ACTIVE (SQLite); a rollback is then commit_failed
           --rollback---------------> rolled_back / exception, explicit, not_committed, abandoned
           --connection lost, GC----> rolled_back / abandoned, or unknown once prepared (two-phase)
           --ended past SQLAlchemy--> unknown

Why a rollback happened is known a moment later than that it happened: SQLAlchemy closes a connection by
rolling back first and saying so afterwards. A transaction is therefore *ended* (nothing can change its
outcome) before it is *settled* (its reason is final).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from trueline.instrumentation import ambient
from trueline.instrumentation.semconv import LEGAL_REASONS, Outcome, Reason

if TYPE_CHECKING:
    from trueline.instrumentation.database_errors import ErrorFacts


class Statement(Protocol):
    """What the machine needs to know of a statement."""

    writes: bool
    reads: bool
    #: Rows written or returned, where the driver tells.
    rows: int | None
    #: All tables, the written one first.
    tables: tuple[str, ...]
    #: It raised: whatever becomes of its transaction, it changed nothing.
    failed: bool
    started_at: int
    #: Set by the machine: its place in the transaction, from 1.
    position: int
    #: Set by the machine: undone by ROLLBACK TO SAVEPOINT.
    undone: bool
    #: Set by the machine: it left before the outcome was known, and says `open` whatever happens later.
    left: bool

    @property
    def many(self) -> bool:
        """It had several parameter sets: before it failed it may have written some of them."""

    @property
    def span_id(self) -> str:
        """16 hex digits."""


S = TypeVar("S", bound=Statement)


@dataclass(frozen=True, slots=True)
class Cause:
    """The exception that caused a rollback: class names only, cause by cause."""

    error_type: str = ""
    chain: tuple[str, ...] = ()
    from_ai: bool = False
    #: The constraint that the commit violated (a deferred one), if it did.
    violation: ErrorFacts | None = None


#: Nothing caused it, or nobody knows what.
NO_CAUSE = Cause()


@dataclass(slots=True)
class Tally:
    """Counts for the transaction span."""

    reads: int = 0
    writes: int = 0
    rows: int = 0
    failures: int = 0
    ai_calls: int = 0
    ai_errors: int = 0
    #: Time with at least one call of a model under way.
    ai_wait_ns: int = 0
    ai_problems: tuple[str, ...] = ()
    #: Calls under way, and since when there has been one.
    ai_under_way: int = 0
    ai_since: int = 0
    left_open: int = 0
    #: Written ones, in the order of the first write to each.
    tables: tuple[str, ...] = ()

    def ai_started(self, at: int) -> None:
        """A call of a model began at ``at``, ns."""
        self.ai_calls += 1
        self.ai_under_way += 1
        if self.ai_under_way == 1:
            self.ai_since = at

    def ai_ended(self, at: int, problem: str | None, *, failed: bool) -> None:
        """One ended at ``at``, ns."""
        self.ai_under_way -= 1
        if self.ai_under_way == 0:
            self.ai_wait_ns += max(0, at - self.ai_since)
        self.ai_errors += failed
        if problem is not None and problem not in self.ai_problems:
            self.ai_problems += (str(problem),)

    def ai_waited_ns(self, until: int) -> int:
        """Time that the transaction, which ended at ``until``, waited for models."""
        return self.ai_wait_ns + (max(0, until - self.ai_since) if self.ai_under_way else 0)


# Rolling back a savepoint names the statements that had left as `open`; beyond this many only their
# number is known.
MAX_UNDONE_LISTED = 256
# What a savepoint can still undo after it left; of more, the newest are remembered.
MAX_LEFT = 4096


class Transaction(Generic[S]):
    """One transaction on one connection. Callers hold :attr:`lock` around every method."""

    __slots__ = (
        "__weakref__",
        "_positions",
        "_savepoints",
        "aborted",
        "autocommit",
        "cause",
        "confirmed",
        "dispatched",
        "ended",
        "ended_at",
        "held",
        "id",
        "isolation_level",
        "keep",
        "left",
        "lock",
        "orm_session_id",
        "outcome",
        "place",
        "prepared",
        "reason",
        "refused",
        "settled",
        "started_at",
        "tally",
        "undone_ids",
        "wrote",
    )

    def __init__(self, transaction_id: str, *, autocommit: bool = False) -> None:
        self.id = transaction_id
        self.autocommit = autocommit
        #: As SQL names it; "" where it is not known without a query.
        self.isolation_level = ""
        #: The ORM session that worked in it; "" where none did.
        self.orm_session_id = ""
        self.outcome = Outcome.OPEN
        self.reason: Reason | None = None
        self.cause = NO_CAUSE
        #: The server refuses everything until a rollback (PostgreSQL after an error).
        self.aborted = False
        #: The driver said that it is in a transaction: no statement commits by itself before the end.
        self.confirmed = False
        #: A write succeeded in it.
        self.wrote = False
        #: What the server refused a COMMIT for, while it kept the transaction open.
        self.refused: Cause | None = None
        #: PREPARE TRANSACTION succeeded: it outlives its connection, until somebody decides.
        self.prepared = False
        self.ended = False
        self.settled = False
        #: The holder has queued the settled transaction; set once.
        self.dispatched = False
        #: ns since the epoch; set with the first statement and at the end.
        self.started_at = 0
        self.ended_at = 0
        #: What whoever builds spans keeps for the transaction span: its place in the trace.
        self.place: Any = None
        self.tally = Tally()
        #: Whoever samples decided that the rest of it stays as well.
        self.keep = False
        #: Statements that wait for the outcome.
        self.held: list[S] = []
        #: Statements that left as `open`, as long as a savepoint can undo them; some may not be sent yet.
        self.left: list[S] = []
        self.undone_ids: list[str] = []
        self._positions = 0
        self._savepoints: list[tuple[str, int]] = []
        # Reentrant: a garbage collection inside a hook can end a transaction from the same thread.
        self.lock = threading.RLock()

    @property
    def changes_something(self) -> bool:
        """It wrote, or has a savepoint: it is no autocommitted statement's."""
        return bool(self.tally.writes or self._savepoints)

    # -- what happens inside -------------------------------------------------------------------------

    def add(self, statement: S) -> None:
        """A statement ran (or failed)."""
        if not self._positions:
            self.started_at = statement.started_at
        self._positions += 1
        statement.position = self._positions
        self.held.append(statement)
        tally = self.tally
        if statement.writes:
            tally.writes += 1
            if not statement.failed:
                self.wrote = True
            if statement.rows is not None and statement.rows > 0:
                tally.rows += statement.rows
            if statement.tables and statement.tables[0] not in tally.tables:
                tally.tables += statement.tables[:1]
        elif statement.reads:
            tally.reads += 1

    @property
    def is_empty(self) -> bool:
        """No statement ran in it yet."""
        return not self._positions

    def leave(self, statements: list[S]) -> None:
        """``statements`` go out as `open` now, under their span ids; they wait for nothing any more."""
        leaving = {id(statement) for statement in statements}
        self.held = [statement for statement in self.held if id(statement) not in leaving]
        self.tally.left_open += len(statements)
        for statement in statements:
            statement.left = True
        if self._savepoints:
            since = self._savepoints[0][1]
            self.left += [one for one in statements if not one.undone and one.position > since]
            if len(self.left) > MAX_LEFT:
                del self.left[: MAX_LEFT // 2]

    def statement_failed(self, *, aborts: bool) -> None:
        """A statement failed; ``aborts``: this server then aborts the whole transaction."""
        self.tally.failures += 1
        if aborts:
            self.aborted = True

    def savepoint(self, name: str) -> None:
        """SAVEPOINT name."""
        self._savepoints.append((name, self._positions))

    def release_savepoint(self, name: str) -> None:
        """RELEASE name: its statements now share the fate of what encloses them."""
        index = self._index(name)
        if index is not None:
            del self._savepoints[index:]
        if not self._savepoints:
            self.left.clear()

    def rollback_to_savepoint(self, name: str) -> None:
        """ROLLBACK TO name: undo every statement since."""
        index = self._index(name)
        if index is None:
            return
        since = self._savepoints[index][1]
        del self._savepoints[index + 1 :]
        self.aborted = False
        for statement in self.held:
            if statement.position > since:
                statement.undone = True
        for statement in self.left:
            if statement.position > since:
                statement.undone = True
                if len(self.undone_ids) < MAX_UNDONE_LISTED:
                    self.undone_ids.append(statement.span_id)
        self.left = [statement for statement in self.left if not statement.undone]

    def _index(self, name: str) -> int | None:
        for index in range(len(self._savepoints) - 1, -1, -1):
            if self._savepoints[index][0] == name:
                return index
        return None

    # -- how it ends ---------------------------------------------------------------------------------

    def committed(self, *, aborted: bool = False) -> None:
        """The driver's commit returned. ``aborted``: the server answered it with a rollback."""
        if aborted or self.aborted:
            self._end(Outcome.ROLLED_BACK, Reason.COMMIT_OF_ABORTED)
        else:
            self._end(Outcome.COMMITTED, None)
        self.settled = True

    def commit_failed(self, *, connection_lost: bool, cause: Cause) -> None:
        """The driver's commit raised. Without the connection nobody knows what the server did."""
        if connection_lost or self.prepared:
            self._end(Outcome.UNKNOWN, None)
        else:
            self._end(Outcome.ROLLED_BACK, Reason.COMMIT_FAILED)
        self.cause = cause
        self.settled = True

    def commit_refused(self, cause: Cause) -> None:
        """The commit raised, and the transaction is as open as before (SQLite): it can be tried again."""
        self.refused = cause

    def rolled_back(self, reason: Reason, cause: Cause | None = None) -> None:
        """The driver's rollback returned. The reason may still be corrected by :meth:`correct`."""
        if self.refused is not None and not self.ended:
            reason, cause = Reason.COMMIT_FAILED, self.refused
        self._end(Outcome.ROLLED_BACK, reason)
        if cause is not None:
            self.cause = cause

    def ended_unseen(self) -> None:
        """It is over, and how it ended was not seen: past SQLAlchemy, or in doubt after PREPARE."""
        self._end(Outcome.UNKNOWN, None)
        self.settled = True

    def correct(self, reason: Reason) -> None:
        """A later event tells more about a rollback that has happened; stronger reasons stay."""
        if (
            self.ended
            and not self.settled
            and self.reason in (Reason.EXPLICIT, Reason.NOT_COMMITTED)
            and reason in (Reason.EXPLICIT, Reason.NOT_COMMITTED)
        ):
            self.reason = reason

    def settle(self) -> bool:
        """Nothing more will be learned. True the first time."""
        if not self.ended or self.settled:
            return False
        self.settled = True
        return True

    def _end(self, outcome: Outcome, reason: Reason | None) -> None:
        if self.ended:
            return
        assert (reason in LEGAL_REASONS[outcome]) if reason is not None else outcome != Outcome.ROLLED_BACK
        self.outcome = outcome
        self.reason = reason
        self.ended = True
        self.ended_at = ambient.now_ns()

    # -- what a statement is told --------------------------------------------------------------------

    def outcome_of(self, statement: S) -> tuple[Outcome, Reason | None]:
        """Outcome and reason of one statement.

        It can be undone though its transaction commits: by a savepoint, or because it failed and the
        server (SQLite, MySQL) lets the transaction go on without it. Of several parameter sets such a server
        keeps those before the failing one: nobody can say that it was rolled back.
        """
        outcome, reason = (Outcome.OPEN, None) if statement.left else (self.outcome, self.reason)
        if statement.undone and outcome != Outcome.ROLLED_BACK:
            return Outcome.ROLLED_BACK, Reason.SAVEPOINT
        if statement.failed and outcome in (Outcome.COMMITTED, Outcome.OPEN):
            if statement.many and not self.aborted:
                return Outcome.UNKNOWN, None
            return Outcome.ROLLED_BACK, Reason.EXCEPTION
        return outcome, reason
