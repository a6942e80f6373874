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
    "error_aborts": "an error makes the server refuse everything until a rollback, and answer COMMIT with one",
    "error_ends": "some errors make the server roll the whole transaction back by itself",
    "refused_commit_stays": "a COMMIT that is refused leaves the transaction open",
    "late_begin": "the driver begins a transaction only before a write, so that releasing the outermost savepoint commits",
    "batch_halts": "an executemany outside a transaction keeps what came before the error",
    "batch_halts_inside": "so does one inside a transaction",
    "foreign_transaction": "the driver's rollback() does not end a transaction that SQL text began",
    "sessions": "another connection can end a session",
    "savepoints": "savepoints",
    "two_phase": "two-phase transactions",
    "transactional_ddl": "DDL can be rolled back",
    "chain": "COMMIT AND CHAIN",
    "start_transaction": "START TRANSACTION and ABORT",
    "isolation_levels": "READ COMMITTED and SERIALIZABLE",
    "server_cursors": "server-side cursors",
    "early_failure": "a statement with wrong parameters is refused by the driver, before the server sees it",
    "collects_sync": "a connection that is garbage-collected is rolled back and used again",
    "memory": "databases in memory",
    "textual_savepoint_alone": "SAVEPOINT outside a transaction begins one",
    "locks_file": "one writer locks the whole database",
    "begins_once": "after a COMMIT that was sent as text the driver does not begin a transaction again",
    "autocommit_attribute": "autocommit is an attribute of the driver's connection",
    "driver_autocommit": "autocommit can be an argument of connect()",
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
        "error_ends refused_commit_stays savepoints late_begin batch_halts batch_halts_inside memory"
        " textual_savepoint_alone locks_file driver_autocommit early_failure"
    ),
)
POSTGRESQL: Final = Server(
    "PostgreSQL",
    "postgresql",
    _words(
        "error_aborts sessions savepoints two_phase transactional_ddl chain start_transaction"
        " isolation_levels server_cursors"
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
            _words("sync collects_sync driver_autocommit autocommit_attribute early_failure"),
            {"autocommit": True},
        ),
        Driver(
            "psycopg_async",
            "psycopg (async)",
            "postgresql+psycopg",
            POSTGRESQL,
            _words("async driver_autocommit early_failure"),
            {"autocommit": True},
        ),
        Driver(
            "psycopg2",
            "psycopg2",
            "postgresql+psycopg2",
            POSTGRESQL,
            _words(
                "sync collects_sync begins_once foreign_transaction batch_halts early_failure autocommit_attribute"
            ),
        ),
        Driver(
            "asyncpg",
            "asyncpg",
            "postgresql+asyncpg",
            POSTGRESQL,
            _words("async foreign_transaction begins_once early_failure"),
        ),
    )
}
