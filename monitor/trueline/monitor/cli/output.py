"""What the commands about findings share: who acts, JSON, times as people read them, tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print the API's JSON, for scripts.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", envvar="USER", help="Who does it.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why; it is kept in the history.")]


def print_json(answer: Any) -> None:
    """Print an answer of the API as it is."""
    typer.echo(json.dumps(answer, indent=2))


def moment(text: str) -> datetime:
    """A time of the API."""
    return datetime.fromisoformat(text).astimezone(UTC)


def ago(text: str, now: datetime | None = None) -> str:
    """How long ago, in one unit: ``4 min ago``; ``in 2 h`` for what is to come."""
    seconds = ((now or datetime.now(UTC)) - moment(text)).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= size:
            number = int(abs(seconds) // size)
            return f"{number} {unit} ago" if seconds > 0 else f"in {number} {unit}"
    return "just now" if seconds >= 0 else "in a moment"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns, the last one wrapped. What services say is never taken for markup."""
    from rich.table import Table
    from rich.text import Text

    from trueline.monitor.cli.console import make_console

    made = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles[:-1]:
        made.add_column(title, no_wrap=True)
    made.add_column(titles[-1], overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    make_console().print(made)


_STYLES = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "blue"}
