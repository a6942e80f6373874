"""Holds statements until the outcome of their transaction is known, within bounds of time and number.

Hooks on the request path only append to a queue; one daemon thread builds the spans and passes them on.
A statement whose transaction is still open after the hold time leaves as `open`; the transaction span
settles it later.
"""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from trueline.instrumentation import ambient, lifecycle
from trueline.instrumentation.guard import report
from trueline.instrumentation.losses import INTERNAL_ERROR, QUEUE_FULL, Losses

if TYPE_CHECKING:
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.transaction import Transaction

#: Statements that wait in one transaction; the older half leaves as `open` beyond it.
MAX_HELD: Final = 512
#: Statements that wait in all transactions together; beyond it, each transaction holds few.
MAX_HELD_TOTAL: Final = 50_000
_MAX_HELD_CROWDED: Final = 16
#: Transactions that wait to be turned into spans; new ones are dropped and counted beyond it.
MAX_QUEUED: Final = 8192
#: Between two looks at the queue, so that spans are built in batches and not one by one.
_BATCH_SECONDS: Final = 0.05
#: After so many spans, a third of a millisecond's work, the thread lets others run.
_BREATH: Final = 64
_BREATH_SECONDS: Final = 0.0002

Emit = Callable[["Transaction[StatementRecord]", "list[StatementRecord]", bool], None]


class Holder:
    """``emit(transaction, statements, settled)`` builds and passes on the spans.

    ``idle(final)`` is called by the thread, a few times a second while there is work, and once at the end.
    """

    def __init__(
        self,
        emit: Emit,
        hold_seconds: float,
        *,
        losses: Losses | None = None,
        idle: Callable[[bool], None] | None = None,
    ) -> None:
        self._emit = emit
        self._idle = idle
        self._hold_ns = int(hold_seconds * 1e9)
        #: Counts forks: state made in another generation belongs to another process.
        self.generation = 0
        self.losses = Losses() if losses is None else losses
        #: Work past SQLAlchemy, as far as it can be told: see setup.status().
        self.unseen: Counter[str] = Counter()
        self._closed = False
        self._start_afresh()
        lifecycle.survives_fork(self)

    def _start_afresh(self) -> None:
        self._held: dict[int, Transaction[StatementRecord]] = {}
        self._most = MAX_HELD
        self._queue: deque[tuple[Transaction[StatementRecord], list[StatementRecord], bool]] = deque()
        # Not an Event: its lock would be taken again, and wait forever, where a garbage collection inside of
        # it finalizes a connection that settles its transaction here. A SimpleQueue allows for that.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._woken = False
        self._drain_lock = threading.RLock()
        self._thread: threading.Thread | None = None

    def after_fork(self) -> None:
        """In a forked child: what was held is the parent's to send."""
        self.generation += 1
        self.losses.after_fork()
        self.unseen = Counter()
        self._start_afresh()

    # -- called from hooks ---------------------------------------------------------------------------

    def hold(self, transaction: Transaction[StatementRecord]) -> None:
        """Hold the statement that was just added to ``transaction``, whose lock the caller has."""
        held = transaction.held
        if len(held) == 1:
            if self._hold_ns <= 0 and not transaction.ended:
                self._let_go(transaction, list(held))
                return
            self._held[id(transaction)] = transaction
            if self._thread is None:
                self._start_thread()
        elif len(held) > self._most:
            self._let_go(transaction, held[: len(held) // 2])

    def settled(self, transaction: Transaction[StatementRecord]) -> None:
        """The outcome of ``transaction`` is final."""
        self._held.pop(id(transaction), None)
        with transaction.lock:
            if transaction.dispatched:
                return
            transaction.dispatched = True
            statements, transaction.held = transaction.held, []
        self._enqueue(transaction, statements, settled=True)

    def _let_go(self, transaction: Transaction[StatementRecord], statements: list[StatementRecord]) -> None:
        with transaction.lock:
            transaction.leave(statements)
        self._enqueue(transaction, statements, settled=False)

    def _enqueue(
        self,
        transaction: Transaction[StatementRecord],
        statements: list[StatementRecord],
        *,
        settled: bool,
    ) -> None:
        if self._closed:
            return
        if len(self._queue) >= MAX_QUEUED:
            self.losses.add(QUEUE_FULL, len(statements) + settled)
            return
        self._queue.append((transaction, statements, settled))
        if not self._woken:
            self._woken = True
            self._wake.put(None)
        if self._thread is None:
            self._start_thread()

    def _start_thread(self) -> None:
        if self._closed:
            return
        thread = threading.Thread(target=_run, args=(weakref.ref(self),), name="trueline", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError as error:  # the interpreter is shutting down
            self._thread = None
            report("holder.thread", error)

    # -- called from the thread, from a flush and at exit --------------------------------------------

    def wait(self) -> bool:
        """Wait for work, at most until the oldest held statement is due; False when closed."""
        quarter = self._hold_ns / 4e9
        # Holding a first statement wakes nobody: also an idle thread has to look before it is due.
        timeout = max(0.02, quarter) if self._held else min(5.0, max(0.25, quarter))
        try:
            self._wake.get(timeout=timeout)
        except Empty:
            pass
        if self._closed:
            return False
        if self._woken:
            time.sleep(_BATCH_SECONDS)
            self._woken = False
        return True

    def work(self) -> None:
        """Let go what is due, then build the spans of everything queued."""
        self._expire(ambient.now_ns() - self._hold_ns)
        self._drain(in_background=True)
        if self._idle is not None:
            self._idle(False)

    def flush(self, *, undecided: bool = False) -> None:
        """Everything whose outcome is known becomes spans now; the ``undecided`` too if asked, as `open`."""
        self._settle_ended()
        if undecided:
            self._expire(sys.maxsize)
        self._drain()

    def close(self) -> None:
        """At exit: what is still undecided leaves as `open`."""
        if self._closed:
            return
        self._settle_ended()
        self._expire(ambient.now_ns() + 1)
        self._closed = True
        self._wake.put(None)
        self._drain()
        if self._idle is not None:
            self._idle(True)

    def _settle_ended(self) -> None:
        for transaction in list(self._held.values()):
            if transaction.ended:
                with transaction.lock:
                    transaction.settle()
                self.settled(transaction)

    def _expire(self, due_before: int) -> None:
        waiting = 0
        for key, transaction in list(self._held.items()):
            with transaction.lock:
                oldest = next(iter(transaction.held), None)
                if oldest is None:
                    # It is tracked by its connection alone until it ends or runs another statement.
                    self._held.pop(key, None)
                    continue
                waiting += len(transaction.held)
            if oldest.ended_at > due_before:
                continue
            if transaction.ended:
                with transaction.lock:
                    transaction.settle()
                self.settled(transaction)
            else:
                with transaction.lock:
                    due = [record for record in transaction.held if record.ended_at <= due_before]
                self._let_go(transaction, due)
        self._most = MAX_HELD if waiting <= MAX_HELD_TOTAL else _MAX_HELD_CROWDED

    def _drain(self, *, in_background: bool = False) -> None:
        with self._drain_lock:
            built = 0
            while True:
                try:
                    transaction, statements, settled = self._queue.popleft()
                except IndexError:
                    return
                if in_background:
                    built += len(statements) + settled
                    if built >= _BREATH:
                        # The interpreter's lock goes to whoever serves a request.
                        built = 0
                        time.sleep(_BREATH_SECONDS)
                try:
                    self._emit(transaction, statements, settled)
                except Exception as error:
                    self.losses.add(INTERNAL_ERROR, len(statements) + settled)
                    report("holder.emit", error)


def _run(reference: weakref.ref[Holder]) -> None:
    # With the first statement a server or worker is loaded, which it may not have been at import time.
    lifecycle.watch_workers()
    while True:
        holder = reference()
        if holder is None:
            return
        try:
            if not holder.wait():
                return
            holder.work()
        except Exception as error:
            report("holder.work", error)
            time.sleep(_BATCH_SECONDS)
        del holder
