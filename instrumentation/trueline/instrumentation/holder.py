"""Holds statements until the outcome of their transaction is known, within bounds of time and number.

Hooks on the request path only append to a queue; one daemon thread builds the spans and passes them on.
A statement whose transaction is still open after the hold time leaves as `open`; the transaction span
settles it later.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from trueline.instrumentation import ambient
from trueline.instrumentation.guard import report

if TYPE_CHECKING:
    from trueline.instrumentation.records import StatementRecord
    from trueline.instrumentation.transaction import Transaction

#: Statements that wait in one transaction; the oldest leave as `open` beyond it.
MAX_HELD = 512
#: Transactions that wait to be turned into spans; new ones are dropped and counted beyond it.
MAX_QUEUED = 8192
#: Between two looks at the queue, so that spans are built in batches and not one by one.
_BATCH_SECONDS = 0.05

Emit = Callable[["Transaction[StatementRecord]", "list[StatementRecord]", bool], None]


class Holder:
    """``emit(transaction, statements, settled)`` builds and passes on the spans."""

    def __init__(self, emit: Emit, hold_seconds: float) -> None:
        self._emit = emit
        self._hold_ns = int(hold_seconds * 1e9)
        #: Counts forks: state made in another generation belongs to another process.
        self.generation = 0
        #: Losses by reason, to be reported.
        self.losses: Counter[str] = Counter()
        #: Work past SQLAlchemy, as far as it can be told: see setup.status().
        self.unseen: Counter[str] = Counter()
        self._closed = False
        self._start_afresh()
        os.register_at_fork(after_in_child=_in_child(weakref.ref(self)))

    def _start_afresh(self) -> None:
        self._held: dict[int, Transaction[StatementRecord]] = {}
        self._queue: deque[tuple[Transaction[StatementRecord], list[StatementRecord], bool]] = deque()
        self._wake = threading.Event()
        self._drain_lock = threading.RLock()
        self._thread: threading.Thread | None = None

    def after_fork(self) -> None:
        """In a forked child: what was held is the parent's to send."""
        self.generation += 1
        self._start_afresh()

    # -- called from hooks ---------------------------------------------------------------------------

    def hold(self, transaction: Transaction[StatementRecord], record: StatementRecord) -> None:
        """Hold one more statement of ``transaction``."""
        if self._hold_ns <= 0 and not transaction.ended:
            self._let_go(transaction, [record])
            return
        if len(transaction.held) > MAX_HELD:
            with transaction.lock:
                oldest = transaction.held[: MAX_HELD // 2]
            self._let_go(transaction, oldest)
        self._held[id(transaction)] = transaction
        self._ensure_thread()

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
            self.losses["queue_full"] += len(statements) + settled
            return
        self._queue.append((transaction, statements, settled))
        if not self._wake.is_set():
            self._wake.set()
        self._ensure_thread()

    def _ensure_thread(self) -> None:
        if self._thread is None and not self._closed:
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
        timeout = max(0.02, self._hold_ns / 4e9) if self._held else 5.0
        self._wake.wait(timeout)
        if self._closed:
            return False
        if self._wake.is_set():
            time.sleep(_BATCH_SECONDS)
            self._wake.clear()
        return True

    def work(self) -> None:
        """Let go what is due, then build the spans of everything queued."""
        self._expire(ambient.now_ns() - self._hold_ns)
        self._drain()

    def flush(self) -> None:
        """Everything whose outcome is known becomes spans now."""
        self._settle_ended()
        self._drain()

    def close(self) -> None:
        """At exit: what is still undecided leaves as `open`."""
        if self._closed:
            return
        self._settle_ended()
        self._expire(ambient.now_ns() + 1)
        self._closed = True
        self._wake.set()
        self._drain()

    def _settle_ended(self) -> None:
        for transaction in list(self._held.values()):
            if transaction.ended:
                with transaction.lock:
                    transaction.settle()
                self.settled(transaction)

    def _expire(self, due_before: int) -> None:
        for key, transaction in list(self._held.items()):
            oldest = next(iter(transaction.held), None)
            if oldest is None:
                # It is tracked by its connection alone until it ends or runs another statement.
                self._held.pop(key, None)
                continue
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

    def _drain(self) -> None:
        with self._drain_lock:
            while True:
                try:
                    transaction, statements, settled = self._queue.popleft()
                except IndexError:
                    return
                try:
                    self._emit(transaction, statements, settled)
                except Exception as error:
                    self.losses["internal_error"] += len(statements) + settled
                    report("holder.emit", error)


def _run(reference: weakref.ref[Holder]) -> None:
    while True:
        holder = reference()
        if holder is None or not holder.wait():
            return
        try:
            holder.work()
        except Exception as error:
            report("holder.work", error)
        del holder


def _in_child(reference: weakref.ref[Holder]) -> Callable[[], None]:
    def after_fork() -> None:
        holder = reference()
        if holder is not None:
            holder.after_fork()

    return after_fork
