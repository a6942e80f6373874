"""Each table keeps its rows as long as the settings say; whole partitions go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from trueline.monitor.errors import SettingsError
from trueline.monitor.settings import load_settings
from trueline.monitor.store.client import Store
from trueline.monitor.store.migrate import migrate
from trueline.monitor.store.retention import FINDINGS, TELEMETRY, parse_overrides, plan, set_retention


def ttl(store: Store, table: str) -> str:
    definition = store.query(
        "SELECT create_table_query FROM system.tables"
        " WHERE database = currentDatabase() AND name = {t:String}",
        {"t": table},
    ).scalar()
    return str(definition).partition(" TTL ")[2].partition(" SETTINGS")[0]


def test_the_settings_reach_every_table_and_old_partitions_go(empty_store: Store) -> None:
    store = empty_store
    migrate(store)
    settings = load_settings({"retention_days": 10, "retention_tables": "otel_logs=3,access_counts=90"})
    assert set(set_retention(store, settings)) == {*TELEMETRY, *FINDINGS}
    assert set_retention(store, settings) == []
    assert ttl(store, "statements") == "toDate(received_at) + toIntervalDay(10)"
    assert ttl(store, "otel_logs") == "toDate(received_at) + toIntervalDay(3)"
    assert ttl(store, "access_counts") == "received_on + toIntervalDay(90)"
    assert ttl(store, "findings") == "toDate(updated_at) + toIntervalDay(400)"

    now = datetime.now(UTC)
    arrived = [now - timedelta(days=days) for days in (0, 9, 12, 40)]
    store.insert("otel_traces", {"Timestamp": arrived, "received_at": arrived})
    store.insert("otel_logs", {"Timestamp": arrived, "received_at": arrived})
    for table, left in (("otel_traces", 2), ("otel_logs", 1)):
        store.command(f"OPTIMIZE TABLE {table} FINAL")
        assert store.query(f"SELECT count() FROM {table}").scalar() == left, table

    assert "statements" in set_retention(store, load_settings({"retention_days": 0}))
    assert ttl(store, "statements") == ""


def test_a_table_of_the_collector_keeps_the_retention_of_its_owner(empty_store: Store) -> None:
    empty_store.command(
        "CREATE TABLE otel_logs (Timestamp DateTime64(9), received_at DateTime64(3)) ENGINE = MergeTree"
        " PARTITION BY toDate(Timestamp) ORDER BY Timestamp TTL toDate(Timestamp) + INTERVAL 3 DAY"
    )
    assert set_retention(empty_store, load_settings({})) == []
    assert ttl(empty_store, "otel_logs") == "toDate(Timestamp) + toIntervalDay(3)"
    assert set_retention(empty_store, load_settings({"retention_tables": "otel_logs=5"})) == ["otel_logs"]


def test_findings_are_never_kept_shorter_than_their_spans() -> None:
    assert plan(500, 400)["findings"] == 500
    assert plan(0, 400)["finding_evidence"] == 0
    assert plan(30, 400, {"findings": 7})["findings"] == 7


@pytest.mark.parametrize("text", ["otel_logs", "otel_logs=", "otel_logs=-1", "nothing=3", "otel_logs=1d"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="otel_logs"):
        parse_overrides(text)
