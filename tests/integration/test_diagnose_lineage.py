"""Diagnoses of summaries that are made, or not, by statements that do not say for whom, on the real store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.findings import make_finding
from support.telemetry import insert_telemetry

from trueline.monitor.diagnose.gather import gather
from trueline.monitor.diagnose.judge import Verdict, diagnose
from trueline.monitor.store.client import Store
from trueline.monitor.store.findings import StoredFindings
from trueline.monitor.store.identities import Span

LINEAGE = {
    "kind": "lineage",
    "name": "summaries",
    "tables": ["expenses"],
    "seconds": 60,
    "words": ["application"],
}
KEY = "expenses.user_id {} integer user:u1"
SPENT = {"at": "-20m", "write": "expenses", "ids": [KEY.format("set")], "rows": 1}
FOUND = {"at": "-10s", "read": "expenses", "ids": [KEY.format("where")], "rows": 1}
LOOK = {"at": "-10s", "read": "summaries", "ids": ["summaries.user_id where integer user:u1"], "rows": 1}
MADE = {"at": "-30m", "write": "summaries", "ids": ["summaries.user_id set integer user:u1"], "rows": 1}
OF_ANOTHER = {"at": "-5m", "write": "summaries", "ids": ["summaries.user_id set integer user:u2"], "rows": 1}
FOR_ALL = {"at": "-15m", "write": ["summaries", "expenses"], "rows": 9, "service": "nightly"}


def verdict(store: Store) -> Verdict:
    now = datetime.now(UTC)
    span = Span(["u1"], ["user"], now - timedelta(hours=1), now + timedelta(minutes=1))
    return diagnose(gather(store, span, now, "")).verdict


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([MADE], Verdict.CACHE),
        ([MADE, FOR_ALL], Verdict.HEALTHY),
        ([MADE, {**FOR_ALL, "at": "-25m"}], Verdict.CACHE),
        ([MADE, {**FOR_ALL, "outcome": "rolled_back", "reason": "exception"}], Verdict.CACHE),
        ([OF_ANOTHER], Verdict.CACHE),
        # Nobody was ever seen writing it: a trigger may do so.
        ([], Verdict.HEALTHY),
    ],
    ids=["old", "made for all", "made for all before", "rolled back", "another's", "nobody writes it"],
)
def test_what_is_written_for_nobody_in_particular(
    store: Store, statements: list[dict[str, Any]], expected: Verdict
) -> None:
    insert_telemetry(store, declarations=[LINEAGE], statements=[SPENT, FOUND, LOOK, *statements])
    assert verdict(store) is expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Verdict.CACHE),
        ({"is_learned": 0}, Verdict.HEALTHY),
        ({"allowed": 3600}, Verdict.HEALTHY),
    ],
    ids=["learned", "not learned", "it has more time"],
)
def test_a_lineage_that_a_rule_has_learned(store: Store, changes: dict[str, Any], expected: Verdict) -> None:
    insert_telemetry(store, statements=[SPENT, FOUND, LOOK, MADE])
    facts = {"table": "summaries", "source_tables": "expenses", "allowed": 300, "is_learned": 1, **changes}
    behind = make_finding("stale_summary", environment="prod", application="", facts=facts)
    StoredFindings(store).save([behind], [])
    assert verdict(store) is expected
