"""Tests in the files of the rules on keys, copies and order: each incident and every benign twin."""

from __future__ import annotations

import pytest
from support.judged import judge
from support.telemetry import insert_telemetry, run_tests_of

from trueline.monitor.store.client import Store


@pytest.mark.parametrize(
    ("rule", "least"),
    [
        ("duplicate_delivery", 25),
        ("dual_writer", 20),
        ("identity_encoding_drift", 19),
        ("lost_update", 28),
        ("missing_counterpart", 24),
        ("read_before_commit", 23),
        ("stale_summary", 23),
    ],
)
def test_finds_the_incident_and_no_twin(store: Store, rule: str, least: int) -> None:
    results = run_tests_of(store, rule)
    assert len(results) >= least
    assert {result.name: result.problems for result in results if not result.passed} == {}


def test_a_busy_column_does_not_hide_the_drift_of_another_one(store: Store) -> None:
    """As many people of each column are looked up as the parameter says, not of all columns together."""
    busy = [
        {"at": at, "write": "tags", "ids": [f"tags.user_id set {form} user:{form}{number}{at}"], "rows": 1}
        for at in ("-60s", "-40s")
        for number in range(20)
        for form in ("raw", "sha256")
    ]
    drifting = [
        {"at": "-50s", "write": "expenses", "ids": [f"expenses.user_id set {form} user:u1"], "rows": 1}
        for form in ("raw", "sha256")
    ]
    insert_telemetry(store, statements=[*busy, *drifting])
    found = judge(store, "identity_encoding_drift", most_identities=10)
    assert [(row["table"], row["count"]) for row in found] == [("expenses", 1)]
