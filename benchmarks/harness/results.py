"""From what was measured on the running variants to figures, and to what makes a run worthless."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from harness.figures import median_ratio, percentile
from harness.turns import EXPORTING, Subject

QUANTILES = (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))


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
    """Everything about one variant; a name ends with its unit; ``_ratio``: to bare, lower, upper end."""
    found: dict[str, Any] = {"requests": sum(map(len, subject.latencies))}
    for name, ours, theirs, factor in (
        *(
            (f"{n}_ms", quantiles(subject.latencies, q), quantiles(bare.latencies, q), 1e3)
            for n, q in QUANTILES
        ),
        *(
            (f"inside_{n}_ms", quantiles(subject.inside, q), quantiles(bare.inside, q), 1e3)
            for n, q in QUANTILES
        ),
        ("cpu_us", subject.cpu, bare.cpu, 1e6),
        ("throughput", subject.throughput, bare.throughput, 1),
    ):
        found[name] = statistics.median(ours) * factor
        found[f"{name}_rounds"] = [value * factor for value in ours]
        found[f"{name}_ratio"] = median_ratio(ours, theirs)
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
