"""One identity over 30 days: how long its facts take to be read and judged, in a store with many others.

    python benchmarks/diagnose.py --rows 2000000

Prints milliseconds, and the ratio to the same question over one day of the same store.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trueline.monitor.diagnose.gather import gather
from trueline.monitor.diagnose.judge import diagnose
from trueline.monitor.settings import StoreSettings
from trueline.monitor.store.client import Store, open_store
from trueline.monitor.store.identities import Span
from trueline.monitor.store.migrate import migrate

#: Rows of one identity each day among all the others.
OWN_A_DAY = 40


def fill(store: Store, days: int, rows: int) -> str:
    """Statements of many identities, evenly over the days; one of them is asked for. Its value."""
    a_day = rows // days
    people = max(2, a_day // OWN_A_DAY)
    for day in range(days):
        store.command(
            "INSERT INTO statements (received_at, started_at, ended_at, trace_id, span_id, environment, "
            "application, service, kind, tables, identity_columns, identity_clauses, identity_encodings, "
            "identity_values, identity_domains, hash_key_id, rows, outcome, database, transaction_id) "
            f"SELECT now64(3) - toIntervalDay({day}) - toIntervalMillisecond(number * 86000000 / {a_day}) "
            "AS at, at, at, lower(hex(sipHash128(number, 1))), lower(hex(sipHash64(number, 2))), "
            "'production', 'a', if(number % 2 = 0, 'web', 'worker'), if(number % 2 = 0, 'write', 'read'), "
            "['expenses'], ['expenses.user_id'], [if(number % 2 = 0, 'set', 'where')], ['integer'], "
            f"[lower(hex(sipHash128(intDiv(number, 2) % {people}, 3)))], ['user'], 'k', 1, 'committed', "
            f"'aaaaaaaaaaaaaaaa', hex(number) FROM numbers({a_day})"
        )
    return str(store.query("SELECT lower(hex(sipHash128(toUInt64(7), 3)))").scalar())


def measure(store: Store, identity: str, days: int, rounds: int) -> tuple[float, str]:
    """Median milliseconds of the whole diagnosis, and its verdict."""
    taken = []
    verdict = ""
    for _ in range(rounds):
        now = datetime.now(UTC)
        span = Span([identity], ["user"], now - timedelta(days=days), now)
        begun = time.perf_counter()
        verdict = str(diagnose(gather(store, span, now, "k")).verdict)
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken), verdict


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trueline-bench-") as folder:
        store = open_store(StoreSettings(data_dir=Path(folder)))
        try:
            migrate(store)
            identity = fill(store, chosen.days, chosen.rows)
            one, _ = measure(store, identity, 1, chosen.rounds)
            all_, verdict = measure(store, identity, chosen.days, chosen.rounds)
        finally:
            store.close()
    print(f"{chosen.rows} statements in {chosen.days} days; verdict {verdict}")
    print(f"1 day: {one:.0f} ms; {chosen.days} days: {all_:.0f} ms; ratio {all_ / one:.2f}")


if __name__ == "__main__":
    main()
