"""What the store knows of derived tables beside their declarations: learned ones, and who makes them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final

from trueline.monitor.store.client import Limits, Store

_LIMITS: Final = Limits(seconds=10, rows=20_000)

#: A rule has learned which table is made from which where it has found one behind.
_LEARNED: Final = """
SELECT DISTINCT
    JSONExtractString(facts, 'table') AS name,
    splitByString(', ', JSONExtractString(facts, 'source_tables')) AS tables,
    JSONExtractUInt(facts, 'allowed') AS seconds
FROM findings FINAL
WHERE rule = 'stale_summary' AND state != 'resolved' AND JSONExtractUInt(facts, 'is_learned') = 1
    AND ({environment:String} = '' OR environment = {environment:String})
    AND (empty({applications:Array(String)}) OR application IN {applications:Array(String)})
ORDER BY name
LIMIT 100
"""

_WRITTEN: Final = """
SELECT DISTINCT toString(table) AS name
FROM traffic
WHERE access = 'write' AND outcome IN ('committed', 'open') AND process_kind != 'test'
    AND table IN {tables:Array(String)} AND at >= toStartOfFiveMinutes({since:DateTime64(3)})
    AND ({environment:String} = '' OR environment = {environment:String})
    AND (empty({applications:Array(String)}) OR application IN {applications:Array(String)})
"""

#: Writes that do not say for whom: INSERT ... SELECT, a batch of more than can be named.
_MADE_FOR_ALL: Final = """
SELECT toString(tables[1]) AS name, max(started_at) AS made_at
FROM statements_resolved
WHERE started_at >= {since:DateTime64(3)} AND received_at >= {since:DateTime64(3)}
    AND kind = 'write' AND status != 'error' AND outcome IN ('committed', 'open') AND process_kind != 'test'
    AND tables[1] IN {tables:Array(String)}
    AND (
        identity_count > length(identity_values)
        OR (empty(identity_values) AND empty(identity_row) AND empty(identity_bound))
    )
    AND ({environment:String} = '' OR environment = {environment:String})
    AND (empty({applications:Array(String)}) OR application IN {applications:Array(String)})
GROUP BY name
"""


def read_learned(store: Store, environment: str, applications: Collection[str]) -> list[dict[str, Any]]:
    """Derived tables (name, tables, seconds) that nobody declared and that are known to be behind."""
    parameters = {"environment": environment, "applications": list(applications)}
    return store.query_read_only(_LEARNED, parameters, _LIMITS).dicts()


def read_written(
    store: Store, tables: Collection[str], environment: str, applications: Collection[str], since: datetime
) -> set[str]:
    """Those of the tables that any statement has written since."""
    rows = _of_tables(_WRITTEN, store, tables, environment, applications, since)
    return {row["name"] for row in rows}


def read_made_for_all(
    store: Store, tables: Collection[str], environment: str, applications: Collection[str], since: datetime
) -> dict[str, datetime]:
    """When each of the tables was last written since then by a statement that does not say for whom."""
    rows = _of_tables(_MADE_FOR_ALL, store, tables, environment, applications, since)
    return {row["name"]: row["made_at"] for row in rows}


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
