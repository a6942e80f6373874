"""More candidates in a long window than a rule takes at once: it is judged in parts, none is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine_bench import Bench, empty_tables, schema_store, write_rule

from trueline.monitor.store.client import Store

TRIGGER = (
    "query: |",
    """trigger: |
  SELECT trace_id FROM transactions
  WHERE received_at >= {start:DateTime64(3)} AND received_at < {end:DateTime64(3)}
  LIMIT 20
query: |""",
)
CANDIDATES = ("AND outcome =", "AND trace_id IN {candidates_trace_id:Array(String)} AND outcome =")
RANKED = ("LIMIT 20", "ORDER BY trace_id LIMIT 20")


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_engine_candidates") as store:
        yield store


def bench_of(store: Store, folder: Path, *changes: tuple[str, str]) -> Bench:
    empty_tables(store)
    return Bench(store, write_rule(folder, TRIGGER, CANDIDATES, *changes))


def caught_up(bench: Bench) -> int:
    """How many of sixty losses in four minutes are counted, once they are all judged at a late hour."""
    bench.tick()
    for _ in range(60):
        bench.lose()
        bench.clock.forward(seconds=4)
    for _ in range(60):
        bench.tick()
        bench.clock.forward(seconds=10)
    return bench.only().count


def test_what_was_missed_is_judged_in_parts(shared_store: Store, tmp_path: Path) -> None:
    bench = bench_of(shared_store, tmp_path)
    assert caught_up(bench) == 60
    errors = [line["error"] for line in bench.ledger.last("lost_writes", 1000) if line["result"] == "error"]
    assert errors
    assert all("as many as its trigger returns at most" in error for error in errors)


def test_the_worst_ones_are_enough_where_the_trigger_ranks_them(shared_store: Store, tmp_path: Path) -> None:
    bench = bench_of(shared_store, tmp_path, RANKED)
    assert 20 <= caught_up(bench) < 30
    assert [line for line in bench.ledger.last("lost_writes", 1000) if line["result"] == "error"] == []


def test_a_short_window_is_judged_however_many_there_are(shared_store: Store, tmp_path: Path) -> None:
    bench = bench_of(shared_store, tmp_path)
    bench.tick()
    for _ in range(30):
        bench.lose()
    bench.clock.forward(seconds=4)
    bench.tick()
    assert bench.only().count == 20
