"""The drivers of the matrix, described by what matters to outcomes.

Another server joins by a :class:`Server` with its traits (does an error abort the transaction, does DDL
commit, what does a refused COMMIT leave behind), its drivers, and a :class:`~conformance.databases.Database`
that knows how to make tables, count rows and end sessions there. Scenarios ask for traits, never for names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: What can be true of a driver and its server, as the documentation prints it.
TRAITS: Final[dict[str, str]] = {
    "sync": "blocking",
    "async": "asyncio",
    "error_aborts": "after an error everything but a rollback is refused, and COMMIT answered with one",
    "error_ends": "some errors make the server roll the whole transaction back by itself",
    "refused_commit_stays": "a COMMIT that is refused leaves the transaction open",
    "late_begin": "a transaction begins only before a write: releasing an outermost savepoint commits",
    "batch_halts": "an executemany outside a transaction keeps what came before the error",
    "foreign_transaction": "the driver's rollback() does not end a transaction that SQL text began",
    "begins_once": "after COMMIT as text the driver does not begin a transaction again",
    "sessions": "another connection can end a session",
    "two_phase": "two-phase transactions",
    "chain": "COMMIT AND CHAIN",
    "start_transaction": "START TRANSACTION, ABORT",
    "isolation_levels": "several isolation levels",
    "server_cursors": "server-side cursors",
    "early_failure": "some parameters are refused by the driver, before the server sees the statement",
    "collects_sync": "a connection that is garbage-collected is reset and used again",
    "textual_savepoint_alone": "SAVEPOINT outside a transaction begins one",
    "locks_file": "a reader can keep a writer from committing",
    "driver_autocommit": "autocommit can be an argument of connect()",
    "autocommit_attribute": "autocommit can be an attribute of the driver's connection",
}


@dataclass(frozen=True)
class Server:
    """A kind of database server (or library)."""

    name: str
    system: str
    traits: frozenset[str]


@dataclass(frozen=True)
class Driver:
    """A driver as SQLAlchemy names it: ``url`` is the part before ``://``."""

    name: str
    title: str
    url: str
    server: Server
    own_traits: frozenset[str]
    #: Arguments of connect() that put the driver into autocommit.
    autocommit_arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def traits(self) -> frozenset[str]:
        """The traits of the driver and of its server."""
        return self.server.traits | self.own_traits

    @property
    def is_async(self) -> bool:
        """Whether applications on it are asyncio's."""
        return "async" in self.own_traits


def _words(text: str) -> frozenset[str]:
    words = frozenset(text.split())
    assert words <= TRAITS.keys(), words - TRAITS.keys()
    return words


SQLITE: Final = Server(
    "SQLite",
    "sqlite",
    _words(
        "error_ends refused_commit_stays late_begin batch_halts textual_savepoint_alone locks_file"
        " driver_autocommit early_failure"
    ),
)
POSTGRESQL: Final = Server(
    "PostgreSQL",
    "postgresql",
    _words(
        "error_aborts sessions two_phase chain start_transaction isolation_levels server_cursors"
        " early_failure"
    ),
)

DRIVERS: Final[dict[str, Driver]] = {
    driver.name: driver
    for driver in (
        Driver(
            "pysqlite", "sqlite3", "sqlite", SQLITE, _words("sync collects_sync"), {"isolation_level": None}
        ),
        Driver(
            "aiosqlite", "aiosqlite", "sqlite+aiosqlite", SQLITE, _words("async"), {"isolation_level": None}
        ),
        Driver(
            "psycopg",
            "psycopg",
            "postgresql+psycopg",
            POSTGRESQL,
            _words("sync collects_sync driver_autocommit autocommit_attribute"),
            {"autocommit": True},
        ),
        Driver(
            "psycopg_async",
            "psycopg (asyncio)",
            "postgresql+psycopg",
            POSTGRESQL,
            _words("async driver_autocommit"),
            {"autocommit": True},
        ),
        Driver(
            "psycopg2",
            "psycopg2",
            "postgresql+psycopg2",
            POSTGRESQL,
            _words("sync collects_sync begins_once foreign_transaction batch_halts autocommit_attribute"),
        ),
        Driver(
            "asyncpg",
            "asyncpg",
            "postgresql+asyncpg",
            POSTGRESQL,
            _words("async begins_once foreign_transaction"),
        ),
    )
}
