"""How long each table keeps its rows, in days of arrival; telemetry goes by whole partitions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from trueline.monitor.errors import MigrationError, QueryError, SettingsError

if TYPE_CHECKING:
    from trueline.monitor.settings import Settings
    from trueline.monitor.store.client import Store

#: Spans, logs and what insert views make of them, by the column that says when a row came.
TELEMETRY: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            *("otel_traces", "otel_logs", "statements", "transactions", "entries", "ai_calls", "exceptions"),
            *("settlements", "identity_statements", "violation_statements", "failed_statements"),
            *("open_writes", "process_ends"),
        ),
        "toDate(received_at)",
    ),
    "access_counts": "received_on",
    "table_uses": "received_on",
    "operation_counts": "received_on",
}
#: Findings and what proves them: kept longer, since they are read when the spans are gone.
FINDINGS: Final[dict[str, str]] = {
    "findings": "toDate(updated_at)",
    "finding_occurrences": "toDate(added_at)",
    "finding_evidence": "toDate(copied_at)",
    "finding_events": "toDate(at)",
}
DEFAULT_DAYS: Final = 30
DEFAULT_FINDING_DAYS: Final = 400
_DAYS: Final = re.compile(r"TTL .*?\+ (?:toIntervalDay\((\d+)\)|INTERVAL (\d+) DAY)")


def parse_overrides(text: str) -> dict[str, int]:
    """Read ``"otel_logs=7, access_counts=365"``. Raise SettingsError for anything else."""
    days = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        table, separator, number = (word.strip() for word in part.partition("="))
        if table not in TELEMETRY and table not in FINDINGS:
            known = ", ".join(sorted({**TELEMETRY, **FINDINGS}))
            raise SettingsError(f"There is no retention of a table {table!r}; there are {known}.")
        if not separator or not number.isdecimal() or int(number) > 36_500:
            raise SettingsError(
                f"{part!r} is not a table's retention: write {table}=30, in days; 0 for ever."
            )
        days[table] = int(number)
    return days


def plan(
    days: int = DEFAULT_DAYS, finding_days: int = DEFAULT_FINDING_DAYS, overrides: Mapping[str, int] = {}
) -> dict[str, int]:
    """Days by table; 0 is for ever. Findings are never kept shorter than the spans they are made of."""
    longest = 0 if days == 0 or finding_days == 0 else max(days, finding_days)
    return dict.fromkeys(TELEMETRY, days) | dict.fromkeys(FINDINGS, longest) | dict(overrides)


def apply_retention(store: Store, wanted: Mapping[str, int], overridden: Mapping[str, int] = {}) -> list[str]:
    """Set each table's TTL where it differs; returns the tables that were changed.

    A change is one of metadata: what is too old goes with the next merge, within some hours. Raw tables that
    the Collector made keep the retention of their owner unless ``overridden`` names them.
    """
    suffix = "_local" if store.cluster else ""
    definitions = dict(
        store.query(
            "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
        ).rows
    )
    changed = []
    for table, days in wanted.items():
        definition = definitions.get(table + suffix)
        if definition is None or (
            table.startswith("otel_") and "toDate(received_at)" not in definition and table not in overridden
        ):
            continue
        match = _DAYS.search(definition)
        if (int(match[1] or match[2]) if match else 0) == days:
            continue
        on = f" ON CLUSTER '{store.cluster}'" if store.cluster else ""
        column = (TELEMETRY | FINDINGS)[table]
        change = f"MODIFY TTL {column} + INTERVAL {days} DAY" if days else "REMOVE TTL"
        try:
            store.command(
                f"ALTER TABLE {table}{suffix}{on} {change} SETTINGS materialize_ttl_after_modify = 0"
            )
        except QueryError as error:
            raise MigrationError(f"The retention of {table} cannot be set: {error}") from error
        changed.append(table)
    return changed


def set_retention(store: Store, settings: Settings) -> list[str]:
    """Apply what the settings say; returns the tables that were changed."""
    overrides = parse_overrides(settings.retention_tables)
    wanted = plan(settings.retention_days, settings.retention_findings_days, overrides)
    return apply_retention(store, wanted, overrides)
