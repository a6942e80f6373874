"""A statement has its final outcome whatever the order in which it and its transaction arrive."""

from __future__ import annotations

from typing import Any

import pytest
from support.telemetry import insert_telemetry

from trueline.monitor.store.client import Limits, Store

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


def plan_of(store: Store, query: str) -> str:
    return "\n".join(line for (line,) in store.query(f"EXPLAIN indexes = 1 {query}"))


@pytest.mark.parametrize("view", ["statements_resolved", "identity_arrivals"])
def test_a_bound_on_time_reaches_the_tables_key_through_the_view(store: Store, view: str) -> None:
    insert_telemetry(store, statements=[OPEN])
    text = plan_of(
        store,
        f"SELECT {'outcome' if view == 'statements_resolved' else 'identity'} FROM {view}"
        " WHERE started_at > now() - INTERVAL 1 HOUR AND environment = 'prod'"
        " AND received_at > now() - INTERVAL 1 MINUTE",
    )
    assert "toStartOfFiveMinutes(started_at)" in text
    assert "toDate(received_at) in" in text
    assert "Name: received_at" in text


def test_identities_and_their_times_reach_the_tables_key_through_the_view(store: Store) -> None:
    """Each with times of its own, as the rules ask: a busy one is read for a quarter of an hour only."""
    insert_telemetry(store, statements=[OPEN])
    text = plan_of(
        store,
        "SELECT outcome FROM identity_uses WHERE received_at > now() - INTERVAL 1 DAY"
        " AND (identity, toStartOfFifteenMinutes(started_at), environment)"
        " IN (SELECT 'u1', toStartOfFifteenMinutes(now()), 'prod')",
    )
    assert "((identity, toStartOfFifteenMinutes(started_at)) in 1-element set)" in text
    assert "toDate(received_at) in" in text


def test_arrivals_are_the_rows_of_the_table(store: Store) -> None:
    rows = [
        OPEN,
        {
            **OPEN,
            "span_id": "a2",
            "kind": "write",
            "tables": ["expenses", "users"],
            "identity_columns": ["expenses.user_id", "users.email"],
            "identity_clauses": ["set", "where"],
            "identity_encodings": ["integer", "email"],
            "identity_domains": ["user", "user"],
            "identity_values": ["u1", "u2"],
            "identity_bound": ["message:m1", "user:u9"],
        },
        {**OPEN, "span_id": "a3", "kind": "read", "tables": ["users"], "identity_row": ["tenant:t1"]},
    ]
    insert_telemetry(store, statements=rows)
    columns = [row["name"] for row in store.query("DESCRIBE identity_statements").dicts()]
    columns = [name for name in columns if name != "duration"]
    made, stored = (
        store.query(f"SELECT {', '.join(columns)} FROM {source} ORDER BY ALL").rows
        for source in ("identity_arrivals", "identity_statements")
    )
    assert made == stored
    assert len({row[columns.index("span_id")] for row in made}) >= 2
    assert store.query("SELECT DISTINCT tables FROM identity_arrivals WHERE span_id = 'a2'").rows == [
        (["expenses", "users"],)
    ]


@pytest.mark.parametrize("view", ["statements_resolved", "identity_uses"])
def test_what_is_settled_of_a_window_does_not_take_the_memory_of_all_history(store: Store, view: str) -> None:
    """The few statements of the window are what is held, and half a million settlements pass by."""
    transaction = "lower(hex(sipHash128(number)))"
    store.command(
        "INSERT INTO statements (started_at, received_at, tables, kind, outcome, transaction_id, span_id,"
        " identity_row, rows) SELECT now64(9) - toIntervalSecond(4 * number), now64(3), ['t'], 'write',"
        f" if(number % 50 = 0, 'open', 'committed'), {transaction}, hex(number), ['user:u1'], 1"
        " FROM numbers(40000)"
    )
    store.command(
        "INSERT INTO settlements (received_at, transaction_id, outcome)"
        f" SELECT now64(3) - number / 1000, {transaction}, 'committed' FROM numbers(500000)"
    )
    recent = f"SELECT DISTINCT outcome FROM {view} WHERE started_at > now() - INTERVAL 1 HOUR"

    # Held all at once the settlements take 77 MB.
    assert store.query_read_only(recent, limits=Limits(memory_bytes=32 << 20)).rows == [("committed",)]
