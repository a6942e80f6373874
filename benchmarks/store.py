"""What the store costs on disk and how fast it answers, at a given number of realistic spans over 30 days.

    python benchmarks/store.py [--spans 1000000] [--raw-only] [--folder DIR] [--rounds 5]

Spans are made by the engine itself (harness/spans.py) and go through all insert views; with ``--raw-only``
through none, for sizes at which that would take hours. Printed: CPU time of an insert, bytes a span by table,
and medians of the times of a few questions: a trace by its id with and without bounds of time, the last five
minutes, one identity over 30 days, an aggregate over a day. Over 30 days few requests overlap, so less than
some ten million spans take a little less disk than a busy application's.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.spans import SPANS_A_REQUEST, USERS, insert_spans

from trueline.monitor.settings import StoreSettings
from trueline.monitor.store.client import Store, open_store
from trueline.monitor.store.migrate import migrate

DAYS = 30
REQUESTS_AN_INSERT = 5_000
UNCACHED = " SETTINGS use_query_condition_cache = 0"


def fill(store: Store, spans: int, start: datetime) -> None:
    """Insert the spans, evenly over the days, and print what that took."""
    requests = spans // SPANS_A_REQUEST
    step_us = DAYS * 86_400 * 1_000_000 // requests
    began, cpu = time.monotonic(), time.process_time()
    for first in range(0, requests, REQUESTS_AN_INSERT):
        count = min(REQUESTS_AN_INSERT, requests - first)
        store.command(insert_spans(first, count, start + timedelta(microseconds=first * step_us), step_us))
    cpu = time.process_time() - cpu
    print(
        f"inserted {spans:,} spans in {time.monotonic() - began:.0f} s, {cpu / spans * 1e6:.0f} us CPU a span"
    )


def print_disk(store: Store, spans: int) -> None:
    """Merge each day's parts, as time would, and print bytes a span."""
    parts = "FROM system.parts WHERE active AND database = currentDatabase()"
    for (table,) in store.query(f"SELECT DISTINCT table {parts}").rows:
        store.command(f"OPTIMIZE TABLE {table} FINAL")
    rows = store.query(
        f"SELECT table, sum(rows), sum(bytes_on_disk) / {spans} AS size, count() {parts}"
        " GROUP BY table ORDER BY size DESC"
    ).rows
    for table, count, size, number in rows:
        if size > 0.05:
            print(f"{table:24} {count:14,} rows {size:8.1f} bytes a span, {number} parts")
    print(f"{'all tables':24} {sum(size for _, _, size, _ in rows):37.1f} bytes a span")


def print_median(store: Store, label: str, queries: list[str]) -> None:
    """Run each query once and print the median times; each has to find something."""
    times, cpu = [], []
    for query in queries:
        began, used = time.perf_counter(), time.process_time()
        found = store.query(query + UNCACHED).rows
        times.append((time.perf_counter() - began) * 1000)
        cpu.append((time.process_time() - used) * 1000)
        if not found:
            raise SystemExit(f"nothing found: {query}")
    print(f"{label:40} {statistics.median(times):8.1f} ms, {statistics.median(cpu):.1f} of CPU time")


def print_questions(store: Store, spans: int, start: datetime, rounds: int, raw_only: bool) -> None:
    """Ask what on-call people ask."""
    requests = spans // SPANS_A_REQUEST
    step_us = DAYS * 86_400 * 1_000_000 // requests
    asked = [requests * (number + 1) // (rounds + 2) for number in range(rounds)]
    by_id = "SELECT * FROM otel_traces WHERE TraceId = lower(hex(sipHash128('trace', toUInt64({}))))"
    print_median(store, "trace by id", [by_id.format(request) for request in asked])
    bounded = []
    for request in asked:
        at = int((start + timedelta(microseconds=request * step_us)).timestamp())
        bounded.append(
            f"{by_id.format(request)} AND Timestamp BETWEEN toDateTime64({at - 60}, 9)"
            f" AND toDateTime64({at + 60}, 9)"
        )
    print_median(store, "trace by id within two minutes", bounded)
    end = f"toDateTime64({int((start + timedelta(days=DAYS)).timestamp())}, 9)"
    last = f"SELECT ServiceName, count() FROM otel_traces WHERE Timestamp >= {end} - INTERVAL 5 MINUTE"
    print_median(store, "services of the last five minutes", [f"{last} GROUP BY ServiceName"] * rounds)
    if raw_only:
        return
    one = "SELECT * FROM identity_uses WHERE identity = lower(hex(sipHash128('user', toUInt32({}))))"
    users = store.query(f"SELECT intDiv(sipHash64(toUInt64(arrayJoin({asked}))), 7) % {USERS}").rows
    print_median(store, "one identity over 30 days", [one.format(user) for (user,) in users])
    split = (
        "SELECT environment, application, table, domain FROM access"
        f" WHERE at >= {end} - INTERVAL 1 DAY GROUP BY ALL HAVING uniqExact(database) >= 1"
    )
    print_median(store, "tables by database over a day (access)", [split] * rounds)


def main() -> None:
    """Fill a store and measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--raw-only", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.spans < 100_000:
        parser.error("--spans: fewer than 100,000 over 30 days leave five minutes without any")
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="trueline-store-"))
    store = open_store(StoreSettings(data_dir=folder))
    try:
        migrations = migrate(store)
        print(f"{len(migrations)} migrations")
        if arguments.raw_only:
            views = store.query(
                "SELECT name FROM system.tables"
                " WHERE database = currentDatabase() AND engine = 'MaterializedView'"
            )
            for (view,) in views.rows:
                store.command(f"DROP VIEW {view}")
        start = (datetime.now(UTC) - timedelta(days=DAYS)).replace(microsecond=0)
        fill(store, arguments.spans, start)
        print_disk(store, arguments.spans)
        print_questions(store, arguments.spans, start, arguments.rounds, arguments.raw_only)
    finally:
        store.close()
        if arguments.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
