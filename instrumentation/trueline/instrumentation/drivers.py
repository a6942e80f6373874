"""What a driver's connection says of its own transaction, without a query."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any


class DriverStatus(Enum):
    """The transaction status of a driver's connection."""

    IDLE = "idle"
    IN_TRANSACTION = "in transaction"
    IN_ERROR = "in error"
    UNKNOWN = "unknown"


def _psycopg(dbapi_connection: Any) -> DriverStatus:
    return _LIBPQ_STATES.get(dbapi_connection.pgconn.transaction_status, DriverStatus.UNKNOWN)


def _psycopg_async(dbapi_connection: Any) -> DriverStatus:
    # SQLAlchemy's adapter hides the connection.
    return _LIBPQ_STATES.get(dbapi_connection._connection.pgconn.transaction_status, DriverStatus.UNKNOWN)


def _psycopg2(dbapi_connection: Any) -> DriverStatus:
    return _LIBPQ_STATES.get(dbapi_connection.info.transaction_status, DriverStatus.UNKNOWN)


#: libpq's numbers of its states.
_LIBPQ_STATES = {
    0: DriverStatus.IDLE,
    1: DriverStatus.IN_TRANSACTION,  # a command is under way, as with a server-side cursor
    2: DriverStatus.IN_TRANSACTION,
    3: DriverStatus.IN_ERROR,
}


def _asyncpg(dbapi_connection: Any) -> DriverStatus:
    # True in an aborted transaction too: asyncpg does not tell the two apart.
    in_transaction = dbapi_connection._connection.is_in_transaction()
    return DriverStatus.IN_TRANSACTION if in_transaction else DriverStatus.IDLE


def _sqlite(dbapi_connection: Any) -> DriverStatus:
    connection = getattr(dbapi_connection, "_connection", dbapi_connection)
    if getattr(connection, "autocommit", None) is False:
        # Python 3.12: the driver itself begins the next transaction as soon as one has ended.
        return DriverStatus.UNKNOWN
    return DriverStatus.IN_TRANSACTION if connection.in_transaction else DriverStatus.IDLE


def _sqlite_autocommits(dbapi_connection: Any) -> bool:
    connection = getattr(dbapi_connection, "_connection", dbapi_connection)
    by_itself = connection.isolation_level is None or getattr(connection, "autocommit", None) is True
    return by_itself and not connection.in_transaction


_STATUS: dict[str, Callable[[Any], DriverStatus]] = {
    "psycopg": _psycopg,
    "psycopg_async": _psycopg_async,
    "psycopg2": _psycopg2,
    "asyncpg": _asyncpg,
    "pysqlite": _sqlite,
    "aiosqlite": _sqlite,
}


def transaction_status(driver: str, dbapi_connection: Any) -> DriverStatus:
    """Status of the connection, by SQLAlchemy's driver name; UNKNOWN for drivers that do not tell."""
    reader = _STATUS.get(driver)
    return reader(dbapi_connection) if reader is not None else DriverStatus.UNKNOWN


def statement_autocommitted(driver: str, dbapi_connection: Any, *, writes: bool) -> bool | None:
    """Whether the statement that just ran was committed by itself. None: this driver does not tell.

    sqlite3 opens its transaction before the first write only, so that a read outside of one says nothing.
    """
    if driver in ("pysqlite", "aiosqlite") and not writes:
        return True if _sqlite_autocommits(dbapi_connection) else None
    status = transaction_status(driver, dbapi_connection)
    if status is DriverStatus.UNKNOWN:
        return None
    return status is DriverStatus.IDLE


def commits_each_statement(driver: str, dbapi_connection: Any) -> bool:
    """Whether the connection is set to commit each statement; a lost one still says so."""
    if driver in ("pysqlite", "aiosqlite"):
        return _sqlite_autocommits(dbapi_connection)
    return bool(getattr(dbapi_connection, "autocommit", False))


def error_aborts(driver: str, dbapi_connection: Any, error: BaseException | None) -> bool:
    """Whether a PostgreSQL server has aborted the transaction after ``error``.

    A value that the driver itself refused to send was never seen by the server, though asyncpg gives its
    exception a SQLSTATE all the same.
    """
    status = transaction_status(driver, dbapi_connection)
    if driver in ("psycopg", "psycopg_async", "psycopg2") and status is not DriverStatus.UNKNOWN:
        return status is DriverStatus.IN_ERROR
    if driver == "asyncpg":
        return any(getattr(one, "severity", None) for one in (error, getattr(error, "__cause__", None)))
    return bool(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None))


#: Drivers whose executemany is all or nothing, outside a transaction too.
_WHOLE_BATCHES = frozenset({"psycopg", "psycopg_async", "asyncpg"})


def batch_may_halt(driver: str) -> bool:
    """Whether an executemany that fails may have committed some of its rows, outside a transaction."""
    return driver not in _WHOLE_BATCHES


def changes(driver: str, dbapi_connection: Any) -> int | None:
    """Rows that the connection has changed since it was opened, triggers' too; None: nobody counts.

    A statement that fails as a whole adds nothing to it.
    """
    if driver not in ("pysqlite", "aiosqlite"):
        return None
    count = getattr(dbapi_connection, "_connection", dbapi_connection).total_changes
    return count if isinstance(count, int) else None
