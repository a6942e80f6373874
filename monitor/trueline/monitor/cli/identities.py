"""``trueline identities``: one identity's life: what was written and read, where, by which key."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from trueline.monitor.cli.since import check_since


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("identities")(identities)


def identities(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The identity, as the application has it.")],
    domain: Annotated[str, typer.Option(help="What it identifies: user, tenant, message ...")] = "user",
    environment: Annotated[str, typer.Option(help="Only there.")] = "",
    since: Annotated[
        str, typer.Option(help="From when on: 24h, 30d, or a time.", callback=check_since)
    ] = "7d",
    until: Annotated[str, typer.Option(help="Until when.")] = "",
    plain: Annotated[
        bool, typer.Option("--plain", help="The services declare the domain plain: send the value as it is.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
) -> None:
    """Show what was written and read of one identity, by table, key, database and outcome.

    The value is hashed here, with TRUELINE_HASH_SECRET as the services have it; only the hash is sent.
    Exit status: 0, 1 if nothing is known of it, 2 for trouble.
    """
    from trueline.monitor.cli.client import ask
    from trueline.monitor.cli.hashing import exported

    asked = {"domain": domain, "environment": environment, "since": since, "until": until}
    if plain:
        answer = ask("POST", "/api/v1/identities/lookup", body={"identity": identity, **asked})
    else:
        value, key_id = exported(identity, domain)
        answer = ask("GET", f"/api/v1/identities/{value}", params={**asked, "key_id": key_id})
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        _show(answer)
    raise typer.Exit(0 if answer["uses"] else 1)


def _show(answer: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from trueline.monitor.cli.console import make_console
    from trueline.monitor.cli.diagnose import clean, show_tables

    console = make_console()
    if not answer["uses"]:
        typer.echo(answer["hint"])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in (
        "table",
        "access",
        "key",
        "service",
        "database",
        "outcome",
        "count",
        "no row",
        "last (UTC)",
    ):
        table.add_column(title, overflow="fold")
    for use in answer["uses"]:
        key = (
            f"{use['column'].rpartition('.')[2]} ({use['encoding']})"
            if use["column"]
            else f"({use['clause']})"
        )
        cells = (
            use["table"],
            use["access"],
            key,
            f"{use['service']} {'/'.join(use['versions'])}".strip(),
            use["database_name"] or use["database"],
            use["outcome"].replace("_", " "),
            str(use["count"]),
            str(use["without_rows"] or ""),
            use["last"][:19].replace("T", " "),
        )
        table.add_row(*(Text(clean(cell)) for cell in cells))
    console.print(table)
    show_tables(console, answer["tables"])
