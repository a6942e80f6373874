"""What surrounds an identity's statements: processes, declarations, other readers, losses."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from trueline.monitor.store.client import Limits, Store
from trueline.monitor.store.coverage_events import read_losses

_LIMITS: Final = Limits(seconds=10, rows=20_000)

_PROCESSES: Final = """
SELECT
    environment, application, service, process_kind, database, database_schema, database_role, database_url,
    database_url_variable, db_system, db_namespace, database_rungs, versions, first_seen, last_seen, reads,
    writes
FROM databases
WHERE ({environment:String} = '' OR environment = {environment:String})
    AND (empty({applications:Array(String)}) OR application IN {applications:Array(String)})
ORDER BY last_seen DESC, environment, application, service, database
LIMIT 500
"""

_DECLARED: Final = """
SELECT application, kind, name, tables, words, seconds
FROM declarations_in_force
WHERE kind IN ('lineage', 'database')
    AND (
        application = '' OR empty({applications:Array(String)})
        OR application IN {applications:Array(String)}
    )
ORDER BY application, kind, name
LIMIT 1000
"""

_OTHERS: Final = """
SELECT
    table, service, keys, database, database_rungs, schema, place_row.url AS url, place_row.name AS name, last
FROM (
    SELECT
        table, service, groupUniqArray(5)((column, encoding)) AS keys,
        argMax(read_row.database, read_row.last_seen) AS database,
        argMax(read_row.database_rungs, read_row.last_seen) AS database_rungs,
        argMax(read_row.database_schema, read_row.last_seen) AS schema,
        max(read_row.last_seen) AS last
    FROM access AS read_row
    WHERE access = 'read' AND table IN {tables:Array(String)} AND column != ''
        AND at >= toStartOfFiveMinutes({since:DateTime64(3)}) AND read_row.last_seen >= {since:DateTime64(3)}
        AND ({environment:String} = '' OR environment = {environment:String})
        AND (empty({applications:Array(String)}) OR application IN {applications:Array(String)})
    GROUP BY table, service
) AS reader_row
ANY LEFT JOIN (
    SELECT
        service, database, argMax(seen_row.database_url, seen_row.last_seen) AS url,
        argMax(seen_row.db_namespace, seen_row.last_seen) AS name
    FROM databases AS seen_row
    GROUP BY service, database
) AS place_row USING (service, database)
ORDER BY last DESC, service
LIMIT 50
"""

_WRITERS: Final = """
SELECT
    environment, table, service, database, database_schema, groupUniqArrayArray(database_rungs) AS rungs
FROM traffic
WHERE access = 'write' AND outcome = 'committed' AND process_kind != 'test' AND database != ''
    AND table IN {tables:Array(String)} AND at >= toStartOfFiveMinutes({since:DateTime64(3)})
    AND ({environment:String} = '' OR environment = {environment:String})
    AND (empty({applications:Array(String)}) OR application IN {applications:Array(String)})
GROUP BY environment, table, service, database, database_schema
ORDER BY environment, table, service, database, database_schema
LIMIT 500
"""

_SENDERS: Final = """
SELECT
    service, groupUniqArray(10)(toString(hash_key_id)) AS keys,
    min(if(sample_ratio > 0, sample_ratio, 1)) AS ratio
FROM statements
WHERE received_at >= {since:DateTime64(3)} AND started_at >= {since:DateTime64(3)}
    AND ({environment:String} = '' OR environment = {environment:String})
GROUP BY service
ORDER BY service
LIMIT 200
"""


def read_processes(store: Store, environment: str, applications: Collection[str]) -> list[dict[str, Any]]:
    """Which process was seen on which database, the last heard of first; no application: all of them."""
    parameters = {"environment": environment, "applications": list(applications)}
    return store.query_read_only(_PROCESSES, parameters, _LIMITS).dicts()


def read_declared(store: Store, applications: Collection[str]) -> list[dict[str, Any]]:
    """Declared lineage and names of databases, as rows of declarations_in_force."""
    return store.query_read_only(_DECLARED, {"applications": list(applications)}, _LIMITS).dicts()


def read_others(
    store: Store, tables: Collection[str], environment: str, applications: Collection[str], since: datetime
) -> list[dict[str, Any]]:
    """How these tables are read for anybody: one row for each table and service."""
    return _of_tables(_OTHERS, store, tables, environment, applications, since)


def read_writers(
    store: Store, tables: Collection[str], environment: str, applications: Collection[str], since: datetime
) -> list[dict[str, Any]]:
    """Which service commits writes to these tables, and where: one row for each of its places."""
    return _of_tables(_WRITERS, store, tables, environment, applications, since)


def read_senders(store: Store, environment: str, since: datetime) -> list[dict[str, Any]]:
    """Services that sent statements since then, with their key ids and smallest share of identities kept."""
    parameters = {"environment": environment, "since": since.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]}
    return store.query_read_only(_SENDERS, parameters, _LIMITS).dicts()


def losses_by_service(
    store: Store, environment: str, applications: Collection[str], since: datetime
) -> dict[str, int]:
    """Lost spans by service since then; no application: of all of them."""
    found: dict[str, int] = {}
    for (where, application, service), reasons in read_losses(store, since, "").items():
        if environment in ("", where) and (not applications or application in applications):
            found[service] = found.get(service, 0) + sum(reasons.values())
    return found


def _of_tables(
    question: str,
    store: Store,
    tables: Collection[str],
    environment: str,
    applications: Collection[str],
    since: datetime,
) -> list[dict[str, Any]]:
    if not tables:
        return []
    parameters = {
        "tables": list(tables),
        "environment": environment,
        "applications": list(applications),
        "since": since.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
    }
    return store.query_read_only(question, parameters, _LIMITS).dicts()
