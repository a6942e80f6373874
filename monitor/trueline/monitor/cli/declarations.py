"""``trueline declarations``: whether a trueline.yaml is right, and what the running monitor has in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    declarations = typer.Typer(
        help="What applications declare in trueline.yaml. Exit status: 0, or 2 for a file that cannot be "
        "used and for a monitor that cannot be asked.",
        no_args_is_help=True,
    )
    declarations.command("check")(check)
    declarations.command("show")(show)
    app.add_typer(declarations, name="declarations")


def check(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="trueline.yaml if none is given.")
    ] = None,
) -> None:
    """Read files of declarations and say what is wrong with them, with line and column."""
    from trueline.instrumentation.declarations.document import DeclarationsError
    from trueline.instrumentation.declarations.place import FILE_NAME
    from trueline.instrumentation.declarations.reading import load
    from trueline.monitor.store.declarations import entries

    wrong = False
    for path in files or [Path(FILE_NAME)]:
        try:
            declared = load(path)
        except FileNotFoundError:
            typer.echo(
                f"trueline: {path} is not there: name the file, or make one as the guide says", err=True
            )
            wrong = True
        except DeclarationsError as error:
            for problem in error.problems:
                typer.echo(f"trueline: {problem}", err=True)
            wrong = True
        else:
            number = sum(1 for _ in entries(declared))
            about = f" about {declared.application}" if declared.application else ""
            typer.echo(f"{path}: {number} declaration{'' if number == 1 else 's'}{about}: can be used")
    if wrong:
        raise typer.Exit(2)


def show(
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
) -> None:
    """Show what the running monitor has in force."""
    from trueline.monitor.cli.client import ask

    answer = ask("GET", "/api/v1/declarations")
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    for item in answer["items"]:
        about = item["application"] or "all applications"
        since = item["valid_from"] or "now, not stored yet"
        typer.echo(f"{about}: {item['path']}, in force since {since}, SHA-256 {item['content_hash'][:12]}")
        for part, declared in item["declarations"].items():
            if declared and part != "version":
                typer.echo(f"  {part}: {_short(declared)}")
    if not answer["items"]:
        typer.echo("nothing is declared")
    for problem in answer["problems"]:
        typer.echo(f"trueline: {problem}", err=True)


def _short(declared: object) -> str:
    if isinstance(declared, dict):
        return ", ".join(name or "all" for name in declared)
    if isinstance(declared, list):
        first = ("derived", "table", "of", "event", "name", "source")
        return ", ".join(
            next((str(one[key]) for key in first if key in one), "") if isinstance(one, dict) else str(one)
            for one in declared
        )
    return str(declared)
