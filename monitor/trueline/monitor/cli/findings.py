"""``trueline findings``: what the rules found, one finding in full, its history, and what people do to it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trueline.monitor.cli.output import By, Json, Why, ago, print_json, table
from trueline.monitor.cli.since import check_since

_ID = Annotated[str, typer.Argument(metavar="ID", help="The finding's id, or its beginning.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    findings = typer.Typer(
        help="What the rules found. Without a command: list what is not resolved. Exit status: 0, 1 if there "
        "is no such finding (with --fail: if there is any), 2 if the monitor cannot be asked or refuses, 3 "
        "if somebody else has acknowledged it already."
    )
    findings.callback(invoke_without_command=True)(list_findings)
    findings.command("list")(list_findings)
    findings.command("show")(show)
    findings.command("history")(history)
    findings.command("ack")(acknowledge)
    findings.command("resolve")(resolve)
    findings.command("reopen")(reopen)
    findings.command("comment")(comment)
    app.add_typer(findings, name="findings")


def list_findings(
    context: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option(
            help="open, acknowledged, reopened, resolved, active (all but resolved; default) or all."
        ),
    ] = None,
    rule: Annotated[list[str] | None, typer.Option(help="A rule's id.")] = None,
    severity: Annotated[list[str] | None, typer.Option(help="critical, error, warning or info.")] = None,
    environment: Annotated[str | None, typer.Option(help="An environment.")] = None,
    service: Annotated[str | None, typer.Option(help="A service.")] = None,
    table_: Annotated[str | None, typer.Option("--table", metavar="TABLE", help="A table.")] = None,
    identity: Annotated[
        str | None, typer.Option(metavar="VALUE", help="Whose data; hashed here, never sent as it is.")
    ] = None,
    domain: Annotated[str, typer.Option(help="The identity's domain.")] = "user",
    plain: Annotated[
        bool, typer.Option("--plain", help="The services declare the domain plain: send the value as it is.")
    ] = False,
    incident: Annotated[str | None, typer.Option(metavar="ID", help="An incident.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Last seen since then: 24h, or a time.", callback=check_since)
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="First seen before then: 24h, or a time.", callback=check_since)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="The next page, as the last one said.")] = None,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with 1 if there is any, for checks.")] = False,
    as_json: Json = False,
) -> None:
    """List findings, last seen first."""
    if context.invoked_subcommand is not None:
        return
    from trueline.monitor.cli.client import ask

    chosen = {
        "state": [one for one in state or ["active"] if one != "all"],
        "rule": rule,
        "severity": severity,
        "environment": environment,
        "service": service,
        "table": table_,
        "identity": _exported(identity, domain) if identity and not plain else identity,
        "plain": plain and identity is not None,
        "incident": incident,
        "since": since,
        "until": until,
        "limit": limit,
        "cursor": cursor,
    }
    answer = ask("GET", "/api/v1/findings", params={name: value for name, value in chosen.items() if value})
    if as_json:
        print_json(answer)
    else:
        _list(answer, only_active=not state)
    if fail and answer["items"]:
        raise typer.Exit(1)


def show(finding_id: _ID, as_json: Json = False) -> None:
    """Print one finding in full, with its evidence."""
    finding = _find(finding_id)
    if as_json:
        print_json(finding)
        return
    from trueline.monitor.cli.console import make_console
    from trueline.monitor.render import render_finding

    render_finding(finding, make_console())


def history(finding_id: _ID, as_json: Json = False) -> None:
    """Print all that happened to a finding: who, when, why."""
    from trueline.monitor.cli.client import ask

    answer = ask("GET", f"/api/v1/findings/{_find(finding_id)['id']}/history")
    if as_json:
        print_json(answer)
        return
    table(
        ("when (UTC)", "what", "by", "why"),
        (
            (
                event["at"][:19].replace("T", " "),
                event["action"].replace("_", " "),
                event["who"],
                event["why"],
            )
            for event in answer["items"]
        ),
    )


def acknowledge(finding_id: _ID, by: By = "", why: Why = "", as_json: Json = False) -> None:
    """Take a finding on, so that others know."""
    _change(finding_id, "acknowledge", by, why, as_json)


def resolve(finding_id: _ID, by: By = "", why: Why = "", as_json: Json = False) -> None:
    """Say that a finding is mended; it reopens when it is seen again."""
    _change(finding_id, "resolve", by, why, as_json)


def reopen(finding_id: _ID, by: By = "", why: Why = "", as_json: Json = False) -> None:
    """Say that a finding was not mended after all."""
    _change(finding_id, "reopen", by, why, as_json)


def comment(
    finding_id: _ID,
    text: Annotated[str, typer.Argument(help="The remark.")],
    by: By = "",
    as_json: Json = False,
) -> None:
    """Add a remark to a finding's history."""
    _change(finding_id, "comment", by, text, as_json)


def _change(finding_id: str, verb: str, who: str, why: str, as_json: bool) -> None:
    import uuid

    from trueline.monitor.cli.client import ask

    found = _find(finding_id)
    body = {"who": who, "why": why, "request_id": uuid.uuid4().hex}
    finding = ask("POST", f"/api/v1/findings/{found['id']}/{verb}", body=body)
    if as_json:
        print_json(finding)
    elif verb == "comment":
        typer.echo(f"finding {finding['id']}: comment added")
    elif finding["changed"]:
        typer.echo(f"finding {finding['id']} is {finding['state']}")
    elif finding["acknowledged_by"]:
        typer.echo(f"finding {finding['id']} was acknowledged by {finding['acknowledged_by']} already")
    else:
        typer.echo(f"finding {finding['id']} is {finding['state']} already: nothing was changed")
    if verb == "acknowledge" and not finding["changed"] and finding["acknowledged_by"] not in ("", who):
        raise typer.Exit(3)


def _exported(value: str, domain: str) -> str:
    """The value under which services export an identity; hashes are left as they are."""
    import re

    if re.fullmatch("[0-9a-f]{32}", value):
        return value
    from trueline.instrumentation.identity import IdentityHasher, canonicalize
    from trueline.monitor.settings import load_settings

    secret = load_settings().hash_secret
    return IdentityHasher(secret.get_secret_value() if secret else None).export(domain, canonicalize(value))


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


def _list(answer: dict[str, Any], *, only_active: bool) -> None:
    if not answer["items"]:
        typer.echo("no findings" + (" are open; --state all shows resolved ones too" if only_active else ""))
        return
    table(
        ("id", "severity", "state", "last seen", "count", "what"),
        (
            (
                item["id"],
                item["severity"],
                _state(item),
                ago(item["last_seen"]),
                str(item["count"]),
                f"{item['rule']}: {item['summary']}",
            )
            for item in answer["items"]
        ),
    )
    typer.echo("\none in full: trueline findings show ID")
    if answer["next"]:
        typer.echo(f"there are more: --limit, a filter, or --cursor {answer['next']}")


def _state(item: dict[str, Any]) -> str:
    said = f"{item['state']} by {item['acknowledged_by']}" if item["acknowledged_by"] else str(item["state"])
    return f"{said}, silenced" if item["silenced_by"] else said
