"""What a receiver in trouble does to the application: time of each statement, bare and with each receiver.

    python benchmarks/receiver.py [--rounds 5] [--seconds 4]

Each variant runs in a process of its own and variants take turns, so that the machine's moods fall on all.
Printed are medians over the rounds of the p50 and p99 of a statement's wall time, and their ratio to the
variant with a receiver that takes everything.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.collector import Mode, collector

BARE = "bare"
VARIANTS = {
    BARE: Mode.ACCEPT,
    "up": Mode.ACCEPT,
    "silent": Mode.SILENT,
    "refused": Mode.REFUSE,
    "503": Mode.BUSY,
    "400": Mode.BAD_REQUEST,
}


def child(endpoint: str, seconds: float) -> None:
    """Run statements for ``seconds`` and print p50 and p99 in microseconds; no endpoint: not instrumented."""
    from sqlalchemy import create_engine, text

    if endpoint:
        from trueline.instrumentation import instrument

        instrument("benchmark", endpoint=endpoint)
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (user_id TEXT)"))
    insert, delete = text("INSERT INTO t (user_id) VALUES (:user)"), text("DELETE FROM t")
    times: list[int] = []
    warm = time.monotonic() + 0.5
    deadline = warm + seconds
    while (now := time.monotonic()) < deadline:
        with engine.begin() as connection:
            for user in range(20):
                began = time.perf_counter_ns()
                connection.execute(insert, {"user": str(user)})
                if now > warm:
                    times.append(time.perf_counter_ns() - began)
            connection.execute(delete)
    cuts = statistics.quantiles(times, n=100)
    print(json.dumps({"p50": cuts[49] / 1000, "p99": cuts[98] / 1000, "statements": len(times)}), flush=True)


def main() -> None:
    """Take turns, compare medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--child")
    arguments = parser.parse_args()
    if arguments.child is not None:
        child(arguments.child, arguments.seconds)
        return
    figures: dict[str, dict[str, list[float]]] = {name: {"p50": [], "p99": []} for name in VARIANTS}
    for number in range(arguments.rounds):
        for name, mode in VARIANTS.items():
            with collector(mode) as received:
                command = [sys.executable, __file__, "--seconds", str(arguments.seconds)]
                result = subprocess.run(
                    [*command, "--child", "" if name == BARE else received.endpoint],
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                    env={**os.environ, "TRUELINE_HASH_SECRET": "benchmark", "TRUELINE_EXIT_WAIT": "1"},
                )
                received.released.set()
                # A variant that nothing was sent to would look good.
                assert name in (BARE, "refused") or received.requests, name
            said = json.loads(result.stdout.splitlines()[-1])
            for quantile, values in figures[name].items():
                values.append(said[quantile])
        print(f"round {number + 1}/{arguments.rounds}", file=sys.stderr)
    medians = {
        name: {quantile: statistics.median(values) for quantile, values in of.items()}
        for name, of in figures.items()
    }
    print(f"{'µs a statement':<16}{'p50':>8}{'p99':>8}{'p50 / up':>10}{'p99 / up':>10}")
    for name, row in medians.items():
        up = medians["up"]
        print(
            f"{name:<16}{row['p50']:>8.1f}{row['p99']:>8.1f}"
            f"{row['p50'] / up['p50']:>10.2f}{row['p99'] / up['p99']:>10.2f}"
        )


if __name__ == "__main__":
    main()
