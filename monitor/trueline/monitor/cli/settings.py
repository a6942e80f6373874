"""``trueline settings``: every setting, its value, and where the value came from."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("settings")(settings)


def settings(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Print every setting with its value (secrets masked), where it came from, and its meaning."""
    import json

    from trueline.monitor.settings import describe, load_settings

    lines = describe(load_settings())
    if as_json:
        typer.echo(json.dumps([line.model_dump() for line in lines], indent=2))
        return
    from rich.table import Table

    from trueline.monitor.cli.console import make_console

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("variable", "value", "from", "meaning"):
        table.add_column(title, overflow="fold")
    for line in lines:
        table.add_row(line.variable, line.value or "-", line.origin, line.help)
    make_console().print(table)
