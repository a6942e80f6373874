"""A FastAPI service under load with Trueline and without, and with contrib's instrumentation as a peer.

    python benchmarks/guest.py [--quick] [--driver both] [--rounds 6] [--seconds 2.5] [--rate R] [--json FILE]

Load at a fixed rate (latencies count from when a request was due), then as fast as the service answers. The variants'
services run side by side and take turns in an order that rotates, so that whatever else the machine does hits all of
them. ``control`` is a second bare service: how far it is from ``bare`` is how far apart two equal things are here, and
no smaller difference means anything. Exits with 1 if a request failed or a span did not arrive.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy
from harness.figures import percentile, ratio_of_medians
from harness.postgres import postgres_server
from harness.processes import cores, pin_to
from harness.service import VARIANTS
from harness.turns import EXPORTING, Subject, requests, subjects

DEFAULT_VARIANTS = ("bare", "control", "traced", "trueline", "contrib")
QUANTILES = (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))
#: Of what the bare service can do: busy enough that a stall makes a queue, and far from saturation.
RATE_SHARE = 0.5


def say(text: str) -> None:
    """Progress goes to stderr."""
    print(text, file=sys.stderr, flush=True)


def measure(arguments: argparse.Namespace, driver: str, postgres: str, on: set[int], others: set[int]) -> dict[str, Any]:
    """Run every round on one driver; returns the figures of each variant."""
    mix = requests()
    with subjects(arguments.variants, driver, postgres, bind=arguments.bind, on=on, others=others) as running:
        for subject in running:
            subject.warm_up(mix)
        rate = arguments.rate or round(RATE_SHARE * running[0].calibrate(mix, arguments.closed_seconds))
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


def complaints(subject: Subject) -> list[str]:
    """Why this run is worth nothing, if it is."""
    found = subject.arrived.complaints(subject.variant)
    if subject.variant != "contrib":  # whose exporter may drop spans when nothing holds the load back
        found += subject.arrived_closed.complaints(subject.variant)
    if subject.errors:
        found.append(f"{subject.variant}: {subject.errors} requests failed")
    if subject.losses:
        found.append(f"{subject.variant}: losses {dict(subject.losses)}")
    return found


def figures(subject: Subject, bare: Subject) -> dict[str, Any]:
    """Everything about one variant; a name ends with its unit; ``_ratio`` is [ratio to bare, lower, upper end]."""
    found: dict[str, Any] = {"requests": sum(map(len, subject.latencies))}
    for name, ours, theirs, factor in (
        *((f"{n}_ms", quantiles(subject.latencies, q), quantiles(bare.latencies, q), 1e3) for n, q in QUANTILES),
        *((f"inside_{n}_ms", quantiles(subject.inside, q), quantiles(bare.inside, q), 1e3) for n, q in QUANTILES),
        ("cpu_us", subject.cpu, bare.cpu, 1e6),
        ("throughput", subject.throughput, bare.throughput, 1),
    ):
        found[name] = statistics.median(ours) * factor
        found[f"{name}_rounds"] = [value * factor for value in ours]
        found[f"{name}_ratio"] = ratio_of_medians(ours, theirs)
    found["background_us"] = statistics.median(subject.background_cpu) * 1e6
    found["waited_us"] = statistics.median(subject.waited) * 1e6
    found["longest_late_ms"] = max(subject.longest_late) * 1e3
    found["longest_hold_ms"] = max(subject.longest_hold) * 1e3
    found["hold_p999_ms"] = statistics.median(subject.hold_p999) * 1e3
    found["rss_start_mb"] = subject.memory[0][1] / 1e6
    found["rss_end_mb"] = subject.memory[-1][1] / 1e6
    found["rss_growth_kb_per_10000"] = growth(subject.memory)
    found["threads"] = subject.threads
    found["errors"] = subject.errors
    for name, arrived in (("fixed", subject.arrived), ("closed", subject.arrived_closed)):
        found[f"arrived_{name}"] = {
            "statements": arrived.statements,
            "expected": arrived.expected if subject.variant in EXPORTING else 0,
            "spans": arrived.spans,
            "bytes": arrived.bytes,
        }
    return found


def quantiles(rounds: Sequence[Sequence[float]], share: float) -> list[float]:
    """One value a round."""
    return [percentile(values, share) for values in rounds]


def growth(memory: Sequence[tuple[int, int]]) -> float:
    """Kilobytes for each 10,000 requests: the slope over the second half, when pools and caches are full."""
    later = memory[len(memory) // 2 :]
    if len(later) < 2:
        later = memory
    return statistics.linear_regression([n for n, _ in later], [b for _, b in later]).slope * 10


ROWS: tuple[tuple[str, str, str, str], ...] = (
    # title, figure, format, figure of the ratio
    ("p50 ms", "p50_ms", ".2f", "p50_ms_ratio"),
    ("p99 ms", "p99_ms", ".2f", "p99_ms_ratio"),
    ("p99.9 ms", "p999_ms", ".2f", "p999_ms_ratio"),
    ("CPU µs a request", "cpu_us", ".0f", "cpu_us_ratio"),
    ("  of it in the background", "background_us", ".0f", ""),
    ("  waiting for a core besides", "waited_us", ".0f", ""),
    ("requests/s, closed loop", "throughput", ".0f", "throughput_ratio"),
    ("CPU ms while inside, p50", "inside_p50_ms", ".2f", "inside_p50_ms_ratio"),
    ("  p99", "inside_p99_ms", ".2f", "inside_p99_ms_ratio"),
    ("longest hold of the loop ms", "longest_hold_ms", ".1f", ""),
    ("  p99.9 of holds", "hold_p999_ms", ".1f", ""),
    ("  latest at all, wall ms", "longest_late_ms", ".1f", ""),
    ("memory at start MB", "rss_start_mb", ".1f", ""),
    ("memory at end MB", "rss_end_mb", ".1f", ""),
    ("growth kB/10,000 requests", "rss_growth_kb_per_10000", ".0f", ""),
    ("threads", "threads", "d", ""),
    ("failed requests", "errors", "d", ""),
)


def show(driver: str, result: dict[str, Any], arguments: argparse.Namespace) -> None:
    """Print the table of one driver."""
    variants: dict[str, dict[str, Any]] = result["variants"]
    print(
        f"\n{driver}: {arguments.rounds} rounds of {arguments.seconds:g} s at {result['rate']:g} requests/s, "
        f"{result['statements_a_request']:.1f} statements a request; "
        f"times its value for bare, with the 95 % interval over rounds"
    )
    print(f"{'':<28}" + "".join(f"{name:>{12 if name == 'bare' else 28}}" for name in variants))
    for title, name, form, ratio in ROWS:
        cells = []
        for variant, row in variants.items():
            cell = format(row[name], form)
            if variant != "bare" and ratio:
                middle, low, high = row[ratio]
                cell += f"  x{middle:.2f} ({low:.2f}..{high:.2f})"
            cells.append(f"{cell:>{12 if variant == 'bare' else 28}}")
        print(f"{title:<28}" + "".join(cells))
    for title, name in (("statements arrived", "arrived_fixed"), ("  in the closed loop", "arrived_closed")):
        cells = []
        for variant, row in variants.items():
            cell = "{statements}/{expected}".format(**row[name]) if row[name]["expected"] else "-"
            cells.append(f"{cell:>{12 if variant == 'bare' else 28}}")
        print(f"{title:<28}" + "".join(cells))
    verdict(variants, result)


def verdict(variants: dict[str, dict[str, Any]], result: dict[str, Any]) -> None:
    """Say in words what the figures carry, and what they do not."""
    bare = variants["bare"]
    control = variants.get("control")
    print(f"The client itself was late by {result['client_late_p99_ms']:.2f} ms (p99).")
    if control is not None:
        _, low, high = control["p99_ms_ratio"]
        print(
            f"Two bare services differ in p99 by a factor of {low:.2f} to {high:.2f}: a difference within that is "
            f"not seen here. CPU is the surer figure (x{control['cpu_us_ratio'][0]:.3f} between the two)."
        )
    ours, peer = variants.get("trueline") or variants.get("adopted"), variants.get("contrib")
    if ours is None:
        return
    added = ours["cpu_us"] - bare["cpu_us"]
    text = f"Trueline adds {added:.0f} µs of CPU a request ({added / result['statements_a_request']:.0f} a statement)"
    if peer is not None and peer["cpu_us"] > bare["cpu_us"]:
        text += f", {added / (peer['cpu_us'] - bare['cpu_us']):.2f} of what contrib with the stock exporter adds"
    print(f"{text}; p99 {ours['p99_ms'] - bare['p99_ms']:+.2f} ms.")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--driver", choices=("asyncpg", "psycopg", "both"))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="length of a turn at the fixed rate")
    parser.add_argument("--rate", type=float, help="requests/s; by default half of what the bare service does")
    parser.add_argument(
        "--variants", default=",".join(DEFAULT_VARIANTS), help=f"of {', '.join(VARIANTS)}; bare comes first"
    )
    parser.add_argument("--bind", action="store_true", help="bind each request to its user, where Trueline is on")
    parser.add_argument("--quick", action="store_true", help="asyncpg only, 2 rounds of 1.5 s: about 40 seconds")
    parser.add_argument("--no-pin", action="store_true", help="do not give the service a core of its own")
    parser.add_argument("--postgres", default="", help="libpq URL of a server to use instead of one of our own")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    quick = arguments.quick
    arguments.driver = arguments.driver or ("asyncpg" if quick else "both")
    arguments.rounds = arguments.rounds or (2 if quick else 6)
    arguments.seconds = arguments.seconds or (1.5 if quick else 2.5)
    arguments.closed_seconds = min(1.5, arguments.seconds)
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
    environment = {
        "python": platform.python_version(),
        "sqlalchemy": sqlalchemy.__version__,
        "cores": os.cpu_count(),
        "service_pinned_to": sorted(on),
        "others_pinned_to": sorted(others),
        "load_average": [load_before[0], os.getloadavg()[0]],
    }
    print(
        "Python {python}, SQLAlchemy {sqlalchemy}, {cores} cores; service on {service_pinned_to}, client, PostgreSQL "
        "and receiver on {others_pinned_to}; load average {load_average[0]:.1f} to {load_average[1]:.1f}".format(
            **environment
        )
    )
    for driver, result in results.items():
        show(driver, result, arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps({"environment": environment, "drivers": results}, indent=1))
    wrong = [f"{driver}: {line}" for driver, result in results.items() for line in result["complaints"]]
    for line in wrong:
        print(f"WRONG  {line}")
    say(f"{time.monotonic() - started:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
