"""Diagnoses of writes whose end has to be concluded from other rows, on the real store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.telemetry import insert_telemetry

from trueline.monitor.diagnose.gather import gather
from trueline.monitor.diagnose.judge import Verdict, diagnose
from trueline.monitor.store.client import Store
from trueline.monitor.store.identities import Span

OPEN = {
    "at": "-40s",
    "write": "expenses",
    "ids": ["expenses.user_id set integer user:u1"],
    "outcome": "open",
    "instance": "i1",
}
READ = {
    "at": "-20s",
    "read": "expenses",
    "ids": ["expenses.user_id where integer user:u1"],
    "filters": ["expenses.user_id"],
}
BYE = {
    "at": "-38s",
    "body": "",
    "EventName": "trueline.inventory",
    "instance": "i1",
    "level": "INFO",
    "attributes": {"trueline.inventory.trigger": "end"},
}
REFUSED = {
    "at": "-39s",
    "write": "people",
    "ids": ["people.clerk_id set raw user:u1"],
    "trace": "t1",
    "transaction": "x1",
    "rows": -1,
    "error": "duplicate key",
    "constraint_name": "people_clerk_id_key",
    "constraint_kind": "unique",
    "constraint_columns": ["clerk_id"],
}
LOOKED_UP = {
    "at": "-38s",
    "read": "people",
    "ids": ["people.clerk_id where raw user:u1"],
    "trace": "t1",
    "filters": ["people.clerk_id"],
    "rows": 1,
}


def verdict(store: Store) -> Verdict:
    now = datetime.now(UTC)
    span = Span(["u1"], ["user"], now - timedelta(hours=1), now + timedelta(minutes=1))
    return diagnose(gather(store, span, now, "")).verdict


@pytest.mark.parametrize(
    ("said_good_bye", "expected"),
    [("i1", Verdict.COMMIT), ("another", Verdict.CANNOT_TELL), ("", Verdict.CANNOT_TELL)],
)
def test_what_an_ended_process_left_open_was_never_committed(
    store: Store, said_good_bye: str, expected: Verdict
) -> None:
    rows: dict[str, Any] = {"statements": [OPEN, {**READ, "rows": 0}]}
    if said_good_bye:
        rows["logs"] = [{**BYE, "instance": said_good_bye}]
    insert_telemetry(store, **rows)
    assert verdict(store) is expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Verdict.HEALTHY),
        ({"rows": 0}, Verdict.COMMIT),
        ({"filters": ["people.goal"]}, Verdict.COMMIT),
        ({"trace": "t2"}, Verdict.COMMIT),
        ({"at": "-40s"}, Verdict.COMMIT),
    ],
)
def test_a_refused_row_that_the_code_then_looked_up_is_there(
    store: Store, changes: dict[str, Any], expected: Verdict
) -> None:
    stored = {**OPEN, "outcome": "committed"}
    # The transaction goes on: what failed was undone by its savepoint.
    around = {"at": "-39500ms", "ms": 5000, "trace": "t1", "transaction": "x1", "writes": 1}
    statements: list[dict[str, Any]] = [stored, {**READ, "rows": 1}, REFUSED, LOOKED_UP | changes]
    insert_telemetry(store, statements=statements, transactions=[around])
    assert verdict(store) is expected


WRITTEN = {
    **{"at": "-40s", "write": "expenses", "ids": ["expenses.user_id set integer user:u1"], "rows": 1},
    **{"trace": "t1", "transaction": "x1", "service": "web"},
}
COMMITTED = {"at": "-40s", "ms": 4000, "trace": "t1", "transaction": "x1", "writes": 1, "service": "web"}
ANSWERED = {"at": "-41s", "trace": "t1", "span_kind": "server", "service": "web", "http_status": 200}


@pytest.mark.parametrize(
    ("answered_after_ms", "expected"),
    [(2000, Verdict.TIMING), (4000, Verdict.CANNOT_TELL), (5500, Verdict.CANNOT_TELL)],
)
def test_who_reads_before_the_commit_may_have_been_told_that_it_is_there(
    store: Store, answered_after_ms: int, expected: Verdict
) -> None:
    """Written after 1 s, read after 3 s, committed after 5 s."""
    insert_telemetry(
        store,
        statements=[WRITTEN, {**READ, "at": "-38s", "rows": 0, "service": "web", "trace": "t2"}],
        transactions=[COMMITTED],
        entries=[{**ANSWERED, "ms": answered_after_ms}],
    )
    assert verdict(store) is expected


@pytest.mark.parametrize(
    ("level", "began", "system", "expected"),
    [
        ("REPEATABLE READ", "-39s", "postgresql", Verdict.TIMING),
        ("REPEATABLE READ", "-35s", "postgresql", Verdict.HEALTHY),
        ("READ COMMITTED", "-39s", "postgresql", Verdict.HEALTHY),
        # What it calls SERIALIZABLE says nothing of when its snapshot was taken.
        ("SERIALIZABLE", "-39s", "sqlite", Verdict.HEALTHY),
    ],
)
def test_a_transaction_that_began_before_the_commit_may_not_see_it(
    store: Store, level: str, began: str, system: str, expected: Verdict
) -> None:
    """Committed 36 s ago, read 20 s ago."""
    reading = {"trace": "t2", "transaction": "x2", "service": "worker"}
    around = {"at": began, "ms": 25000, "writes": 1, "isolation_level": level, "db_system": system}
    insert_telemetry(
        store,
        statements=[WRITTEN, {**READ, "rows": 1, **reading}],
        transactions=[COMMITTED, {**around, **reading}],
    )
    assert verdict(store) is expected
