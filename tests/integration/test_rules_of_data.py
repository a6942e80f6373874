"""Tests in the files of the rules on keys, copies and order: each incident and every benign twin."""

from __future__ import annotations

import pytest
from support.telemetry import run_tests_of

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
