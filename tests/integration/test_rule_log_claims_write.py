"""The rule's own tests: the incident in its variants, and every benign twin."""

from __future__ import annotations

from support.telemetry import run_tests_of

from trueline.monitor.store.client import Store


def test_finds_the_incident_and_no_twin(store: Store) -> None:
    results = run_tests_of(store, "log_claims_write")
    assert len(results) >= 27
    assert {result.name: result.problems for result in results if not result.passed} == {}
