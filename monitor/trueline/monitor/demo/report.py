"""What the demo tells the person in front of it: what is happening, then the result."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from trueline.monitor.demo.judge import Verdict

#: Columns of the tables where the output is no terminal.
PIPED_WIDTH = 126


class Report:
    """Progress and result. ``as_json``: progress on standard error, one document on standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._start = time.monotonic()
        console = Console(stderr=as_json, highlight=False)
        self.console = console if console.is_terminal else Console(stderr=as_json, width=PIPED_WIDTH)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def step(self, what: str) -> None:
        """Say what has happened."""
        self.console.print(f"[dim]{self.seconds:5.1f} s[/]  {what}", soft_wrap=True, highlight=False)

    def result(self, verdict: Verdict, finding: dict[str, Any] | None, monitor_url: str) -> None:
        """Show the tables and one finding in full, or print the JSON document."""
        if self._json:
            document = {
                **verdict.as_dict(),
                "seconds": round(self.seconds, 1),
                "monitor": monitor_url,
                "finding": finding,
            }
            json.dump(document, sys.stdout, indent=2)
            sys.stdout.write("\n")
            sys.stdout.flush()
            return
        self.console.print()
        self.console.print(_incidents(verdict))
        self.console.print(_twins(verdict))
        for finding_id in verdict.unexpected:
            self.console.print(
                f"[red]unexpected finding {finding_id}[/]: it belongs to nothing that was played"
            )
        if finding is not None:
            # Here, so that a demo that fails earlier does not load it.
            from trueline.monitor.render import render_finding

            self.console.print("\nOne of the findings in full, as `trueline findings show` prints it:\n")
            render_finding(finding, self.console)


def _incidents(verdict: Verdict) -> Table:
    table = Table(title="Incidents", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("incident")
    table.add_column("application")
    table.add_column("expected")
    table.add_column("found")
    table.add_column("seconds", justify="right")
    table.add_column("what follows from it")
    for result in verdict.incidents:
        table.add_row(
            result.title,
            result.place.application,
            result.place.rule,
            "[green]found[/]" if result.right else "[bold red]nothing[/]",
            "" if result.seconds is None else f"{result.seconds:.1f}",
            ", ".join(sorted({rule for _, rule in result.consequences})),
        )
    return table


def _twins(verdict: Verdict) -> Table:
    table = Table(title="Benign twins", title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("what looks like it")
    table.add_column("looks like")
    table.add_column("expected")
    table.add_column("found")
    table.add_column("why it is none")
    for result in verdict.twins:
        table.add_row(
            result.title,
            result.place.rule,
            "nothing",
            "[green]nothing[/]" if result.right else f"[bold red]{', '.join(result.findings)}[/]",
            result.why,
        )
    return table
