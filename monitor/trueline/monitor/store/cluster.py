"""The same schema on a cluster: Replicated tables on each shard, Distributed ones over them.

Each table T of the schema becomes ``T_local``, replicated within its shard, and a Distributed table ``T``
that all read and write. Spans go to shards by trace, so that a trace, its transactions and what settles them
are on one shard. Insert views, and views that join, work there on local tables. What the monitor itself
writes (findings, declarations ...) goes to shards by the id that its rows are replaced by.
"""

from __future__ import annotations

import re
from typing import Final

from trueline.monitor.errors import MigrationError, SettingsError

#: By what a table's rows are distributed; all others have the trace's id as ``trace_id``.
SHARDED_BY: Final[dict[str, str]] = {
    "otel_traces": "cityHash64(TraceId)",
    "otel_logs": "cityHash64(TraceId)",
    "settlements": "cityHash64(transaction_id)",
    "database_sightings": "cityHash64(service, database)",
    "access_counts": "cityHash64(table, domain)",
    "table_uses": "cityHash64(table)",
    "service_versions": "cityHash64(service)",
    "export_losses": "cityHash64(service)",
    "process_ends": "cityHash64(service)",
    "operation_counts": "cityHash64(service, operation)",
    "findings": "cityHash64(id)",
    "finding_occurrences": "cityHash64(finding_id)",
    "finding_evidence": "cityHash64(finding_id)",
    "finding_events": "cityHash64(finding_id)",
    "rule_runs": "cityHash64(rule)",
    "silences": "cityHash64(id)",
    "incident_members": "cityHash64(finding_id)",
    "notifications": "cityHash64(target, key)",
    "declarations": "cityHash64(application)",
}
_BY_TRACE: Final = "cityHash64(trace_id)"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}")
_COMMENTS: Final = re.compile(r"^--[^\n]*\n", re.MULTILINE)
_TABLE: Final = re.compile(
    r"CREATE TABLE IF NOT EXISTS (?P<name>\w+)\n(?P<columns>\(\n.*\n\))\n"
    r"ENGINE = (?P<engine>\w*MergeTree)(?:\((?P<arguments>[^()]*)\))?\n(?P<rest>.*)",
    re.DOTALL,
)
_INSERT_VIEW: Final = re.compile(
    r"CREATE MATERIALIZED VIEW IF NOT EXISTS (?P<name>\w+) TO (?P<target>\w+) AS\n(?P<select>.*)", re.DOTALL
)
_VIEW: Final = re.compile(r"CREATE OR REPLACE VIEW (?P<name>\w+) AS\n(?P<select>.*)", re.DOTALL)
_ALTER: Final = re.compile(r"ALTER TABLE (?P<name>\w+)\s+(?P<change>.*)", re.DOTALL)
_SOURCE: Final = re.compile(r"\b(FROM|(?<!ARRAY )JOIN) (\w+)")


def require_cluster_name(name: str) -> None:
    """Raise SettingsError for what cannot be a cluster's name."""
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"{name!r} cannot be a cluster's name: give one that the server has in system.clusters."
        )


def render(sql: str, cluster: str, database: str) -> list[str]:
    """The statements that do on a cluster what one schema file does on one server.

    Raise MigrationError for a statement that is none of the kinds known here.
    """
    statement = _COMMENTS.sub("", sql).strip().rstrip(";")
    on = f"ON CLUSTER '{cluster}'"
    if match := _TABLE.fullmatch(statement):
        return _table(match, cluster, database)
    if match := _INSERT_VIEW.fullmatch(statement):
        select = _local(match["select"])
        view, target = match["name"], match["target"]
        return [f"CREATE MATERIALIZED VIEW IF NOT EXISTS {view} {on} TO {target}_local AS\n{select}"]
    if match := _VIEW.fullmatch(statement):
        return _view(match, cluster, database)
    if match := _ALTER.fullmatch(statement):
        name, change = match["name"], match["change"]
        changes = [f"ALTER TABLE {name}_local {on} {change}"]
        if re.match(r"(ADD|DROP|RENAME|MODIFY|COMMENT) COLUMN", change):
            changes.append(f"ALTER TABLE {name} {on} {re.sub(r' CODEC[(].*[)](?=$|,| AFTER)', '', change)}")
        return changes
    raise MigrationError(f"Nobody knows how to run this on a cluster: {statement[:80]}")


def ledger(sql: str, cluster: str, database: str) -> str:
    """The table of applied migrations, the same on every replica of every shard."""
    path = f"'/clickhouse/tables/all/{database}/schema_migrations', '{{shard}}-{{replica}}'"
    return sql.replace(" schema_migrations\n", f" schema_migrations ON CLUSTER '{cluster}'\n").replace(
        "ENGINE = MergeTree", f"ENGINE = ReplicatedMergeTree({path})"
    )


def _table(match: re.Match[str], cluster: str, database: str) -> list[str]:
    name, engine = match["name"], match["engine"]
    arguments = [f"'/clickhouse/tables/{{shard}}/{database}/{name}'", "'{replica}'"]
    if match["arguments"]:
        arguments.append(match["arguments"])
    rest = match["rest"].replace("non_replicated_deduplication_window", "replicated_deduplication_window")
    key = SHARDED_BY.get(name, _BY_TRACE)
    if key == _BY_TRACE and "    trace_id " not in match["columns"]:
        raise MigrationError(
            f"The table {name} has no trace_id: say in SHARDED_BY how its rows are distributed."
        )
    on = f"ON CLUSTER '{cluster}'"
    return [
        f"CREATE TABLE IF NOT EXISTS {name}_local {on}\n{match['columns']}\n"
        f"ENGINE = Replicated{engine}({', '.join(arguments)})\n{rest}",
        _distributed(name, cluster, database, key),
    ]


def _view(match: re.Match[str], cluster: str, database: str) -> list[str]:
    name, select = match["name"], match["select"]
    on = f"ON CLUSTER '{cluster}'"
    if " JOIN " in select and "GROUP BY" not in select:
        # What is joined is on one shard: joined there, row by row, and read from all of them.
        return [
            f"CREATE OR REPLACE VIEW {name}_local {on} AS\n{_local(select)}",
            _distributed(name, cluster, database, _BY_TRACE),
        ]
    select = select.replace("ANY LEFT JOIN", "GLOBAL ANY LEFT JOIN").replace(
        " IN (SELECT", " GLOBAL IN (SELECT"
    )
    return [f"CREATE OR REPLACE VIEW {name} {on} AS\n{select}"]


def _distributed(name: str, cluster: str, database: str, key: str) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS {name} ON CLUSTER '{cluster}' AS {name}_local\n"
        f"ENGINE = Distributed('{cluster}', '{database}', '{name}_local', {key})"
    )


def _local(select: str) -> str:
    return _SOURCE.sub(r"\1 \2_local", select)
