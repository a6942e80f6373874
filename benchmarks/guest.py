"""A FastAPI service under load with Trueline and without, and with contrib's instrumentation as a peer.

    python benchmarks/guest.py [--quick] [--driver both] [--rounds 9] [--seconds 1.5] [--rate R] [--json FILE]

Load at a fixed rate (latencies count from when a request was due), then as fast as the service answers. The
variants' services run side by side and take turns in an order that rotates, so that whatever else the machine
does hits all of them. ``control`` is a second bare service: how far it is from ``bare`` is how far apart two
equal things are here, and no smaller difference means anything. ``traced`` has a TracerProvider with the
stock exporter and no instrumentation of the database. Exits with 1 if a request failed or a span got lost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import sqlalchemy
from harness.figures import percentile
from harness.postgres import postgres_server
from harness.processes import cores, pin_to
from harness.results import complaints, figures
from harness.service import VARIANTS
from harness.table import show
from harness.turns import requests, subjects

DEFAULT_VARIANTS = ("bare", "control", "traced", "trueline", "contrib")
#: Of its core, the bare service: busy enough that a stall makes a queue, and far from saturation.
BUSY = 0.4


def say(text: str) -> None:
    """Progress goes to stderr."""
    print(text, file=sys.stderr, flush=True)


def measure(
    arguments: argparse.Namespace, driver: str, postgres: str, on: set[int], others: set[int]
) -> dict[str, Any]:
    """Run every round on one driver; returns the figures of each variant."""
    mix = requests()
    with subjects(arguments.variants, driver, postgres, bind=arguments.bind, on=on, others=others) as running:
        for subject in running:
            subject.warm_up(mix, arguments.warm_up)
        rate = arguments.rate or round(running[0].calibrate(mix, arguments.closed_seconds, busy=BUSY))
        for number in range(arguments.rounds):
            start = number % len(running)
            for subject in running[start:] + running[:start]:
                subject.steady_turn(mix, rate=rate, seconds=arguments.seconds, seed=number)
                if number % 2 == 0:
                    subject.closed_turn(mix, seconds=arguments.closed_seconds, seed=number)
            p99s = " ".join(f"{s.variant}={percentile(s.latencies[-1], 0.99) * 1e3:.2f}" for s in running)
            say(f"{driver} round {number + 1}/{arguments.rounds}: p99 ms {p99s}")
        return {
            "rate": rate,
            "statements_a_request": sum(r.statements for r in mix) / len(mix),
            "client_late_p99_ms": percentile([x for s in running for x in s.lateness], 0.99) * 1e3,
            "variants": {s.variant: figures(s, running[0]) for s in running},
            "complaints": [line for s in running for line in complaints(s)],
        }


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--driver", choices=("asyncpg", "psycopg", "both"))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="length of a turn at the fixed rate")
    parser.add_argument(
        "--rate", type=float, help="requests/s; by default what keeps the bare service busy for 40 %%"
    )
    parser.add_argument(
        "--variants", default=",".join(DEFAULT_VARIANTS), help=f"of {', '.join(VARIANTS)}; bare comes first"
    )
    parser.add_argument(
        "--bind", action="store_true", help="bind each request to its user, where Trueline is on"
    )
    parser.add_argument(
        "--quick", action="store_true", help="asyncpg only, 3 rounds of 1.2 s: about 40 seconds"
    )
    parser.add_argument("--no-pin", action="store_true", help="do not give the service a core of its own")
    parser.add_argument(
        "--postgres", default="", help="libpq URL of a server to use instead of one of our own"
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    quick = arguments.quick
    arguments.driver = arguments.driver or ("asyncpg" if quick else "both")
    arguments.rounds = arguments.rounds or (3 if quick else 9)
    arguments.seconds = arguments.seconds or (1.2 if quick else 1.5)
    arguments.warm_up = 150 if quick else 600
    arguments.closed_seconds = min(1.0, arguments.seconds)
    arguments.variants = arguments.variants.split(",")
    if arguments.variants[0] != "bare" or not set(arguments.variants) <= set(VARIANTS):
        parser.error(f"--variants: bare first, then any of {', '.join(VARIANTS[1:])}")
    return arguments


def main() -> int:
    """Measure, print, complain."""
    arguments = parse()
    started = time.monotonic()
    load_before = os.getloadavg()
    on, others = cores(not arguments.no_pin)
    pin_to(0, others)  # PostgreSQL and the receiver inherit it
    drivers = ("asyncpg", "psycopg") if arguments.driver == "both" else (arguments.driver,)
    results = {}
    with postgres_server(arguments.postgres) as postgres:
        for driver in drivers:
            results[driver] = measure(arguments, driver, postgres, on, others)
    environment: dict[str, Any] = {
        "python": platform.python_version(),
        "sqlalchemy": sqlalchemy.__version__,
        "cores": os.cpu_count(),
        "service_pinned_to": sorted(on),
        "others_pinned_to": sorted(others),
        "load_average": [load_before[0], os.getloadavg()[0]],
    }
    print(
        f"Python {platform.python_version()}, SQLAlchemy {sqlalchemy.__version__}, {os.cpu_count()} cores; "
        f"service on {sorted(on)}, client, PostgreSQL and receiver on {sorted(others)}; "
        f"load average {load_before[0]:.1f} to {os.getloadavg()[0]:.1f}"
    )
    for driver, result in results.items():
        show(driver, result, rounds=arguments.rounds, seconds=arguments.seconds)
    if arguments.json:
        arguments.json.write_text(json.dumps({"environment": environment, "drivers": results}, indent=1))
    wrong = [f"{driver}: {line}" for driver, result in results.items() for line in result["complaints"]]
    for line in wrong:
        print(f"WRONG  {line}")
    say(f"{time.monotonic() - started:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
