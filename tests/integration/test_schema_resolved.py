"""A statement has its final outcome whatever the order in which it and its transaction arrive."""

from __future__ import annotations

from typing import Any

import pytest
from support.telemetry import insert_telemetry

from trueline.monitor.store.client import Store

OPEN: dict[str, Any] = {
    "at": "-20s",
    "write": "t",
    "ids": ["t.user_id set integer user:u1"],
    "transaction": "x1",
    "outcome": "open",
}
SETTLED: dict[str, Any] = {"transaction": "x1", "outcome": "committed", "open_statements": 1}


def outcomes(store: Store) -> list[tuple[Any, ...]]:
    resolved = store.query("SELECT span_id, outcome, reason FROM statements_resolved ORDER BY span_id").rows
    uses = store.query("SELECT span_id, outcome FROM identity_uses ORDER BY span_id").rows
    assert uses == [row[:2] for row in resolved]
    return resolved


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [("committed", ""), ("rolled_back", "exception"), ("rolled_back", "not_committed"), ("unknown", "")],
)
@pytest.mark.parametrize("transaction_first", [True, False])
def test_the_transaction_settles_its_open_statements(
    store: Store, outcome: str, reason: str, transaction_first: bool
) -> None:
    statements = [{**OPEN, "span_id": "a1"}, {**OPEN, "span_id": "a2"}]
    transactions = [{"transaction": "x1", "outcome": outcome, "reason": reason, "open_statements": 2}]
    if transaction_first:
        insert_telemetry(store, transactions=transactions)
        insert_telemetry(store, statements=statements)
    else:
        insert_telemetry(store, statements=statements)
        assert outcomes(store) == [("a1", "open", ""), ("a2", "open", "")]
        insert_telemetry(store, transactions=transactions)
    assert outcomes(store) == [("a1", outcome, reason), ("a2", outcome, reason)]


def test_what_a_savepoint_undid_is_rolled_back_though_the_transaction_committed(store: Store) -> None:
    insert_telemetry(
        store,
        statements=[{**OPEN, "span_id": "a1"}, {**OPEN, "span_id": "a2"}],
        transactions=[
            {
                "transaction": "x1",
                "outcome": "committed",
                "open_statements": 2,
                "rolled_back_statements": ["a2"],
            }
        ],
    )
    assert outcomes(store) == [("a1", "committed", ""), ("a2", "rolled_back", "savepoint")]


def test_a_decided_statement_keeps_its_own_outcome(store: Store) -> None:
    insert_telemetry(
        store,
        statements=[{**OPEN, "span_id": "a1", "outcome": "rolled_back", "reason": "savepoint"}],
        transactions=[SETTLED],
    )
    assert outcomes(store) == [("a1", "rolled_back", "savepoint")]


def test_ten_minutes_without_a_transaction_is_abandoned(store: Store) -> None:
    insert_telemetry(
        store,
        statements=[
            {**OPEN, "span_id": "a1", "at": "-11m", "transaction": "x1"},
            {**OPEN, "span_id": "a2", "at": "-9m", "transaction": "x2"},
            {**OPEN, "span_id": "a3", "at": "-11m", "transaction": "x3"},
        ],
        transactions=[{**SETTLED, "transaction": "x3"}],
    )
    assert outcomes(store) == [
        ("a1", "rolled_back", "abandoned"),
        ("a2", "open", ""),
        ("a3", "committed", ""),
    ]


def test_a_transaction_span_stored_twice_doubles_no_statement(store: Store) -> None:
    insert_telemetry(store, statements=[{**OPEN, "span_id": "a1"}], transactions=[SETTLED, SETTLED])
    assert outcomes(store) == [("a1", "committed", "")]


def test_a_transaction_without_an_id_settles_nothing(store: Store) -> None:
    insert_telemetry(
        store,
        statements=[
            {**OPEN, "span_id": "a1", "transaction_id": ""},
            {**OPEN, "span_id": "a2", "outcome": "committed"},
        ],
        transactions=[
            {"transaction_id": "", "outcome": "rolled_back", "reason": "explicit", "open_statements": 1}
        ],
    )
    assert outcomes(store) == [("a1", "open", ""), ("a2", "committed", "")]


@pytest.mark.parametrize("view", ["statements_resolved", "identity_uses"])
def test_a_bound_on_time_reaches_the_tables_key_through_the_view(store: Store, view: str) -> None:
    insert_telemetry(store, statements=[OPEN])
    plan = store.query(
        f"EXPLAIN indexes = 1 SELECT outcome FROM {view}"
        " WHERE started_at > now() - INTERVAL 1 HOUR AND environment = 'prod'"
        " AND received_at > now() - INTERVAL 1 MINUTE"
    )
    text = "\n".join(line for (line,) in plan)
    assert "toStartOfFiveMinutes(started_at)" in text
    assert "toDate(received_at) in" in text
    assert "Name: received_at" in text
