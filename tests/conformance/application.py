"""What a scenario's application works with: SQLAlchemy's own classes, and names for its writes.

The annotations are those of asyncio; the blocking twin of a scenario gets the blocking classes.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import sqlalchemy
import sqlalchemy.ext.asyncio
from conformance.databases import Database
from conformance.servers import Driver
from conformance.tables import Payment
from sqlalchemy import Insert, event, insert, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.util import greenlet_spawn


class App:
    """One run of one scenario on one driver."""

    def __init__(self, driver: Driver, database: Database) -> None:
        self.driver = driver
        self.database = database
        #: Begins the user_id of every row of this run.
        self.prefix = f"r{uuid.uuid4().hex[:10]}."
        #: How many rows each named write was to have.
        self.rows_of: dict[str, list[str]] = {}
        self.engines: list[AsyncEngine] = []
        self.kept: list[object] = []
        self._engine: AsyncEngine | None = None

    # -- engines and sessions ------------------------------------------------------------------------

    @property
    def engine(self) -> AsyncEngine:
        """An engine with the driver's defaults."""
        if self._engine is None:
            self._engine = self.make_engine()
        return self._engine

    def make_engine(self, url: Any = None, **options: Any) -> AsyncEngine:
        """An engine with the options of create_engine(). It is disposed of after the run."""
        # Looked up on the modules, so that contrib's wrappers of the functions are called.
        make: Any = sqlalchemy.create_engine
        if self.driver.is_async:
            make = sqlalchemy.ext.asyncio.create_async_engine
        listens = options.pop("autocommit_by_listener", False)
        engine = make(url or self.database.url(self.driver), **options)
        if self.driver.server.system == "sqlite":
            event.listen(getattr(engine, "sync_engine", engine), "connect", _check_foreign_keys)
        if listens:
            event.listen(getattr(engine, "sync_engine", engine), "connect", _autocommit)
        self.engines.append(engine)
        return engine  # type: ignore[no-any-return]

    def session(self, bind: Any = None, **options: Any) -> AsyncSession:
        """An ORM session."""
        kind: Any = AsyncSession if self.driver.is_async else Session
        return kind(self.engine if bind is None else bind, **options)  # type: ignore[no-any-return]

    def sessionmaker(self) -> async_sessionmaker[AsyncSession]:
        """A factory of ORM sessions."""
        kind: Any = async_sessionmaker if self.driver.is_async else sessionmaker
        return kind(self.engine)  # type: ignore[no-any-return]

    # -- writes --------------------------------------------------------------------------------------

    def row(self, write: str, **values: Any) -> Payment:
        """An object to add to a session, the write named ``write``."""
        return Payment(user_id=self.key(write), **values)

    def insert(self, write: str, **values: Any) -> Insert:
        """An INSERT, the write named ``write``."""
        return insert(Payment).values(user_id=self.key(write), **values)

    def sql(self, write: str, conflict: str = "", note: str = "NULL") -> Any:
        """An INSERT written by hand."""
        key = self.key(write)
        return text(f"INSERT {conflict} INTO payments (user_id, note) VALUES (:user_id, {note})").bindparams(
            user_id=key
        )

    def key(self, write: str) -> str:
        """The user_id of one more row of a write."""
        keys = self.rows_of.setdefault(write, [])
        keys.append(f"{self.prefix}{write}.{len(keys)}")
        return keys[-1]

    def note(self, text: str = "once") -> str:
        """A value of the unique column that is this run's own."""
        return f"{self.prefix}{text}"

    def unfit_value(self) -> Any:
        """A value that the driver cannot send as text."""
        return object() if self.driver.server.system == "sqlite" or self.driver.name != "asyncpg" else 7

    # -- asyncio and not -----------------------------------------------------------------------------

    def block(self, generator: Callable[[], AsyncIterator[AsyncSession]]) -> Any:
        """A `with` block of a generator function."""
        make: Any = contextlib.asynccontextmanager if self.driver.is_async else contextlib.contextmanager
        return make(generator)()

    def close_generator(self, generator: Any) -> Any:
        """Close a generator."""
        return generator.aclose() if self.driver.is_async else generator.close()

    def breathe(self) -> Any:
        """Let callbacks of the event loop run, where there is one."""
        return asyncio.sleep(0.01) if self.driver.is_async else None

    def stream(self, connection: Any, query: Any) -> Any:
        """A result that is fetched piece by piece, with a server-side cursor where there are such."""
        if self.driver.is_async:
            return connection.stream(query)
        return connection.execute(query, execution_options={"stream_results": True, "max_row_buffer": 10})

    def stream_scalars(self, session: Any, query: Any) -> Any:
        """Objects of a query, ten at a time."""
        if self.driver.is_async:
            return session.stream_scalars(query, execution_options={"yield_per": 10})
        return session.scalars(query, execution_options={"yield_per": 10})

    # -- past SQLAlchemy -----------------------------------------------------------------------------

    def plain_insert(self, write: str) -> str:
        """An INSERT without placeholders."""
        return f"INSERT INTO payments (user_id) VALUES ('{self.key(write)}')"

    def call(self, method: Callable[[], Any]) -> Any:
        """Call a method of the driver's connection, which in asyncio waits inside a greenlet."""
        return greenlet_spawn(method) if self.driver.is_async else method()

    def on_the_driver(self, connection: Any, work: Callable[[Any], Any]) -> Any:
        """Call ``work`` with the driver's connection of a SQLAlchemy connection."""
        if self.driver.is_async:
            return connection.run_sync(lambda inner: work(inner.connection.dbapi_connection))
        return work(connection.connection.dbapi_connection)

    # -- the server ----------------------------------------------------------------------------------

    @property
    def session_query(self) -> Any:
        """A query for the server's session, which ``database.end_session`` takes."""
        return text(self.database.session_query)

    @property
    def any_query(self) -> Any:
        """A query that changes nothing."""
        return text("SELECT 1")

    @staticmethod
    def sync(engine: Any) -> Any:
        """The engine that bind arguments want."""
        return getattr(engine, "sync_engine", engine)

    def keep(self, thing: object) -> None:
        """Hold on to a thing until the run is over."""
        self.kept.append(thing)


def _autocommit(dbapi_connection: Any, _record: Any) -> None:
    dbapi_connection.autocommit = True


def _check_foreign_keys(dbapi_connection: Any, _record: Any) -> None:
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()
