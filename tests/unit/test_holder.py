"""Held statements: bounded in time and number, nothing lost at exit, nothing of the parent's after a fork."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

import pytest

from trueline.instrumentation import guard
from trueline.instrumentation import holder as holder_module
from trueline.instrumentation.holder import Holder
from trueline.instrumentation.semconv import Outcome, Reason
from trueline.instrumentation.transaction import Transaction


class Ran:
    """A statement that ended ``age`` seconds ago."""

    def __init__(self, age: float = 0.0) -> None:
        self.writes = True
        self.reads = False
        self.rows: int | None = 1
        self.tables: tuple[str, ...] = ("expenses",)
        self.failed = False
        self.position = 0
        self.undone = False
        self.ended_at = time.time_ns() - int(age * 1e9)
        self.started_at = self.ended_at
        self.span_id = f"{id(self):016x}"


class Sent(list[tuple[Outcome, int, bool]]):
    """(outcome, statements, settled) of each emission."""

    def __call__(self, transaction: Any, statements: list[Any], settled: bool) -> None:
        self.append((transaction.outcome, len(statements), settled))


def begin(holder: Holder, *statements: Ran) -> Transaction[Any]:
    transaction: Transaction[Any] = Transaction("1" * 16)
    for statement in statements:
        transaction.add(statement)
        holder.hold(transaction)
    return transaction


def quiet(hold_seconds: float) -> tuple[Holder, Sent]:
    """A holder whose thread never starts: the test does its work."""
    sent = Sent()
    holder = Holder(sent, hold_seconds)
    holder._start_thread = lambda: None  # type: ignore[method-assign]
    return holder, sent


def test_statements_wait_for_their_transaction() -> None:
    holder, sent = quiet(1.0)
    transaction = begin(holder, Ran(), Ran())
    holder.work()
    assert sent == []
    transaction.committed()
    holder.settled(transaction)
    holder.work()
    assert sent == [(Outcome.COMMITTED, 2, True)]


def test_what_is_undecided_after_the_hold_time_leaves_as_open() -> None:
    holder, sent = quiet(1.0)
    transaction = begin(holder, Ran(age=2), Ran())
    holder.work()
    assert sent == [(Outcome.OPEN, 1, False)]
    transaction.committed()
    holder.settled(transaction)
    holder.work()
    assert sent[1:] == [(Outcome.COMMITTED, 1, True)]
    assert transaction.tally.left_open == 1


def test_without_a_hold_time_everything_leaves_at_once() -> None:
    holder, sent = quiet(0)
    begin(holder, Ran())
    holder.flush()
    assert sent == [(Outcome.OPEN, 1, False)]


def test_a_long_transaction_is_bounded_in_number() -> None:
    holder, sent = quiet(60)
    transaction = begin(holder, *(Ran() for _ in range(holder_module.MAX_HELD + 1)))
    holder.flush()
    assert len(transaction.held) <= holder_module.MAX_HELD
    assert sum(count for _, count, _ in sent) + len(transaction.held) == holder_module.MAX_HELD + 1


def test_a_full_queue_drops_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder_module, "MAX_QUEUED", 2)
    holder, sent = quiet(1.0)
    for _ in range(5):
        transaction = begin(holder, Ran())
        transaction.committed()
        holder.settled(transaction)
    holder.flush()
    assert len(sent) == 2
    assert holder.losses.total == {"queue_full": 3 * 2}  # a statement and a transaction span each


def test_a_transaction_is_sent_once_whoever_settles_it() -> None:
    holder, sent = quiet(1.0)
    transaction = begin(holder, Ran())
    transaction.rolled_back(Reason.EXPLICIT)
    holder.flush()
    transaction.settle()
    holder.settled(transaction)
    holder.flush()
    assert sent == [(Outcome.ROLLED_BACK, 1, True)]


def test_closing_lets_everything_go() -> None:
    holder, sent = quiet(60)
    begin(holder, Ran())
    settled = begin(holder, Ran())
    settled.committed()
    holder.close()
    assert sorted(sent) == [(Outcome.COMMITTED, 1, True), (Outcome.OPEN, 1, False)]
    holder.close()
    assert len(sent) == 2


def test_a_flush_lets_the_undecided_go_only_if_asked() -> None:
    holder, sent = quiet(60.0)
    transaction = begin(holder, Ran(), Ran())
    holder.flush()
    assert sent == []
    holder.flush(undecided=True)
    assert sent == [(Outcome.OPEN, 2, False)]
    transaction.committed()
    holder.settled(transaction)
    holder.flush()
    assert sent[1:] == [(Outcome.COMMITTED, 0, True)]


def test_the_thread_does_the_work_by_itself() -> None:
    sent = Sent()
    holder = Holder(sent, 0.05)
    begin(holder, Ran())
    deadline = time.monotonic() + 10
    while not sent and time.monotonic() < deadline:
        time.sleep(0.01)
    holder.close()
    assert sent == [(Outcome.OPEN, 1, False)]


def test_an_emission_that_fails_is_counted_and_the_next_one_goes_on() -> None:
    from trueline.instrumentation import guard

    calls: list[int] = []

    def emit(transaction: Any, statements: list[Any], settled: bool) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError

    holder = Holder(emit, 1.0)
    holder._start_thread = lambda: None  # type: ignore[method-assign]
    for _ in range(2):
        transaction = begin(holder, Ran())
        transaction.committed()
        holder.settled(transaction)
    holder.flush()
    assert len(calls) == 2
    assert holder.losses.total["internal_error"] == 2
    assert guard.internal_errors.pop("holder.emit") == 1


def test_a_forked_child_does_not_send_what_the_parent_holds() -> None:
    sent = Sent()
    holder = Holder(sent, 60)
    begin(holder, Ran())
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - runs in the child
        holder.close()
        os.write(write_end, f"{holder.generation} {len(sent)}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read_end, 100) == b"1 0"
    holder.close()
    assert len(sent) == 1
    os.close(read_end)
    os.close(write_end)


def test_a_connection_finalized_while_the_thread_is_woken_does_not_lock() -> None:
    """A garbage collection may run at any line, and a finalizer in it settles a transaction of its own."""

    def settle(collect_at: int, lines: list[str]) -> None:
        holder, _ = quiet(1.0)

        def trace(frame: Any, happening: str, argument: Any) -> Any:
            if happening == "line":
                lines.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
                if len(lines) == collect_at:
                    holder.settled(Transaction("2" * 16))
            return trace

        sys.settrace(trace)
        try:
            holder.settled(Transaction("1" * 16))
        finally:
            sys.settrace(None)

    collect_at = 0
    while True:
        collect_at += 1
        lines: list[str] = []
        thread = threading.Thread(target=settle, args=(collect_at, lines), daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive(), f"locked by a collection at {lines[-1]}"
        if len(lines) < collect_at:
            break
    assert collect_at > 10


def test_the_thread_survives_what_goes_wrong_in_it() -> None:
    sent = Sent()
    holder = Holder(sent, 0.0)
    broken = threading.Event()

    def wait() -> bool:
        broken.set()
        raise MemoryError

    holder.wait = wait  # type: ignore[method-assign]
    transaction = begin(holder, Ran())
    assert broken.wait(30)
    del holder.wait
    transaction.committed()
    holder.settled(transaction)
    deadline = time.monotonic() + 30
    while len(sent) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [(number, settled) for _, number, settled in sent] == [(1, False), (0, True)]
    holder.close()
    assert guard.internal_errors.pop("holder.work") >= 1
