"""Builds rows of the typed tables in the compact form that rule files use, and inserts them into a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trueline.monitor.engine.load import load_rule
from trueline.monitor.engine.rule_rows import TOUCHED_TABLES, insert_rows, span_rows
from trueline.monitor.engine.rule_tests import RuleTestResult, run_rule_tests
from trueline.monitor.store.client import Limits, Store

#: A busy machine makes a rule no worse.
PATIENT = Limits(seconds=120)
RULES = Path(__file__).parents[2] / "rules"


def insert_telemetry(
    store: Store, *, now: datetime | None = None, **tables: Sequence[Mapping[str, Any]]
) -> datetime:
    """Insert compact rows (``statements=[{"at": "-5s", "write": "expenses"}]``); returns what was now."""
    moment = now or datetime.now(UTC)
    for table, rows in tables.items():
        insert_rows(store.insert, table, span_rows(table, rows, now=moment, seed=str(moment)))
    return moment


def clear_telemetry(store: Store) -> None:
    """Empty the typed tables."""
    for table in TOUCHED_TABLES:
        store.command(f"TRUNCATE TABLE {table}")


def run_tests_of(store: Store, rule_id: str) -> list[RuleTestResult]:
    """Run the tests that a shipped rule carries."""
    return run_rule_tests(
        load_rule(RULES / f"{rule_id}.yaml"),
        query=lambda sql, parameters: store.query_read_only(sql, parameters, PATIENT).dicts(),
        insert=store.insert,
        clear=lambda: clear_telemetry(store),
        now=datetime.now(UTC),
    )
