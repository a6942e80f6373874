"""What a run of the lab shows: one line a scenario while it runs, then the scoreboard and its sums."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from scenarios.judge import Result


class Board:
    """Progress on the terminal. Called with a scenario's name and what has become of it."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=total)

    def __enter__(self) -> Board:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, scenario: str, state: str) -> None:
        self._progress.update(self._task, description=escape(f"{scenario} {state}".strip()))
        if state in ("found", "missed", "played", "trouble"):
            self._progress.advance(self._task)


def sums(results: Sequence[Result]) -> dict[str, Any]:
    """Recall, false findings, seconds and verdicts in numbers."""
    played = [one for one in results if not one.trouble]
    incidents = [one for one in played if one.scenario.expected]
    wanted = sum(len(one.scenario.expected) for one in incidents)
    found = wanted - sum(len(one.missed) for one in incidents)
    seconds = [one.seconds for one in incidents if one.seconds is not None]
    asked = [one for one in played if one.scenario.verdict is not None]
    return {
        "scenarios": len(results),
        "incidents": len(incidents),
        "twins": len(played) - len(incidents),
        "expected_findings": wanted,
        "found": found,
        "recall": found / wanted if wanted else None,
        "false_findings": sum(len(one.false) for one in played),
        "median_seconds": round(statistics.median(seconds), 2) if seconds else None,
        "longest_seconds": round(max(seconds), 2) if seconds else None,
        "verdicts_asked": len(asked),
        "verdicts_right": sum(one.verdict_is_right for one in asked),
        "one_incident_cause_first": sum(one.cause_is_first for one in incidents),
        "troubles": len(results) - len(played),
        "right": all(one.right for one in results),
    }


def show(console: Console, results: Sequence[Result]) -> None:
    """The scoreboard."""
    table = Table(title="Scenarios", title_justify="left")
    for name in ("scenario", "expected", "found in", "false", "verdict", "incident"):
        table.add_column(name, justify="right" if name == "found in" else "left", overflow="fold")
    about = ""
    for one in results:
        scenario = one.scenario
        if scenario.about != about:
            about = scenario.about
            table.add_section()
            table.add_row(f"[bold]{about}")
        found = "trouble" if one.trouble else "missed" if one.missed else "silent" if not one.false else ""
        if one.seconds is not None:
            found = f"{one.seconds:.1f} s"
        verdict = one.verdict or "-"
        if not one.verdict_is_right:
            verdict += f", not {scenario.verdict}"
        incident = " | ".join(" > ".join(rules) for rules in one.incidents)
        table.add_row(
            f"  {escape(scenario.name.partition('/')[2])}",
            " + ".join(expected.rule for expected in scenario.expected) or "nothing",
            found,
            str(len(one.false) or ""),
            verdict,
            incident,
            style="" if one.right else "bold red",
        )
    console.print(table)
    for one in results:
        if not one.right:
            console.print(f"[bold red]{escape(one.scenario.name)}[/]: {one.scenario.title}")
            for line in (one.trouble, *one.notes, *(f"false: {false}" for false in one.false)):
                if line:
                    console.print(f"    {line}", markup=False)
    total = sums(results)
    lines = (
        f"{total['found']} of {total['expected_findings']} findings, {total['false_findings']} false ones",
        f"on {total['scenarios']} scenarios ({total['twins']} benign twins)",
        f"found in {total['median_seconds']} s (median), {total['longest_seconds']} s (longest)",
        f"{total['verdicts_right']} of {total['verdicts_asked']} diagnoses right",
        f"{total['one_incident_cause_first']} of {total['incidents']} are one incident, cause first",
    )
    console.print(f"{lines[0]} {lines[1]}; {'; '.join(lines[2:])}", highlight=False)
