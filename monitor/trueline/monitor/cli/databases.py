"""``trueline databases``: which process talks to which database, since when, by which variable."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from trueline.monitor.cli.since import check_since


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("databases")(databases)


def databases(
    environment: Annotated[str | None, typer.Option(help="Only there.")] = None,
    application: Annotated[str | None, typer.Option(help="Only that application.")] = None,
    service: Annotated[str | None, typer.Option(help="Only that service.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Seen since then: 24h, or a time.", callback=check_since)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
) -> None:
    """List which service, kind of process and version was seen on which database.

    Exit status: 0, 1 if none was seen, 2 for trouble.
    """
    from rich.table import Table
    from rich.text import Text

    from trueline.monitor.cli.client import ask
    from trueline.monitor.cli.console import make_console
    from trueline.monitor.cli.diagnose import clean

    chosen = {"environment": environment, "application": application, "service": service, "since": since}
    answer = ask("GET", "/api/v1/databases", params={name: value for name, value in chosen.items() if value})
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        raise typer.Exit(0 if answer["items"] else 1)
    if not answer["items"]:
        typer.echo("no process has told which database it reaches")
        raise typer.Exit(1)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (
        "application",
        "process",
        "database",
        "url",
        "from",
        "role",
        "reads",
        "writes",
        "since",
        "last",
    ):
        table.add_column(title, overflow="fold")
    for item in answer["items"]:
        kind = f" ({item['process_kind']})" if item["process_kind"] else ""
        schema = item["database_schema"]
        name = item["database_name"] or item["db_namespace"] or item["db_system"]
        cells = (
            f"{item['application'] or '-'} ({item['environment']})",
            f"{item['service']} {'/'.join(item['versions'])}".strip() + kind,
            f"{name}{f', schema {schema}' if schema not in ('', 'public') else ''} {item['database'][:8]}",
            item["database_url"],
            item["database_url_variable"] or "-",
            item["database_role"],
            str(item["reads"]),
            str(item["writes"]),
            item["first_seen"][:16].replace("T", " "),
            item["last_seen"][:16].replace("T", " "),
        )
        table.add_row(*(Text(clean(cell)) for cell in cells))
    console = make_console()
    console.print(table)
    for note in answer["notes"]:
        console.print(Text(f"\n{clean(note['sentence'])}", style="yellow"), soft_wrap=True)
    if answer["next"]:
        typer.echo("there are more: name an environment, an application or a service")
