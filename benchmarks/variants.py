"""Variants that take turns, each in a process of its own, and the medians of what they print."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence

Figures = dict[str, dict[str, float]]

# With a secret, as in production: without one identities would be left out and nothing hashed.
ENVIRONMENT = {**os.environ, "TRUELINE_HASH_SECRET": "benchmark"}


def take_turns(
    script: str, variants: Sequence[str], arguments: Sequence[str], rounds: int, label: str = ""
) -> Figures:
    """Run ``script --child VARIANT`` for each variant, ``rounds`` times in turn.

    A child prints one JSON object of numbers as its last line; the result holds the medians. The first
    variant to run changes with each round, so that none always follows the same one.
    """
    seen: dict[str, dict[str, list[float]]] = {variant: {} for variant in variants}
    for number in range(rounds):
        shift = number % len(variants)
        for variant in (*variants[shift:], *variants[:shift]):
            command = [sys.executable, script, "--child", variant, *arguments]
            result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=ENVIRONMENT)
            for name, value in json.loads(result.stdout.splitlines()[-1]).items():
                seen[variant].setdefault(name, []).append(value)
        print(f"{label} round {number + 1}/{rounds}", file=sys.stderr)
    return {
        variant: {name: statistics.median(values) for name, values in figures.items()}
        for variant, figures in seen.items()
    }


def print_added(title: str, medians: Figures, *, base: str, peer: str) -> None:
    """Print µs a statement, what each variant adds to ``base``, and its ratio to what ``peer`` adds."""
    print(f"\n{title}")
    print(f"  {'µs a statement':<16}{'wall':>8}{'cpu':>8}{'added cpu':>12}{'ratio to ' + peer:>20}")
    added_by_peer = medians[peer]["cpu"] - medians[base]["cpu"]
    for variant, figures in medians.items():
        added = figures["cpu"] - medians[base]["cpu"]
        ratio = "" if variant in (base, peer) else f"{added / added_by_peer:.2f}"
        wall, cpu = figures["wall"] * 1e6, figures["cpu"] * 1e6
        print(f"  {variant:<16}{wall:>8.1f}{cpu:>8.1f}{added * 1e6:>12.1f}{ratio:>20}")
