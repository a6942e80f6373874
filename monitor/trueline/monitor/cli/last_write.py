"""``trueline last-write``: where one person's data was last written and last read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

_Side = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("last-write")(last_write)


def last_write(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The identity, as the application has it.")],
    domain: Annotated[str, typer.Option(help="What it identifies: user, tenant, message ...")] = "user",
    environment: Annotated[str | None, typer.Option(help="Only there.")] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="The services declare the domain plain: send the value as it is.")
    ] = False,
    days: Annotated[int, typer.Option(min=1, max=90, help="How far back to look.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
) -> None:
    """Compare the last write and the last read of one identity.

    The value is hashed here, with TRUELINE_HASH_SECRET as the services have it; only the hash is sent.
    Exit status: 0 if reads find what is written, 1 if they do not or nothing is known, 2 for trouble.
    """
    from trueline.monitor.cli.client import ask

    asked = {"domain": domain, "days": days, "environment": environment or ""}
    if plain:
        answer = ask("POST", "/ops/last-write", body={"identity": identity, **asked})
    else:
        answer = ask("GET", "/ops/last-write", params={**_hashed(identity, domain), **asked})
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        _print(answer)
    raise typer.Exit(0 if answer["verdict"] == "agrees" else 1)


def _hashed(identity: str, domain: str) -> dict[str, str]:
    """The value as services export it, and which secret made it."""
    from trueline.monitor.cli.hashing import exported

    value, key_id = exported(identity, domain)
    return {"identity": value, "key_id": key_id}


def _print(answer: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from trueline.monitor.cli.console import make_console

    console = make_console()
    console.print(Text(answer["sentence"], style="bold"))
    if answer["hint"]:
        console.print(Text(answer["hint"], style="yellow"))
    sides = {
        "last write": answer["last_write"],
        "last committed write": answer["last_committed_write"],
        "last read": answer["last_read"],
    }
    if not any(sides.values()):
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for title in sides:
        table.add_column(title, overflow="fold")
    for name, show in _ROWS.items():
        # How the transaction of a read ended says nothing: an idle one is rolled back by most drivers.
        cells = [
            show(side) if side and (title, name) != ("last read", "outcome") else ""
            for title, side in sides.items()
        ]
        table.add_row(name, *(Text(cell or "-") for cell in cells))
    console.print()
    console.print(table)


def _keys(side: _Side) -> str:
    return ", ".join(f"{one} ({how})" for one, how in zip(side["columns"], side["encodings"], strict=True))


def _database(side: _Side) -> str:
    schema = side["database_schema"]
    return f"{side['database_name']}" + (f", schema {schema}" if schema not in ("", "public") else "")


def _url(side: _Side) -> str:
    variable = side["database_url_variable"]
    return f"{side['database_url']}" + (f" (from {variable})" if variable else "")


def _outcome(side: _Side) -> str:
    from trueline.monitor.engine.describe import outcome_text

    return outcome_text(side["outcome"], side["reason"])


_ROWS: Final[dict[str, Callable[[_Side], str]]] = {
    "when": lambda side: side["when"][:23].replace("T", " ") + " UTC",
    "table": lambda side: side["table"],
    "key": _keys,
    "rows": lambda side: "" if side["rows"] is None else str(side["rows"]),
    "service": lambda side: f"{side['service']} {side['version']}".strip(),
    "code path": lambda side: side["entry"],
    "database": _database,
    "url": _url,
    "outcome": _outcome,
    "trace": lambda side: side["trace_id"],
}
