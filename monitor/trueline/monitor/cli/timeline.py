"""``trueline timeline``: what happened, step by step over all services, for a finding or a trace."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("timeline")(timeline)


def timeline(
    what: Annotated[
        str, typer.Argument(metavar="FINDING|TRACE", help="A finding's id or its beginning, or a trace id.")
    ],
    limit: Annotated[int, typer.Option(min=10, max=2000, help="Steps at most.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
) -> None:
    """Show spans and log lines of all services in one order, with each transaction's span of life.

    Exit status: 0, 1 if there is no such finding or trace, 2 for trouble.
    """
    from urllib.parse import quote

    from trueline.monitor.cli.client import NotThereError, ask

    if re.fullmatch("[0-9a-fA-F]{32}", what):
        path = f"/api/v1/traces/{what}/timeline"
    else:
        path = f"/api/v1/findings/{quote(_finding(what), safe='')}/timeline"
    try:
        answer = ask("GET", path, params={"limit": limit})
    except NotThereError as missing:
        typer.echo(f"trueline: {missing}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    show(answer)


def _finding(beginning: str) -> str:
    """The id of the only finding that begins so; what was typed if there is none."""
    from trueline.monitor.cli.client import MonitorError, ask

    page = ask("GET", "/api/v1/findings", params={"limit": 200})
    ids = [item["id"] for item in page["items"] if item["id"].startswith(beginning)]
    if len(ids) > 1 and beginning not in ids:
        raise MonitorError(f"{beginning} may be {' or '.join(ids[:3])}: write more of the id.")
    return str(ids[0]) if ids and beginning not in ids else beginning


def show(answer: dict[str, Any]) -> None:
    """Print a timeline for people."""
    import textwrap

    from rich.text import Text

    from trueline.monitor.cli.console import make_console
    from trueline.monitor.cli.diagnose import clean

    console = make_console()
    width = max(min(console.width, 120), 60)

    def say(head: str, text: str, style: str = "") -> None:
        room = max(width - len(head), 30)
        for line in textwrap.wrap(clean(text), room, break_long_words=False, break_on_hyphens=False) or [""]:
            console.print(Text(head + line, style=style), soft_wrap=True)
            head = re.sub(r"[^│]", " ", head)

    say("", answer["title"], "bold")
    begin = answer["begin"][:23].replace("T", " ").rstrip("Z")
    say("", f"from {begin} UTC · {', '.join(answer['services'])}", "dim")
    console.print(Text("\nIN SHORT", style="bold cyan"))
    for trace in answer["traces"]:
        say(f"  {trace['label']}  ", trace["sentence"])
        say("     ", f"trace {trace['trace_id']}", "dim")
    console.print(Text("\nSTEP BY STEP", style="bold cyan"))
    wide = max((len(_who(step)) for step in answer["steps"]), default=0)
    several = len(answer["traces"]) > 1
    for step in answer["steps"]:
        mark = ">" if step["named"] else ("!" if step["bad"] else " ")
        label = f"{step['trace'] or ' '} " if several else ""
        head = f"{mark} {_offset(step['offset_ms']):>10}  {label}{_who(step):<{wide}}  {_lane(step)}"
        text = step["text"]
        if step["count"] > 1:
            text += f" (x {step['count']})"
        if step["duration_ms"] >= 100 and step["kind"] != "gap":
            text += f" [{_length(step['duration_ms'])}]"
        say(head, text, "dim" if step["kind"] == "gap" else "red" if step["bad"] else "")
    console.print()
    notes = ["> proves the finding"] if any(step["named"] for step in answer["steps"]) else []
    notes += (
        ["! an error, or a write that is not there"] if any(step["bad"] for step in answer["steps"]) else []
    )
    notes += ["│ inside a transaction"] if any(step["within"] for step in answer["steps"]) else []
    if notes:
        say("  ", "; ".join(notes), "dim")
    if answer["left_out"]:
        say("  ", f"{answer['left_out']} more spans and log lines are left out (--limit, --json)", "dim")


def _who(step: dict[str, Any]) -> str:
    return f"{step['service']} {step['version']}".strip()


def _lane(step: dict[str, Any]) -> str:
    """The transaction's span of life as a line at the left of what happens in it."""
    outer = "│ " * int(step["within"])
    if step["kind"] == "transaction" and step["phase"]:
        return outer + ("┌ " if step["phase"] == "begins" else "└ ")
    return outer or "  "


def _offset(milliseconds: float) -> str:
    seconds = milliseconds / 1000
    if seconds < 120:
        return f"+{seconds:.3f} s"
    if seconds < 7200:
        return f"+{seconds / 60:.1f} min"
    return f"+{seconds / 3600:.1f} h"


def _length(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
