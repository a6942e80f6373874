"""``trueline coverage``: how well each service is seen, and which rules are blind for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trueline.monitor.cli.since import check_since

if TYPE_CHECKING:
    from rich.console import Console

_STYLES: Final = {"blind": "bold red", "degraded": "yellow", "idle": "dim", "ok": "green"}
#: Worst first.
_ORDER: Final = ("blind", "degraded", "idle", "ok")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("coverage")(coverage)


def coverage(
    service: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    environment: Annotated[str | None, typer.Option(help="Only there.")] = None,
    since: Annotated[
        str, typer.Option(help="A time, or how far back: 30m, 24h, at most 7d.", callback=check_since)
    ] = "1h",
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
) -> None:
    """Say how well each service is seen: without it, no finding earns no trust.

    Exit status: 0, 1 if a rule is blind for a service, 2 for trouble and where nothing was received.
    """
    answer = ask_coverage(service=service, environment=environment, since=since)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        _print(answer)
    raise typer.Exit(1 if is_blind(answer) else 0)


def ask_coverage(
    *, service: str | None = None, environment: str | None = None, since: str = "1h"
) -> dict[str, Any]:
    """The API's answer; MonitorError where there is no service in it."""
    from trueline.monitor.cli.client import MonitorError, ask

    params = {"since": since, "service": service or "", "environment": environment or ""}
    answer: dict[str, Any] = ask("GET", "/api/v1/coverage", params=params)
    if not answer["items"]:
        who = f"a service {service}" if service else "any service"
        where = f" in the environment {environment}" if environment else ""
        raise MonitorError(
            f"Nothing was received of {who}{where} since {answer['since'][:16].replace('T', ' ')} UTC: look "
            "further back with --since, or see OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_SERVICE_NAME there."
        )
    return answer


def is_blind(answer: Mapping[str, Any]) -> bool:
    """Whether some rule is blind for some service of the answer."""
    return any(rule["status"] == "blind" for item in answer["items"] for rule in item["rules"])


def _print(answer: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from trueline.monitor.cli.console import make_console

    console = make_console()
    rules = list(dict.fromkeys(rule["rule"] for item in answer["items"] for rule in item["rules"]))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("service", "environment", "writes", "with identity"):
        table.add_column(title, overflow="fold")
    for rule in rules:
        table.add_column(rule.replace("_", " "), overflow="fold")
    for item in answer["items"]:
        states = {rule["rule"]: rule["status"] for rule in item["rules"]}
        share = item["writes"]["share"]
        table.add_row(
            Text(item["service"] or "(unnamed)", style="bold"),
            Text(item["environment"]),
            Text(str(item["writes"]["total"])),
            Text("-" if share is None else f"{share:.0%}"),
            *(Text(states.get(rule, "-"), style=_STYLES.get(states.get(rule, ""), "")) for rule in rules),
        )
    console.print(table)
    for item in answer["items"]:
        console.print()
        console.print(
            Text(f"{item['service'] or '(unnamed)'} in {item['environment']}", style="bold"), end=": "
        )
        console.print(Text(item["sentence"]), soft_wrap=True)
        print_reasons(console, item)
    for problem in answer["problems"]:
        console.print()
        console.print(Text(problem, style="yellow"), soft_wrap=True)


def print_reasons(console: Console, item: Mapping[str, Any], *, idle: bool = False) -> None:
    """Each reason once, with the rules that it concerns and the way out; the worst first."""
    from rich.text import Text

    grouped: dict[tuple[str, str, str], list[str]] = {}
    for rule in item["rules"]:
        for why in rule["reasons"]:
            grouped.setdefault((why["status"], why["sentence"], why["way_out"]), []).append(rule["rule"])
    for (status, sentence, way_out), rules in sorted(
        grouped.items(), key=lambda one: _ORDER.index(one[0][0])
    ):
        if status == "idle" and not idle:
            continue
        said = Text("  ")
        said.append(f"{status} ", _STYLES[status])
        said.append(", ".join(rules), "bold")
        console.print(said, soft_wrap=True)
        console.print(Text(f"    {sentence}"), soft_wrap=True)
        console.print(Text(f"    {way_out}", style="green"), soft_wrap=True)
