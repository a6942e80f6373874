"""The command line. Each module registers its commands and imports what is heavy only when one runs."""

from __future__ import annotations

import typer


def build_cli() -> typer.Typer:
    """Return the application with all commands."""
    from trueline.monitor.cli import (
        coverage,
        databases,
        declarations,
        demo,
        diagnose,
        doctor,
        findings,
        identities,
        incidents,
        last_write,
        migrate,
        notify,
        rules,
        serve,
        settings,
        silences,
        timeline,
    )

    app = typer.Typer(
        name="trueline",
        help="Is what your services write what they later read? Collects OpenTelemetry and finds out.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    modules = (
        serve,
        demo,
        findings,
        timeline,
        diagnose,
        identities,
        databases,
        incidents,
        silences,
        coverage,
        doctor,
        rules,
        declarations,
        last_write,
        migrate,
        notify,
        settings,
    )
    for module in modules:
        module.register(app)

    @app.callback(invoke_without_command=True)
    def root(
        show_version: bool = typer.Option(
            False, "--version", help="Print the version and exit.", is_eager=True
        ),
    ) -> None:
        if show_version:
            from importlib.metadata import version

            typer.echo(f"trueline {version('trueline')}")
            raise typer.Exit

    return app
