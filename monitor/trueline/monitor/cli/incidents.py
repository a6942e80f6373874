"""``trueline incidents``: findings that have one cause, told as one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trueline.monitor.cli.output import Json, ago, print_json, table


def register(app: typer.Typer) -> None:
    """Add the commands."""
    incidents = typer.Typer(
        help="Findings that have one cause, told as one, the likely cause first. Exit status: 0, 1 if there "
        "is no such incident, 2 if the monitor cannot be asked or refuses."
    )
    incidents.callback(invoke_without_command=True)(list_incidents)
    incidents.command("list")(list_incidents)
    incidents.command("show")(show)
    app.add_typer(incidents, name="incidents")


def list_incidents(
    context: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option(help="open, acknowledged, reopened, resolved, active (the default) or all."),
    ] = None,
    environment: Annotated[str | None, typer.Option(help="An environment.")] = None,
    service: Annotated[str | None, typer.Option(help="A service.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="The next page, as the last one said.")] = None,
    as_json: Json = False,
) -> None:
    """List incidents, last seen first."""
    if context.invoked_subcommand is not None:
        return
    from trueline.monitor.cli.client import ask

    chosen = {
        "state": [one for one in state or ["active"] if one != "all"],
        "environment": environment,
        "service": service,
        "limit": limit,
        "cursor": cursor,
    }
    answer = ask("GET", "/api/v1/incidents", params={name: value for name, value in chosen.items() if value})
    if as_json:
        print_json(answer)
        return
    if not answer["items"]:
        typer.echo("no incidents" + ("" if state else " are open; --state all shows resolved ones too"))
        return
    table(
        ("id", "severity", "state", "last seen", "findings", "likely cause"),
        (
            (
                one["id"],
                one["severity"],
                one["state"],
                ago(one["last_seen"]),
                str(len(one["findings"])),
                one["summary"],
            )
            for one in answer["items"]
        ),
    )
    typer.echo("\none in full: trueline incidents show ID")
    if answer["next"]:
        typer.echo(f"there are more: --limit, or --cursor {answer['next']}")


def show(
    incident_id: Annotated[str, typer.Argument(metavar="ID", help="The incident's id.")],
    as_json: Json = False,
) -> None:
    """Print one incident: its likely cause, and what follows from it."""
    from urllib.parse import quote

    from trueline.monitor.cli.client import NotThereError, ask

    try:
        incident = ask("GET", f"/api/v1/incidents/{quote(incident_id, safe='')}")
    except NotThereError as missing:
        typer.echo(f"trueline: {missing}", err=True)
        raise typer.Exit(1) from None
    if as_json:
        print_json(incident)
        return
    _print(incident)


def _print(incident: dict[str, Any]) -> None:
    from trueline.monitor.cli.console import make_console
    from trueline.monitor.render import render_incident

    render_incident(incident, make_console())
