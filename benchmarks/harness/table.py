"""The figures of one driver as a table for people, and what they carry and do not carry in words."""

from __future__ import annotations

import statistics
from typing import Any

#: Share of its own median latency that the bare service waited for a core, beyond which others are to blame.
DISTURBED = 0.1
#: Title, figure, format, and whether its ratio to bare is shown.
ROWS: tuple[tuple[str, str, str, bool], ...] = (
    ("p50 ms", "p50_ms", ".2f", True),
    ("p99 ms", "p99_ms", ".2f", True),
    ("p99.9 ms", "p999_ms", ".2f", True),
    ("CPU µs a request", "cpu_us", ".0f", True),
    ("  of it in the background", "background_us", ".0f", False),
    ("  waiting for a core besides", "waited_us", ".0f", False),
    ("requests/s, closed loop", "throughput", ".0f", True),
    ("CPU ms while inside, p50", "inside_p50_ms", ".2f", True),
    ("  p99", "inside_p99_ms", ".2f", True),
    ("longest hold of the loop ms", "longest_hold_ms", ".1f", False),
    ("  p99.9 of holds", "hold_p999_ms", ".1f", False),
    ("  latest at all, wall ms", "longest_late_ms", ".1f", False),
    ("memory at start MB", "rss_start_mb", ".1f", False),
    ("memory at end MB", "rss_end_mb", ".1f", False),
    ("growth kB/10,000 requests", "rss_growth_kb_per_10000", ".0f", False),
    ("threads", "threads", "d", False),
    ("failed requests", "errors", "d", False),
)


def show(driver: str, result: dict[str, Any], *, rounds: int, seconds: float) -> None:
    """Print the table of one driver."""
    variants: dict[str, dict[str, Any]] = result["variants"]
    print(
        f"\n{driver}: {rounds} rounds of {seconds:g} s at {result['rate']:g} requests/s, "
        f"{result['statements_a_request']:.1f} statements a request; medians over rounds, "
        "and times the bare service in the same round, with the 95 % interval"
    )
    print(f"{'':<28}" + "".join(_cell(name, name) for name in variants))
    for title, name, form, has_ratio in ROWS:
        print(
            f"{title:<28}"
            + "".join(
                _cell(v, _figure(row, name, form, has_ratio and v != "bare")) for v, row in variants.items()
            )
        )
    for title, name in (("statements arrived", "arrived_fixed"), ("  in the closed loop", "arrived_closed")):
        print(f"{title:<28}" + "".join(_cell(v, _arrived(row[name])) for v, row in variants.items()))
    for line in verdict(variants, result):
        print(line)


def _cell(variant: str, text: str) -> str:
    return f"{text:>{10 if variant == 'bare' else 27}}"


def _figure(row: dict[str, Any], name: str, form: str, has_ratio: bool) -> str:
    text = format(row[name], form)
    if has_ratio:
        middle, low, high = row[f"{name}_ratio"]
        text += f"  x{middle:.2f} ({low:.2f}..{high:.2f})"
    return text


def _arrived(arrived: dict[str, int]) -> str:
    return f"{arrived['statements']}/{arrived['expected']}" if arrived["expected"] else "-"


def added(ours: dict[str, Any], base: dict[str, Any], name: str) -> float:
    """The median over rounds of what ``ours`` has more than ``base``."""
    rounds: list[float] = ours[f"{name}_rounds"]
    return float(
        statistics.median(one - other for one, other in zip(rounds, base[f"{name}_rounds"], strict=True))
    )


def verdict(variants: dict[str, dict[str, Any]], result: dict[str, Any]) -> list[str]:
    """Sentences."""
    bare, control = variants["bare"], variants.get("control")
    found = []
    disturbance = bare["waited_us"] / 1e3 / bare["p50_ms"]
    if disturbance > DISTURBED or result["client_late_p99_ms"] > bare["p50_ms"]:
        found.append(
            f"DISTURBED: the bare service waited {bare['waited_us'] / 1e3:.1f} ms a request for its core, "
            f"and the client was late by {result['client_late_p99_ms']:.1f} ms (p99). Other processes made "
            "the latencies; CPU and holds still say something."
        )
    if control is not None:
        found.append(
            "Two bare services side by side differ by "
            + ", ".join(
                f"x{control[f'{name}_ratio'][1]:.2f}..{control[f'{name}_ratio'][2]:.2f} in {title}"
                for title, name in (("p99", "p99_ms"), ("CPU", "cpu_us"))
            )
            + ": a smaller difference is not seen here."
        )
    ours, peer = variants.get("trueline") or variants.get("adopted"), variants.get("contrib")
    if ours is None:
        return found
    found.append(
        f"Trueline adds {added(ours, bare, 'cpu_us'):.0f} µs of CPU and "
        f"{added(ours, bare, 'p99_ms'):+.2f} ms to p99 of a request, with everything that it switches on."
    )
    traced = variants.get("traced")
    if traced is not None and peer is not None:
        own, of_peer = added(ours, traced, "cpu_us"), added(peer, traced, "cpu_us")
        found.append(
            f"Of that, {added(traced, bare, 'cpu_us'):.0f} µs are FastAPI's own spans, which any "
            f"provider switches on. Beyond them Trueline adds {own:.0f} µs a request "
            f"({own / result['statements_a_request']:.0f} a statement), "
            f"contrib with the stock exporter {of_peer:.0f} µs"
            + (f": a ratio of {own / of_peer:.2f}." if of_peer > 0 else ".")
        )
    return found
