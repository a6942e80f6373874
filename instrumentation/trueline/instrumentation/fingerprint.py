"""Which database answers on a fresh connection: asked once, on the driver's own connection.

The question is put when a connection is first handed out, after every connect listener has run and before
the application's first statement. It is one statement outside of any transaction: nothing stays open,
nothing of the application's is rolled back, and a failure leaves weaker rungs, never an error.
"""

from __future__ import annotations

import os
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from trueline.instrumentation.database import DatabaseFacts, fingerprint
from trueline.instrumentation.drivers import DriverStatus, transaction_status
from trueline.instrumentation.endpoint import Endpoint
from trueline.instrumentation.guard import report
from trueline.instrumentation.semconv import Role, Rung

# The privilege on the control file can be revoked, and PostgreSQL checks it before it evaluates a CASE: to
# name the function would be an error in the server's log on every connect. ts_stat() plans its text only when
# it is called, and CASE does not call it. The path of pg_class (base/<oid of the database>/...) costs a third
# of what reading pg_database costs a backend that has just started. No name depends on the search path.
_POSTGRESQL: Final = """\
SELECT pg_catalog.current_database(),
 pg_catalog.pg_relation_filepath(1259::pg_catalog.regclass),
 pg_catalog.pg_is_in_recovery(),
 pg_catalog.current_schema(),
 pg_catalog.current_setting('server_version'),
 pg_catalog.host(pg_catalog.inet_server_addr()),
 pg_catalog.current_setting('port'),
 CASE WHEN pg_catalog.has_function_privilege(
  pg_catalog.to_regprocedure('pg_catalog.pg_control_system()')::pg_catalog.oid, 'execute')
 THEN (SELECT word FROM pg_catalog.ts_stat(
  'SELECT pg_catalog.array_to_tsvector(ARRAY[system_identifier::pg_catalog.text])
   FROM pg_catalog.pg_control_system()'))
 END"""

# Asking for a variable that a server does not have is an error; looking for it in the list is not.
_MYSQL: Final = (
    "SHOW VARIABLES WHERE Variable_name IN"
    " ('server_uuid', 'server_uid', 'hostname', 'port', 'read_only', 'version')"
)

_memory: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()


def probe(system: str, driver: str, dbapi_connection: Any, *, owner: Any = None) -> DatabaseFacts | None:
    """Facts about the database behind ``dbapi_connection``, without those that its URL tells.

    ``system`` and ``driver`` are our names of both. ``owner`` (a connection pool) stands for a database in
    memory, which has no name of its own. None: the connection is in a transaction that somebody else
    began, so nothing was asked. Raises what the driver raises.
    """
    reader = _READERS.get(system)
    if reader is None:
        return DatabaseFacts(system)
    if system != "sqlite" and transaction_status(driver, dbapi_connection) in _BUSY:
        return None
    return replace(reader(dbapi_connection, owner), system=system)


_BUSY: Final = (DriverStatus.IN_TRANSACTION, DriverStatus.IN_ERROR)


def _rows(dbapi_connection: Any, sql: str) -> Sequence[Sequence[Any]]:
    cursor = dbapi_connection.cursor()
    try:
        cursor.execute(sql)
        return list(cursor.fetchall())
    finally:
        cursor.close()


@contextmanager
def _no_transaction(dbapi_connection: Any) -> Iterator[None]:
    """Let the driver begin nothing, so that there is nothing to roll back; else roll back."""
    autocommit = getattr(dbapi_connection, "autocommit", None)
    if not isinstance(autocommit, bool):
        try:
            yield
        finally:
            try:
                dbapi_connection.rollback()
            except Exception as error:  # it died during the probe; what killed it is told instead
                report("fingerprint.restore", error)
        return
    if not autocommit:
        dbapi_connection.autocommit = True
    try:
        yield
    finally:
        # In place, not in a function of its own: left in this mode, the connection would commit each of the
        # application's statements, so nothing may come between.
        if not autocommit:
            try:
                dbapi_connection.autocommit = False
            except Exception as error:
                report("fingerprint.restore", error)


def _text(value: Any) -> str:
    """A driver's text; bytes where the connection does not decode (psycopg under SQL_ASCII, text_factory)."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return "" if value is None else str(value)


# -- PostgreSQL ------------------------------------------------------------------------------------------


def _postgresql(dbapi_connection: Any, owner: Any) -> DatabaseFacts:
    with _no_transaction(dbapi_connection):
        row = _rows(dbapi_connection, _POSTGRESQL)[0]
    name, path, in_recovery, schema, version, address, port, identifier = row
    rungs: dict[Rung, str] = {}
    oid = _database_oid(_text(path))
    if identifier and oid:
        rungs[Rung.SYSTEM_IDENTIFIER] = fingerprint("postgresql", _text(identifier), oid)
    return DatabaseFacts(
        system="postgresql",
        namespace=_text(name),
        rungs=rungs,
        role=Role.REPLICA if in_recovery else Role.PRIMARY,
        schema=_text(schema),
        version=_text(version).split(" ")[0],
        told=Endpoint(_text(address), _number(port)),
        reached=_reached(dbapi_connection),
    )


def _database_oid(path: str) -> str:
    """``base/16384/1259``, or ``pg_tblspc/16390/PG_18_202506291/16384/1259`` in a tablespace: 16384."""
    parts = path.split("/")
    return parts[-2] if len(parts) >= 3 and parts[-2].isdecimal() else ""


def _reached(dbapi_connection: Any) -> Endpoint | None:
    """The end that the driver connected to; with several hosts in a URL, only the driver knows."""
    connection = getattr(dbapi_connection, "_connection", dbapi_connection)
    try:
        address = getattr(connection, "_addr", None)  # asyncpg: (host, port), or the socket's path
        if isinstance(address, str):
            folder, _, port = address.rpartition("/.s.PGSQL.")
            return Endpoint(folder, _number(port))
        if isinstance(address, tuple):
            return Endpoint(str(address[0]), _number(address[1]))
        return Endpoint(_text(connection.info.host), _number(connection.info.port))
    except Exception:  # a driver that does not tell; the URL has to do
        return None


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


# -- SQLite ----------------------------------------------------------------------------------------------


def _sqlite(dbapi_connection: Any, owner: Any) -> DatabaseFacts:
    path = ""
    for _, name, file in _rows(dbapi_connection, "PRAGMA database_list"):
        if _text(name) == "main":
            path = _text(file)
    import sqlite3  # whoever has a connection has it loaded

    return DatabaseFacts(
        system="sqlite",
        namespace=os.path.basename(path),
        rungs=_file_rung(path) if path else {Rung.MEMORY: _memory_of(owner)},
        role=Role.PRIMARY,
        schema="main",
        version=sqlite3.sqlite_version,
    )


def _file_rung(path: str) -> dict[Rung, str]:
    """The file itself, whatever it is called. A file that cannot be looked at has no rung."""
    try:
        status = os.stat(path)
        # Device numbers repeat from machine to machine; the file system's own id hardly does.
        volume = os.statvfs(path).f_fsid if hasattr(os, "statvfs") else 0
    except OSError:
        return {}
    return {Rung.FILE: fingerprint("sqlite", status.st_dev, volume, status.st_ino)}


def _memory_of(owner: Any) -> str:
    """One value for all connections of a pool; two databases in memory are never compared."""
    if owner is None:
        return fingerprint("sqlite", uuid.uuid4())
    return _memory.setdefault(owner, fingerprint("sqlite", uuid.uuid4()))


# -- MySQL and MariaDB -----------------------------------------------------------------------------------


def _mysql(dbapi_connection: Any, owner: Any) -> DatabaseFacts:
    try:
        rows = _rows(dbapi_connection, _MYSQL)
        database = _rows(dbapi_connection, "SELECT DATABASE()")[0][0]
    finally:
        try:
            dbapi_connection.rollback()
        except Exception as error:  # it died during the probe; what killed it is told instead
            report("fingerprint.restore", error)
    return mysql_facts({_text(row[0]).lower(): _text(row[1]) for row in rows}, _text(database))


def mysql_facts(variables: Mapping[str, str], database: str) -> DatabaseFacts:
    """Facts from the server's variables, by lower-case name, and the current database's name.

    A replica has a UUID of its own, so it reports none: it would look like another database. The operator's
    name for both joins them.
    """
    replica = variables.get("read_only", "").upper() in ("ON", "1")
    identifier = variables.get("server_uuid") or variables.get("server_uid")
    rungs: dict[Rung, str] = {}
    if identifier and not replica:
        rungs[Rung.SERVER_UUID] = fingerprint("mysql", identifier, database)
    return DatabaseFacts(
        system="mysql",
        namespace=database,
        rungs=rungs,
        role=Role.REPLICA if replica else Role.PRIMARY,
        version=variables.get("version", ""),
        told=Endpoint(variables.get("hostname", ""), _number(variables.get("port"))),
    )


_READERS: dict[str, Callable[[Any, Any], DatabaseFacts]] = {
    "postgresql": _postgresql,
    "sqlite": _sqlite,
    "mysql": _mysql,
    "mariadb": _mysql,
}
