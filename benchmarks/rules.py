"""What judging costs: all stable rules over their windows, on a store filled to a density.

    python benchmarks/rules.py --folder /tmp/rules-100m                                # 100 million a day
    python benchmarks/rules.py --folder /tmp/rules-5m --per-day 5e6 --history 10       # and ten times as old
    python benchmarks/rules.py --latency

The folder is filled on the first run (24 hours, as far back as the rules that compare identities look; it
may be interrupted and goes on where it was) and measured on each. A cycle judges one window of arrivals by
every rule, each by itself, as the monitor does: the query, the findings, the evidence. With --history N the
store is measured, filled to N times its age, and measured again in the same run.

--latency measures a real ``trueline serve`` at its default settings: from the 200 for the last span that a
finding needs to the finding in GET /api/v1/findings.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parent)]

from harness.history import STEP, begin_copying, copy, end_copying, fill  # noqa: E402

from trueline.monitor.engine.evaluate import apply, evaluate  # noqa: E402
from trueline.monitor.engine.load import load_rules  # noqa: E402
from trueline.monitor.engine.rule import Rule  # noqa: E402
from trueline.monitor.engine.windows import OVERLAP, Window  # noqa: E402
from trueline.monitor.resources import rule_paths  # noqa: E402
from trueline.monitor.rule_service import LIMITS  # noqa: E402
from trueline.monitor.settings import StoreSettings  # noqa: E402
from trueline.monitor.store.client import Limits, Store, open_store  # noqa: E402
from trueline.monitor.store.findings import StoredFindings  # noqa: E402
from trueline.monitor.store.migrate import migrate  # noqa: E402

#: So much is made statement by statement: rules look back an hour at these and at transactions. What lies
#: before that is a copy of it in the tables that they look at for longer.
MADE = timedelta(hours=1)


def fill_to(store: Store, folder: Path, per_day: float, hours: float) -> datetime:
    """Fill the last ``hours`` before the folder's own now, newest first; returns that now."""
    marker = folder / "filled.json"
    if marker.exists():
        done = json.loads(marker.read_text())
    else:
        now = datetime.now(UTC).replace(microsecond=0)
        done = {"now": now.isoformat(), "per_day": per_day, "steps": 0}
    now = datetime.fromisoformat(done["now"])
    if done["per_day"] != per_day:
        raise SystemExit(
            f"{folder} is filled to {done['per_day']:.3g} statements a day: give another --folder"
        )
    for step in range(done["steps"], round(timedelta(hours=hours) / STEP)):
        end = now - step * STEP
        began = time.monotonic()
        if (step + 1) * STEP <= MADE:
            fill(store, end - STEP, end, per_day, transactions=True)
        else:
            begin_copying(store, now - MADE)
            earlier = step * STEP // MADE * MADE
            copy(store, end - STEP + earlier, end + earlier, earlier)
        done["steps"] = step + 1
        marker.write_text(json.dumps(done))
        taken = time.monotonic() - began
        print(
            f"filled {done['steps']}: {per_day * (STEP / timedelta(days=1)) / taken:,.0f} statements/s",
            flush=True,
        )
    end_copying(store)
    return now


def cycle(
    store: Store, rules: list[Rule], end: datetime, limits: Limits
) -> dict[str, tuple[float, float, int]]:
    """Judge the two seconds of arrivals before ``end`` by each rule: wall ms, CPU ms, groups found."""
    findings = StoredFindings(store)
    figures = {}

    def query(sql: str, parameters: Any) -> list[dict[str, Any]]:
        return store.query_read_only(sql, parameters, limits).dicts()

    for rule in rules:
        start = end - rule.definition.interval
        window = Window(start - OVERLAP, start, end, end - rule.definition.lookback, end)
        wall, cpu = time.perf_counter(), time.process_time()
        found = evaluate(rule, window, query).sightings
        apply(rule, found, window, findings, end)
        figures[rule.id] = ((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3, len(found))
    return figures


def measure(
    store: Store, now: datetime, per_day: float, cycles: int, limits: Limits, only: frozenset[str]
) -> float:
    """Print medians over cycles, return the median wall milliseconds of a whole cycle."""
    rules = [
        rule
        for rule in load_rules(rule_paths(())).rules
        if (rule.id in only if only else rule.definition.status == "stable")
    ]
    # What filling left to be merged is no cost of the rules.
    store.command("SYSTEM STOP MERGES")
    counts = store.query(
        "SELECT (SELECT count() FROM statements), (SELECT count() FROM identity_statements), "
        "(SELECT count() FROM access_counts), (SELECT count() FROM table_uses)"
    ).rows[0]
    print("statements {:,}, identity_statements {:,}, access_counts {:,}, table_uses {:,}".format(*counts))
    parts = store.query(
        "SELECT count(), round(sum(bytes_on_disk) / sum(rows), 1) FROM system.parts "
        "WHERE active AND database = currentDatabase() AND table = 'identity_statements'"
    ).rows[0]
    print("identity_statements: {} parts, {} bytes a row".format(*parts))
    runs = []
    for number in range(cycles + 1):
        end = now - timedelta(seconds=2 * (cycles - number) + 2)
        runs.append(cycle(store, rules, end, limits))
    runs = runs[1:]
    print(f"{'rule':30} {'wall ms':>9} {'worst':>9} {'CPU ms':>9} {'groups':>7}")
    for rule in rules:
        walls, cpus, groups = zip(*(run[rule.id] for run in runs), strict=True)
        print(
            f"{rule.id:30} {median(walls):9.1f} {max(walls):9.1f} {median(cpus):9.1f} {median(groups):7.0f}"
        )
    wall = median(sum(one[0] for one in run.values()) for run in runs)
    cpu = median(sum(one[1] for one in run.values()) for run in runs)
    share = cpu / 1e3 / (per_day / 86400 * 2) * 1e6
    print(
        f"{'a cycle (goal: 1000)':30} {wall:9.1f} {'':9} {cpu:9.1f}; {share:.1f} CPU s a million statements"
    )
    return wall


def main() -> int:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the filled store is kept")
    parser.add_argument("--per-day", type=float, default=100e6, help="statements a day")
    parser.add_argument("--hours", type=float, default=24, help="how far back it is filled")
    parser.add_argument(
        "--history", type=float, default=1, help="and measured again with so many times the hours"
    )
    parser.add_argument("--cycles", type=int, default=10, help="0: only fill")
    parser.add_argument("--rules", default="", help="a,b: only these; all stable ones otherwise")
    parser.add_argument("--threads", type=int, default=LIMITS.threads, help="cores a query may use; 0: all")
    parser.add_argument("--latency", action="store_true")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    if options.latency:
        from harness import latency

        latency.measure(options.rounds)
        return 0
    folder: Path = options.folder or Path(tempfile.mkdtemp(prefix="trueline-rules-"))
    folder.mkdir(parents=True, exist_ok=True)
    only = frozenset(filter(None, options.rules.split(",")))
    limits = Limits(LIMITS.seconds * 6, LIMITS.memory_bytes, LIMITS.rows, options.threads)
    store = open_store(StoreSettings(data_dir=folder, database="trueline"))
    print(f"{folder}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    try:
        migrate(store)
        measured: list[float] = []
        for times in sorted({1.0, options.history}):
            now = fill_to(store, folder, options.per_day, options.hours * times)
            if options.cycles:
                measured.append(measure(store, now, options.per_day, options.cycles, limits, only))
        if len(measured) > 1:
            print(
                f"with {options.history:g} times the age: {measured[1] / measured[0]:.2f} of it (goal: 1.2)"
            )
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
