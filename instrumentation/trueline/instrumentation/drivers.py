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
    return DriverStatus.IN_TRANSACTION if connection.in_transaction else DriverStatus.IDLE


def _sqlite_autocommits(dbapi_connection: Any) -> bool:
    connection = getattr(dbapi_connection, "_connection", dbapi_connection)
    return connection.isolation_level is None and not connection.in_transaction


_STATUS: dict[str, Callable[[Any], DriverStatus]] = {
    "psycopg": _psycopg,
    "psycopg_async": _psycopg_async,
    "psycopg2": _psycopg2,
    "asyncpg": _asyncpg,
    "pysqlite": _sqlite,
    "aiosqlite": _sqlite,
}


def tells_aborted(driver: str) -> bool:
    """Whether the driver tells an aborted transaction from a healthy one."""
    return driver in ("psycopg", "psycopg_async", "psycopg2")


def transaction_status(driver: str, dbapi_connection: Any) -> DriverStatus:
    """Status of the connection, by SQLAlchemy's driver name; UNKNOWN for drivers that do not tell."""
    reader = _STATUS.get(driver)
    return reader(dbapi_connection) if reader is not None else DriverStatus.UNKNOWN


def sends_rows_one_by_one(driver: str) -> bool:
    """Whether executemany() is a statement for each row: when one fails, those before it were carried out.

    asyncpg and psycopg make one unit of a batch, also where each statement commits itself.
    """
    return driver not in ("asyncpg", "psycopg", "psycopg_async")


def commits_each_statement(driver: str, dbapi_connection: Any) -> bool:
    """Whether the connection is set to commit each statement; known even when it is lost."""
    if driver in ("pysqlite", "aiosqlite"):
        return _sqlite_autocommits(dbapi_connection)
    return bool(getattr(dbapi_connection, "autocommit", False))


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
