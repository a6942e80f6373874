"""``trueline rules history``: when a rule watched, when it failed, and what it could not be sure of."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trueline.monitor.cli.since import check_since

if TYPE_CHECKING:
    from rich.text import Text

_WORDS: Final = {
    "ok": ("watched", "green"),
    "error": ("failed, tried again", "bold red"),
    "skipped": ("given up", "red"),
    "clock": ("clock went back", "yellow"),
    "none": ("nobody watched", "bold red"),
}


def history(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The id of a rule.")],
    since: Annotated[str, typer.Option(help="From when on: 24h, or a time.", callback=check_since)] = "24h",
    result: Annotated[str | None, typer.Option(help="Only ok, error, skipped or clock.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Stretches at most.")] = 40,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
) -> None:
    """Show when a rule was evaluated and how that went: whether it was watching at that time.

    Exit status: 0, 1 if arrivals of that time were not judged, 2 for trouble.
    """
    from rich.table import Table

    from trueline.monitor.cli.client import ask
    from trueline.monitor.cli.console import make_console

    chosen = {"since": since, "limit": str(limit), **({"result": result} if result else {})}
    answer = ask("GET", f"/api/v1/rules/{rule}/history", params=chosen)
    missed = answer["skipped_seconds"] > 0 or any(item["result"] == "none" for item in answer["items"])
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        raise typer.Exit(1 if missed else 0)
    console = make_console()
    if not answer["items"]:
        typer.echo(f"{rule} was not evaluated since {_time(answer['since'])}")
        raise typer.Exit(1)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, side in (
        ("arrivals from", "left"),
        ("until", "left"),
        ("", "left"),
        ("runs", "right"),
        ("found", "right"),
        ("slowest", "right"),
    ):
        table.add_column(title, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("said", overflow="fold")
    for item in answer["items"]:
        table.add_row(
            _time(item["start"]),
            _time(item["end"]),
            _word(item["result"]),
            str(item["runs"]),
            str(item["rows"]),
            f"{item['slowest_ms']:.0f} ms",
            _said(item),
        )
    console.print(table)
    skipped = f", {answer['skipped_seconds']:.0f} s given up" if answer["skipped_seconds"] else ""
    errors = f", {answer['errors']} runs failed" if answer["errors"] else ""
    judged = f"{answer['judged_seconds']:.0f} s of arrivals judged{skipped}{errors}"
    typer.echo(f"\nsince {_time(answer['since'])}: {judged}, in {answer['seconds_spent']:.1f} s of work")
    if answer["next"]:
        typer.echo("there is more: give a higher --limit or a later --since")
    raise typer.Exit(1 if missed else 0)


def _word(result: str) -> Text:
    from rich.text import Text

    return Text(*_WORDS.get(result, (result, "")))


def _said(item: dict[str, Any]) -> Text:
    from rich.text import Text

    from trueline.monitor.cli.diagnose import clean

    withheld = f"{item['withheld']} groups withheld" if item["withheld"] else ""
    return Text(clean("; ".join(part for part in (item["error"], withheld, item["note"]) if part)))


def _time(moment: str) -> str:
    return datetime.fromisoformat(moment).strftime("%m-%d %H:%M:%S")
