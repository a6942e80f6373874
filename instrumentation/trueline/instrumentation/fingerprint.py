"""Which database answers on a fresh connection: asked once, on the driver's own connection.

The question is put where nothing of the application runs yet: in the pool's connect event, or at a
checkout for connections that are older than Trueline. It is followed by a rollback, so that no
transaction stays open, and a failure leaves weaker rungs, never an error.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from trueline.instrumentation.database import DatabaseFacts, fingerprint
from trueline.instrumentation.semconv import Role, Rung

# Node facts and the privilege are read first: where the privilege on the control file was revoked, asking
# for it would be an error in the server's log on every connect.
_POSTGRESQL = (
    "SELECT pg_catalog.current_database()::text,"
    " (SELECT oid::text FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),"
    " pg_catalog.pg_is_in_recovery(),"
    " pg_catalog.current_schema()::text,"
    " pg_catalog.current_setting('server_version')::text,"
    " pg_catalog.host(pg_catalog.inet_server_addr())::text,"
    " pg_catalog.inet_server_port()::text,"
    " pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'execute')"
)
_POSTGRESQL_SYSTEM_IDENTIFIER = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()"


def probe(system: str, dbapi_connection: Any, *, configured: str = "") -> DatabaseFacts:
    """Facts about the database behind ``dbapi_connection``; ``configured``: the operator's name for it."""
    reader = _READERS.get(system)
    facts = reader(dbapi_connection) if reader is not None else DatabaseFacts(system)
    if configured:
        rungs = {Rung.CONFIGURED: fingerprint("configured", configured), **facts.rungs}
        facts = replace(facts, rungs=rungs)
    return facts


def _rows(dbapi_connection: Any, sql: str) -> Sequence[Sequence[Any]]:
    cursor = dbapi_connection.cursor()
    try:
        cursor.execute(sql)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def _postgresql(dbapi_connection: Any) -> DatabaseFacts:
    try:
        row = _rows(dbapi_connection, _POSTGRESQL)[0]
        name, oid, in_recovery, schema, version, address, port, may_read_control = row
        identifier = ""
        if may_read_control:
            identifier = _rows(dbapi_connection, _POSTGRESQL_SYSTEM_IDENTIFIER)[0][0]
    finally:
        dbapi_connection.rollback()
    rungs: dict[Rung, str] = {}
    if identifier:
        rungs[Rung.SYSTEM_IDENTIFIER] = fingerprint("postgresql", identifier, oid)
    if address:
        rungs[Rung.ENDPOINT] = fingerprint("postgresql", address, port, name)
    return DatabaseFacts(
        system="postgresql",
        namespace=name or "",
        rungs=rungs,
        role=Role.REPLICA if in_recovery else Role.PRIMARY,
        schema=schema or "",
        version=(version or "").split(" ")[0],
    )


def _sqlite(dbapi_connection: Any) -> DatabaseFacts:
    import sqlite3

    path = ""
    for _, name, file in _rows(dbapi_connection, "PRAGMA database_list"):
        if name == "main":
            path = file or ""
    if path:
        status = os.stat(os.path.realpath(path))
        rungs = {Rung.FILE: fingerprint("sqlite", status.st_dev, status.st_ino)}
    else:
        # A memory database is its connection's own; two of them are never compared.
        rungs = {Rung.MEMORY: fingerprint("sqlite", uuid.uuid4())}
    return DatabaseFacts(
        system="sqlite",
        namespace=os.path.basename(path),
        rungs=rungs,
        role=Role.PRIMARY,
        schema="main",
        version=sqlite3.sqlite_version,
    )


_READERS: dict[str, Callable[[Any], DatabaseFacts]] = {
    "postgresql": _postgresql,
    "sqlite": _sqlite,
}
