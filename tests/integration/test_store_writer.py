"""Group commit: what is acknowledged is stored, and one bad request harms nobody else."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from trueline.monitor.errors import DataRefusedError, QueryError, StoreError, StoreUnavailableError
from trueline.monitor.store.client import Store
from trueline.monitor.store.writer import Load, Writer

PATIENCE = 30


@pytest.fixture
def numbers(empty_store: Store) -> Store:
    empty_store.command("CREATE TABLE t (n Int64) ENGINE = MergeTree ORDER BY n")
    empty_store.command("CREATE TABLE u (n Int64) ENGINE = MergeTree ORDER BY n")
    return empty_store


class Gate:
    """A store behind a gate: inserts wait until it opens, are counted, and fail where told to."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.sizes: list[int] = []
        self.failure: Exception | None = None

    def insert(self, table: str, columns: Mapping[str, Sequence[Any]], *, token: str = "") -> None:
        self.entered.set()
        assert self.open.wait(PATIENCE)
        self.sizes.append(len(columns["n"]))
        if self.failure:
            raise self.failure
        self._store.insert(table, columns, token=token)


def started(store: Any, **options: Any) -> Writer:
    writer = Writer(store, **options)
    writer.start()
    return writer


def submit(writer: Writer, *values: Any, table: str = "t") -> Future[None]:
    return writer.submit(Load(table, len(values), lambda: {"n": list(values)}))


def test_a_done_future_means_that_the_rows_are_there(numbers: Store) -> None:
    writer = started(numbers)
    for number in range(5):
        submit(writer, number).result(PATIENCE)
        assert numbers.query("SELECT count() FROM t").scalar() == number + 1
    assert writer.stop(PATIENCE)


def test_requests_that_wait_share_one_insert_a_table(numbers: Store) -> None:
    gate = Gate(numbers)
    gate.open.clear()
    writer = started(gate)
    first = submit(writer, 0)
    assert gate.entered.wait(PATIENCE)
    waiting = [submit(writer, number) for number in range(1, 20)] + [submit(writer, 99, table="u")]
    gate.open.set()
    for future in [first, *waiting]:
        future.result(PATIENCE)
    assert gate.sizes == [1, 19, 1]
    assert numbers.query("SELECT count(), uniqExact(n) FROM t").rows == [(20, 20)]
    assert numbers.query("SELECT n FROM u").rows == [(99,)]
    assert writer.stop(PATIENCE)


def test_one_insert_is_bounded(numbers: Store) -> None:
    gate = Gate(numbers)
    gate.open.clear()
    writer = started(gate, max_insert_rows=10)
    futures = [submit(writer, 0)]
    assert gate.entered.wait(PATIENCE)
    futures += [submit(writer, *range(4)) for _ in range(5)]
    gate.open.set()
    for future in futures:
        future.result(PATIENCE)
    assert gate.sizes == [1, 8, 8, 4]
    assert writer.stop(PATIENCE)


def test_a_bad_request_does_not_take_its_neighbours_down(numbers: Store) -> None:
    gate = Gate(numbers)
    gate.open.clear()
    writer = started(gate)
    first = submit(writer, 0)
    assert gate.entered.wait(PATIENCE)
    good, bad, other = submit(writer, 1), submit(writer, 2, 2**63), submit(writer, 3)
    gate.open.set()
    first.result(PATIENCE)
    good.result(PATIENCE)
    other.result(PATIENCE)
    with pytest.raises(DataRefusedError):
        bad.result(PATIENCE)
    assert numbers.query("SELECT n FROM t ORDER BY n").rows == [(0,), (1,), (3,)]
    assert writer.problem() is None
    assert writer.stop(PATIENCE)


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (StoreUnavailableError("no space left"), StoreUnavailableError),
        (QueryError("the table is gone"), QueryError),
        (ZeroDivisionError("a fault of ours"), StoreUnavailableError),
    ],
)
def test_a_store_that_fails_is_told_to_the_request_and_to_readiness(
    numbers: Store, failure: Exception, raised: type[StoreError]
) -> None:
    gate = Gate(numbers)
    gate.failure = failure
    writer = started(gate)
    with pytest.raises(raised, match=str(failure)):
        submit(writer, 1).result(PATIENCE)
    assert str(failure) in (writer.problem() or "")
    gate.failure = None
    submit(writer, 2).result(PATIENCE)
    assert writer.problem() is None
    assert writer.stop(PATIENCE)


def test_what_does_not_fit_the_queue_is_refused_at_once(numbers: Store) -> None:
    gate = Gate(numbers)
    gate.open.clear()
    writer = started(gate, max_waiting_rows=10)
    first = submit(writer, 0)
    assert gate.entered.wait(PATIENCE)
    second = submit(writer, *range(8))
    with pytest.raises(StoreUnavailableError, match="8 rows wait"):
        submit(writer, *range(3))
    assert writer.waiting_share == pytest.approx(0.8)
    gate.open.set()
    first.result(PATIENCE)
    second.result(PATIENCE)
    submit(writer, *range(30)).result(PATIENCE)
    assert writer.stop(PATIENCE)


def test_a_cancelled_request_is_stored_and_harms_nobody(numbers: Store) -> None:
    gate = Gate(numbers)
    gate.open.clear()
    writer = started(gate)
    first = submit(writer, 0)
    assert gate.entered.wait(PATIENCE)
    gone, other = submit(writer, 1), submit(writer, 2)
    assert gone.cancel()
    gate.open.set()
    first.result(PATIENCE)
    other.result(PATIENCE)
    assert numbers.query("SELECT count() FROM t").scalar() == 3
    assert writer.stop(PATIENCE)


def test_stopping_stores_what_waits_and_refuses_what_comes(numbers: Store) -> None:
    gate = Gate(numbers)
    gate.open.clear()
    writer = started(gate)
    futures = [submit(writer, 0)]
    assert gate.entered.wait(PATIENCE)
    futures += [submit(writer, number) for number in range(1, 10)]
    assert not writer.stop(0.01)
    with pytest.raises(StoreUnavailableError, match="stopping"):
        submit(writer, 10)
    gate.open.set()
    assert writer.stop(PATIENCE)
    assert all(future.done() for future in futures)
    assert numbers.query("SELECT count() FROM t").scalar() == 10
    assert writer.problem() == "the writer is not running"
