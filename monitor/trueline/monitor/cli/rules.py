"""``trueline rules``: which rules there are, how they do, and what one says in full."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from trueline.monitor.cli.output import ago
from trueline.monitor.cli.rule_files import check, run_tests
from trueline.monitor.cli.rule_history import history
from trueline.monitor.cli.rule_work import run_backtest, run_explain

if TYPE_CHECKING:
    from rich.text import Text

JSON = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]
_HELP: Final = (
    "The rules. Exit status: 0; 1 if a rule's test fails; 2 for a file that cannot be used and for a "
    "monitor that cannot be asked; 3 if a backtest did not come to its end."
)
_STYLE: Final = {"running": "green", "failing": "bold red", "waiting": "yellow", "off": "dim"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    rules = typer.Typer(help=_HELP, no_args_is_help=True)
    rules.command("list")(list_rules)
    rules.command("show")(show)
    rules.command("history")(history)
    rules.command("check")(check)
    rules.command("test")(run_tests)
    rules.command("backtest")(run_backtest)
    rules.command("explain")(run_explain)
    app.add_typer(rules, name="rules")


def list_rules(as_json: JSON = False) -> None:
    """List the rules of the running monitor and how they do."""
    from trueline.monitor.cli.client import ask

    answer = ask("GET", "/api/v1/rules")
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    from rich.table import Table

    from trueline.monitor.cli.console import make_console

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("rule", "version", "severity", "state", "evaluated", "active findings"):
        table.add_column(title, no_wrap=True)
    table.add_column("title", overflow="fold")
    for rule in answer["items"]:
        state = (
            f"[{_STYLE.get(rule['state'], '')}]{rule['state']}[/]"
            if rule["state"] in _STYLE
            else rule["state"]
        )
        table.add_row(
            rule["id"],
            str(rule["version"]),
            rule["severity"],
            state,
            ago(rule["last_run"]) if rule["last_run"] else "never",
            str(rule["active_findings"]),
            _title(rule),
        )
    make_console().print(table)
    for problem in answer["problems"]:
        typer.echo(f"cannot be used: {problem}", err=True)


def _title(rule: dict[str, Any]) -> Text:
    """The title, and what is the matter with the rule."""
    from rich.text import Text

    notes = [rule["error"]] if rule["error"] else []
    if rule["absent"]:
        notes.append(f"cannot fire: nothing arrived in {', '.join(rule['absent'])} for 24 hours")
    if number := rule["excepted"]:
        notes.append(f"{number} group{'' if number == 1 else 's'} excepted")
    if rule["overridden_in"]:
        notes.append(f"overridden in {rule['overridden_in']}")
    return Text(rule["title"] + (f" ({'; '.join(notes)})" if notes else ""))


def show(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The id of an installed rule.")],
    as_json: JSON = False,
) -> None:
    """Show one rule in full: why it is there, how it decides, its parameters, and how it does."""
    from trueline.monitor.cli.client import ask

    answer = ask("GET", f"/api/v1/rules/{rule}")
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    from rich.markdown import Markdown

    from trueline.monitor.cli.console import make_console
    from trueline.monitor.engine.rule_reference import describe_definition

    console = make_console()
    console.print(_title(answer))
    ran = f"evaluated {ago(answer['last_run'])}" if answer["last_run"] else "not evaluated yet"
    number = answer["active_findings"]
    found = f"{number} active finding{'' if number == 1 else 's'}"
    console.print(f"state {answer['state']}, {ran}, {found}\n")
    text = describe_definition(answer["definition"], answer["parameters"])
    # Markdown is drawn for a terminal; in a pipe its source reads better.
    console.print(Markdown(text)) if console.is_terminal else typer.echo(text)
