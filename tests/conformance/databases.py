"""The databases under the matrix, reached past SQLAlchemy: what is really stored, and ending sessions."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import Protocol

import psycopg
from conformance.losing_proxy import LosingProxy
from conformance.servers import Driver
from conformance.tables import Base
from sqlalchemy import URL, create_engine, make_url

#: For conditions that come about as soon as other processes get their turn.
PATIENCE_SECONDS = 60.0


class Database(Protocol):
    """One database of a kind of server, used by one scenario at a time."""

    def url(self, driver: Driver) -> URL:
        """What create_engine() takes."""

    def stored(self, prefix: str) -> set[str]:
        """The ``user_id`` of every payment that begins with ``prefix``, by a connection of its own."""

    def tables(self, prefix: str) -> set[str]:
        """Names of tables that begin with ``prefix``."""

    #: A query for what :meth:`end_session` takes; empty where sessions cannot be ended from elsewhere.
    session_query: str

    def end_session(self, session: int) -> None:
        """Have the server end a session; returns when it is gone."""

    def end_session_during_commit(self, session: int) -> None:
        """The same, once the session is in the middle of a COMMIT; returns at once."""

    def url_losing_commits(self, driver: Driver) -> URL:
        """A way to the database on which a COMMIT arrives and its answer does not."""

    def commit_prepared(self) -> None:
        """Commit what two-phase transactions have left in doubt."""


class SQLiteDatabase:
    """A fresh file, copied from one that has the tables."""

    session_query = ""

    def __init__(self, path: Path, template: Path) -> None:
        shutil.copy(template, path)
        self._path = path

    @staticmethod
    def make_template(path: Path) -> None:
        """Make the file that others are copied from."""
        engine = create_engine(f"sqlite:///{path}")
        Base.metadata.create_all(engine)
        engine.dispose()

    def url(self, driver: Driver) -> URL:
        return make_url(f"{driver.url}:///{self._path}")

    def stored(self, prefix: str) -> set[str]:
        return self._first_column("SELECT user_id FROM payments WHERE user_id LIKE ?", prefix)

    def tables(self, prefix: str) -> set[str]:
        return self._first_column("SELECT name FROM sqlite_master WHERE name LIKE ?", prefix)

    def _first_column(self, query: str, prefix: str) -> set[str]:
        connection = sqlite3.connect(self._path, timeout=PATIENCE_SECONDS)
        try:
            return {str(row[0]) for row in connection.execute(query, (f"{prefix}%",))}
        finally:
            connection.close()

    def end_session(self, session: int) -> None:
        raise NotImplementedError

    def end_session_during_commit(self, session: int) -> None:
        raise NotImplementedError

    def url_losing_commits(self, driver: Driver) -> URL:
        raise NotImplementedError

    def commit_prepared(self) -> None:
        raise NotImplementedError


class PostgresDatabase:
    """One database for all scenarios: each writes rows under a prefix of its own."""

    session_query = "SELECT pg_backend_pid()"

    def __init__(self, base: URL) -> None:
        self._base = base
        dsn = base.set(drivername="postgresql").render_as_string(hide_password=False)
        self._admin = psycopg.connect(dsn, autocommit=True)
        self._dsn = dsn
        self._proxy: LosingProxy | None = None

    def make_tables(self) -> None:
        """Make the tables, and the trigger by which a COMMIT of a note `wait...` takes very long."""
        engine = create_engine(self._base.set(drivername="postgresql+psycopg"))
        Base.metadata.create_all(engine)
        engine.dispose()
        self._admin.execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(600); RETURN NULL; END'"
        )
        self._admin.execute(
            "CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON payments DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW WHEN (NEW.note LIKE 'wait%') EXECUTE FUNCTION wait()"
        )

    def close(self) -> None:
        """Close the connection of its own, and the proxy."""
        if self._proxy is not None:
            self._proxy.close()
        self._admin.close()

    def url(self, driver: Driver) -> URL:
        return self._base.set(drivername=driver.url)

    def stored(self, prefix: str) -> set[str]:
        return self._first_column("SELECT user_id FROM payments WHERE user_id LIKE %s", prefix)

    def tables(self, prefix: str) -> set[str]:
        return self._first_column("SELECT relname FROM pg_class WHERE relname LIKE %s", prefix)

    def _first_column(self, query: str, prefix: str) -> set[str]:
        return {str(row[0]) for row in self._admin.execute(query, (f"{prefix}%",)).fetchall()}

    def end_session(self, session: int) -> None:
        self._admin.execute("SELECT pg_terminate_backend(%s)", (session,))
        self._wait_for("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = %s", session)

    def end_session_during_commit(self, session: int) -> None:
        def end() -> None:
            self._wait_for("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s", session)
            self.end_session(session)

        threading.Thread(target=end, daemon=True).start()

    def url_losing_commits(self, driver: Driver) -> URL:
        if self._proxy is None:
            folder = self._base.query["host"]
            assert isinstance(folder, str)
            self._proxy = LosingProxy(folder)
        return self.url(driver).update_query_dict({"host": str(self._proxy.folder)})

    def commit_prepared(self) -> None:
        for (name,) in self._admin.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
            self._admin.execute(f"COMMIT PREPARED '{name}'")

    def _wait_for(self, query: str, session: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        with psycopg.connect(self._dsn, autocommit=True) as watcher:
            while not (row := watcher.execute(query, (session,)).fetchone()) or not row[0]:
                assert time.monotonic() < deadline, query
                time.sleep(0.005)
