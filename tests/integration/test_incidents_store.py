"""Incidents over a real store: one grouping for all who ask, and old ones by their id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.engine_bench import empty_tables, schema_store
from support.findings import make_finding

from trueline.monitor.engine import incident
from trueline.monitor.engine.finding import Cause, Finding, State
from trueline.monitor.store import incidents as stored
from trueline.monitor.store.client import Store
from trueline.monitor.store.findings import StoredFindings


@pytest.fixture(scope="module")
def store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_incidents") as store:
        yield store


@pytest.fixture
def findings(store: Store) -> StoredFindings:
    empty_tables(store)
    return StoredFindings(store)


def made(number: int, **fields: object) -> Finding:
    return make_finding("key_mismatch", group={"n": number}, **fields)


def test_a_grouping_is_made_once_until_a_finding_changes(
    findings: StoredFindings, monkeypatch: pytest.MonkeyPatch
) -> None:
    grouped: list[Any] = []

    def group(*given: Any) -> list[incident.Incident]:
        grouped.append(given)
        return incident.group(*given)

    monkeypatch.setattr(stored, "group", group)
    findings.save([made(1), made(2)], [])
    first = findings.incidents.all()
    assert (findings.incidents.all(), len(first), len(grouped)) == (first, 2, 1)
    findings.save([made(3)], [])
    assert (len(findings.incidents.all()), len(findings.incidents.homes()), len(grouped)) == (3, 3, 2)


def test_an_incident_that_was_over_long_ago_is_still_found_by_its_id(findings: StoredFindings) -> None:
    findings.save([made(1)], [])
    (one,) = findings.incidents.all()
    ended = datetime.now(UTC) - 2 * stored.REMEMBERED
    findings.save([replace(made(1), state=State.RESOLVED, resolved_by=Cause.PERSON, resolved_at=ended)], [])
    assert findings.incidents.all() == []
    found = findings.incidents.find(one.id)
    assert found is not None
    assert (found.id, found.state, findings.incidents.homes()) == (
        one.id,
        State.RESOLVED,
        {made(1).id: one.id},
    )
    assert findings.incidents.find("nothing") is None


def test_another_process_sees_the_same_incidents(store: Store, findings: StoredFindings) -> None:
    findings.save([made(1, trace_ids=("t",)), made(2, trace_ids=("t",))], [])
    (before,) = findings.incidents.all()
    again = StoredFindings(store)
    again.save([made(3, trace_ids=("t",), opened_at=made(1).opened_at - timedelta(hours=1))], [])
    (after,) = again.incidents.all()
    assert (after.id, len(after.findings)) == (before.id, 3)
