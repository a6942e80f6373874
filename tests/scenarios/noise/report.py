"""What a run shows: a bar while it goes on, then a table of the rules and what was missed or false."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from scenarios.noise.run import Outcome


@contextmanager
def bar(console: Console, title: str) -> Iterator[Callable[[float], None]]:
    """A progress bar, or a line each tenth where nobody looks; called with the share that is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    said = 0

    def tell(share: float) -> None:
        nonlocal said
        progress.update(task, completed=share)
        if not console.is_terminal and share * 10 >= said + 1:
            said = int(share * 10)
            print(f"{title}: {share:.0%} at {time.strftime('%H:%M:%S')}", flush=True)

    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=1.0)
        yield tell


def show(console: Console, name: str, outcome: Outcome) -> None:
    """Print a run: its table, and everything that is not as it should be."""
    seen, verdict = outcome.seen, outcome.verdict
    expected = Counter(one.expected.rule for one in outcome.incidents)
    missed = Counter(one.expected.rule for one in verdict.missed)
    false = Counter(one.rule for one in verdict.false)
    found = Counter(one.rule for one in seen.findings)
    table = Table(title=f"{name}: {seen.statements:,} statements", title_justify="left")
    for column in (
        "rule",
        "findings",
        "expected",
        "missed",
        "false",
        "evaluations",
        "retried",
        "CPU s",
        "slowest ms",
    ):
        table.add_column(column, justify="left" if column == "rule" else "right")
    for rule in outcome.rules:
        cost = seen.costs[rule.id]
        table.add_row(
            rule.id + (" (experimental)" if rule.id in outcome.experimental else ""),
            *(str(found[rule.id]), str(expected[rule.id]), str(missed[rule.id]), str(false[rule.id])),
            *(
                str(cost.evaluations),
                str(seen.retried[rule.id]),
                f"{cost.cpu:.1f}",
                f"{cost.slowest * 1000:.0f}",
            ),
        )
    console.print(table)
    console.print(
        f"{seen.made_cpu:.0f} CPU s to make, {seen.judged_cpu:.0f} to judge, {seen.wall:.0f} s in all "
        f"(load {os.getloadavg()[0]:.1f}); {seen.withheld} groups withheld for losses.",
        highlight=False,
    )
    for incident in verdict.missed:
        console.print(f"MISSED {incident.name}: {incident.expected}", style="red", markup=False)
    for finding in verdict.false:
        console.print(f"FALSE {finding.rule}: {finding.texts.summary}", style="red", markup=False)
    for error in verdict.errors[:10]:
        console.print(f"ERROR {error}", style="red", markup=False)
    for finding in seen.findings:
        if finding.rule in outcome.experimental:
            console.print(
                f"experimental, {finding.rule}: {finding.texts.summary}", style="yellow", markup=False
            )


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """A run as JSON values."""
    settings, seen = outcome.settings, outcome.seen
    return {
        "statements": seen.statements,
        "made": settings.statements,
        "hours": settings.length.total_seconds() / 3600,
        "step_seconds": settings.step.total_seconds(),
        "seed": settings.seed,
        "sample": settings.sample,
        "incidents": len(outcome.incidents),
        "made_cpu_s": round(seen.made_cpu, 1),
        "judged_cpu_s": round(seen.judged_cpu, 1),
        "wall_s": round(seen.wall, 1),
        "withheld": seen.withheld,
        "rules": {
            rule: {
                "findings": sum(one.rule == rule for one in seen.findings),
                "evaluations": cost.evaluations,
                "retried": seen.retried[rule],
                "cpu_s": round(cost.cpu, 2),
                "slowest_ms": round(cost.slowest * 1000),
            }
            for rule, cost in sorted(seen.costs.items())
        },
        **outcome.verdict.as_dict(),
    }
