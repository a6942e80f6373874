"""Rules that compare identities are bounded by number and by volume, and still find what is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.telemetry import PATIENT, RULES

from trueline.monitor.engine.evaluate import select
from trueline.monitor.engine.load import load_rule
from trueline.monitor.engine.rule_rows import insert_rows, span_rows
from trueline.monitor.store.client import Store

Row = dict[str, Any]
NOW = datetime.now(UTC).replace(microsecond=0)
TENANT, USER = "tenant:t1", "user:u1"


def write(whom: str, at: str, **other: Any) -> Row:
    ids = [f"expenses.{whom.partition(':')[0]}_id set integer {whom}"]
    return {"at": at, "write": "expenses", "ids": ids, "service": "web", **other}


def read(whom: str, at: str = "-5s", **other: Any) -> Row:
    ids = [f"expenses.{whom.partition(':')[0]}_id where integer {whom}"]
    return {"at": at, "read": "expenses", "ids": ids, "service": "worker", "database": "old", **other}


def reads(whom: str) -> list[Row]:
    """Twenty requests within ten seconds: 170,000 a day."""
    return [read(whom, f"-{number / 2}s") for number in range(1, 21)]


def found(store: Store, rows: list[Row], **params: Any) -> list[str]:
    """Whom the rule finds cut off, judging the last twelve seconds of arrivals."""
    insert_rows(store.insert, "statements", span_rows("statements", rows, now=NOW))
    rule = load_rule(RULES / "env_split.yaml")
    bound = {
        **rule.parameters,
        **params,
        "start": NOW - timedelta(seconds=12),
        "end": NOW,
        "since": NOW - timedelta(hours=24),
    }
    answer = select(
        rule, bound, lambda sql, parameters: store.query_read_only(sql, parameters, PATIENT).dicts()
    )
    return [who for row in answer for who in row["some_identities"]]


def test_a_busy_identity_and_a_quiet_one_are_compared_over_the_whole_day(store: Store) -> None:
    rows = [write(TENANT, "-2h"), *reads(TENANT), write(USER, "-20h"), read(USER)]
    assert found(store, rows) == ["tenant t1", "user u1"]


def test_beyond_the_volume_the_busiest_are_compared_over_the_last_quarter_of_an_hour(store: Store) -> None:
    rows = [write(TENANT, "-2h"), *reads(TENANT), write(USER, "-20h"), read(USER)]
    assert found(store, rows, most_rows=10_000) == ["user u1"]


def test_a_busy_identity_that_was_written_lately_is_found_beyond_the_volume(store: Store) -> None:
    rows = [write(TENANT, "-14m"), *reads(TENANT), write(USER, "-20h"), read(USER)]
    assert found(store, rows, most_rows=10_000) == ["tenant t1", "user u1"]


@pytest.mark.parametrize("cut_off", [1, 7])
def test_who_was_read_where_nobody_writes_is_compared_first(store: Store, cut_off: int) -> None:
    """However many others arrive, and whatever their hashes."""
    rows = [write(f"user:v{number}", "-6s") for number in range(60)]
    rows += [write(f"user:u{cut_off}", "-20h"), read(f"user:u{cut_off}")]
    assert found(store, rows, most_identities=1) == [f"user u{cut_off}"]


@pytest.mark.parametrize("ahead", ["40s", "30m", "10h"])
def test_a_reader_whose_clock_is_ahead_is_compared(store: Store, ahead: str) -> None:
    rows = [write(USER, "-1h"), read(USER, ahead, received="-3s")]
    assert found(store, rows) == ["user u1"]
