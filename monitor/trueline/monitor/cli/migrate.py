"""``trueline migrate``: bring the store's schema up to this release without serving."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("migrate")(migrate)


def migrate(
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the embedded store.")
    ] = None,
    clickhouse_url: Annotated[
        str | None, typer.Option(metavar="URL", help="A ClickHouse server instead.")
    ] = None,
    database: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the database.")] = None,
) -> None:
    """Bring the store's schema up to this release. "serve" does the same at its start."""
    from trueline.monitor.settings import load_settings
    from trueline.monitor.store.client import open_store
    from trueline.monitor.store.migrate import migrate as apply
    from trueline.monitor.store.retention import set_retention

    settings = load_settings({"data_dir": data_dir, "clickhouse_url": clickhouse_url, "database": database})
    store = open_store(settings.store)
    try:
        applied = apply(store)
        for migration in applied:
            typer.echo(f"applied {migration.label}")
        for table in set_retention(store, settings):
            typer.echo(f"changed the retention of {table}")
        typer.echo(f"{store.description}: {len(applied)} migrations applied, the schema is up to date.")
    finally:
        store.close()
