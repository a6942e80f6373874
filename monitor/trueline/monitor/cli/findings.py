"""``trueline findings``: what the rules found, one finding in full, acknowledge, resolve, comment."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

_JSON = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]
_WHO = Annotated[str, typer.Option("--by", metavar="NAME", envvar="USER", help="Who does it.")]
_WHY = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why.")]
_ID = Annotated[str, typer.Argument(metavar="ID", help="The finding's id, or its beginning.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    findings = typer.Typer(
        help="What the rules found. Exit status: 0, 1 if there is no such finding, 2 if the monitor cannot "
        "be asked."
    )
    findings.callback(invoke_without_command=True)(list_findings)
    findings.command("show")(show)
    findings.command("ack")(acknowledge)
    findings.command("resolve")(resolve)
    findings.command("comment")(comment)
    app.add_typer(findings, name="findings")


def list_findings(
    context: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option(help="open, acknowledged, reopened, resolved, or active for the first three."),
    ] = None,
    rule: Annotated[list[str] | None, typer.Option(help="A rule's id.")] = None,
    severity: Annotated[list[str] | None, typer.Option(help="critical, error, warning or info.")] = None,
    environment: Annotated[str | None, typer.Option(help="An environment.")] = None,
    service: Annotated[str | None, typer.Option(help="A service.")] = None,
    since: Annotated[str | None, typer.Option(help="Last seen since then: 24h, or a time.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, at most.")] = 50,
    as_json: _JSON = False,
) -> None:
    """List findings, last seen first."""
    if context.invoked_subcommand is not None:
        return
    from trueline.monitor.cli.client import ask

    chosen = {
        "state": state,
        "rule": rule,
        "severity": severity,
        "environment": environment,
        "service": service,
        "since": since,
        "limit": limit,
    }
    answer = ask("GET", "/api/v1/findings", params={name: value for name, value in chosen.items() if value})
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    _table(answer)


def show(finding_id: _ID, as_json: _JSON = False) -> None:
    """Print one finding in full, with its evidence."""
    finding = _find(finding_id)
    if as_json:
        typer.echo(json.dumps(finding, indent=2))
        return
    from trueline.monitor.cli.console import make_console
    from trueline.monitor.render import render_finding

    render_finding(finding, make_console())


def acknowledge(finding_id: _ID, by: _WHO = "", why: _WHY = "") -> None:
    """Take a finding on."""
    _change(finding_id, "acknowledge", by, why)


def resolve(finding_id: _ID, by: _WHO = "", why: _WHY = "") -> None:
    """Say that a finding is mended; it reopens when it is seen again."""
    _change(finding_id, "resolve", by, why)


def comment(finding_id: _ID, text: Annotated[str, typer.Argument(help="The remark.")], by: _WHO = "") -> None:
    """Add a remark to a finding."""
    _change(finding_id, "comment", by, text)


def _change(finding_id: str, verb: str, who: str, why: str) -> None:
    from trueline.monitor.cli.client import ask

    found = _find(finding_id)
    finding = ask("POST", f"/api/v1/findings/{found['id']}/{verb}", body={"who": who, "why": why})
    typer.echo(f"finding {finding['id']} is {finding['state']}")


def _find(finding_id: str) -> dict[str, Any]:
    """The finding with this id, or the only one whose id begins so; status 1 if there is none."""
    from urllib.parse import quote

    from trueline.monitor.cli.client import MonitorError, NotThereError, ask

    try:
        found: dict[str, Any] = ask("GET", f"/api/v1/findings/{quote(finding_id, safe='')}")
    except NotThereError as missing:
        page = ask("GET", "/api/v1/findings", params={"limit": 200})
        ids = [item["id"] for item in page["items"] if item["id"].startswith(finding_id)]
        if len(ids) > 1:
            either = " or ".join(ids[:3])
            raise MonitorError(f"{finding_id} may be {either}: write more of the id.") from None
        if not ids:
            typer.echo(f"trueline: {missing}", err=True)
            raise typer.Exit(1) from None
        found = ask("GET", f"/api/v1/findings/{ids[0]}")
    return found


def _table(answer: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from trueline.monitor.cli.console import make_console

    if not answer["items"]:
        typer.echo("no findings")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("id", "severity", "state", "last seen", "count"):
        table.add_column(title, no_wrap=True)
    table.add_column("what", overflow="fold")
    for item in answer["items"]:
        seen = item["last_seen"][:19].replace("T", " ")
        # Text: what services say is never taken for markup.
        what = Text(f"{item['rule']}: {item['summary']}")
        table.add_row(item["id"], item["severity"], item["state"], seen, str(item["count"]), what)
    make_console().print(table)
    if answer["next"]:
        typer.echo("there are more: --limit, or a filter")
