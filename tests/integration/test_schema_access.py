"""The access aggregate says what its rows say, whatever order they come in and however they were merged."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.telemetry import insert_telemetry

from trueline.monitor.store.client import Store

USER = "t.user_id set integer user:u1"
OPEN: dict[str, Any] = {"write": "t", "ids": [USER], "outcome": "open", "transaction": "x1"}
SETTLED: dict[str, Any] = {"transaction": "x1", "outcome": "committed", "open_statements": 1}

DIMENSIONS = (
    "environment, application, table, domain, access, database, database_schema, database_role, column,"
    " clause, encoding, hash_key_id, outcome, failed, service, version, process_kind, entry_name"
)
FROM_USES = f"""
    SELECT toStartOfFiveMinutes(toDateTime(started_at, 'UTC')) AS at, {DIMENSIONS},
        count() AS uses, countIf(rows = 0) AS zero_rows, min(started_at) AS first_seen,
        max(ended_at) AS last_seen, max(received_at) AS last_received_at,
        arraySort(groupUniqArrayArray(database_rungs)) AS rungs, uniqExact(identity) AS identities
    FROM (SELECT *, status = 'error' AS failed FROM identity_uses)
    GROUP BY at, {DIMENSIONS} ORDER BY ALL
"""
FROM_ACCESS = f"""
    SELECT at, {DIMENSIONS}, uses, zero_rows, first_seen, last_seen, last_received_at,
        arraySort(database_rungs) AS rungs, identities
    FROM access ORDER BY ALL
"""


def outcomes(store: Store) -> dict[str, int]:
    return dict(store.query("SELECT outcome, sum(uses) FROM access GROUP BY outcome").rows)


def test_uses_are_counted_by_five_minutes_with_samples(store: Store) -> None:
    moment = datetime.now(UTC).replace(minute=31, second=0, microsecond=0)
    insert_telemetry(
        store,
        now=moment,
        statements=[
            {"write": "t", "ids": [USER], "span_id": "a1", "trace": "b1", "at": "0s"},
            {"write": "t", "ids": ["t.user_id set integer user:u2"], "span_id": "a2", "at": "1m"},
            {"write": "t", "ids": [USER], "rows": 0, "at": "-5m"},
            {"read": "t", "ids": ["t.user_id where integer user:u1"], "rows": 0, "error": "boom", "at": "0s"},
        ],
    )
    rows = store.query("SELECT * FROM access ORDER BY at, access DESC").dicts()
    facts = [(row["at"].minute, row["access"], row["uses"], row["zero_rows"], row["failed"]) for row in rows]
    assert facts == [(25, "write", 1, 1, False), (30, "write", 2, 0, False), (30, "read", 1, 1, True)]
    latest = rows[1]
    assert (latest["identities"], sorted(latest["sample_identities"])) == (2, ["u1", "u2"])
    assert {span for _, span in latest["sample_spans"]} == {"a1", "a2"}
    assert ("b1", "a1") in latest["sample_spans"]
    assert latest["database_rungs"] == ["system_identifier:main"]
    assert latest["first_seen"] == moment
    assert latest["last_seen"] == moment + timedelta(seconds=60, milliseconds=5)


@pytest.mark.parametrize("transaction_first", [True, False])
def test_what_left_as_open_counts_under_the_outcome_it_came_to(store: Store, transaction_first: bool) -> None:
    if transaction_first:
        insert_telemetry(store, transactions=[SETTLED])
    insert_telemetry(store, statements=[OPEN, {"write": "t", "ids": [USER]}])
    if not transaction_first:
        assert outcomes(store) == {"committed": 1, "open": 1}
        insert_telemetry(store, transactions=[SETTLED])
    store.command("OPTIMIZE TABLE access_counts FINAL")
    assert outcomes(store) == {"committed": 2}
    assert store.query("SELECT count() FROM access").scalar() == 1


def test_savepoints_and_abandoned_transactions(store: Store) -> None:
    insert_telemetry(
        store,
        statements=[
            {**OPEN, "span_id": "a1"},
            {**OPEN, "span_id": "a2"},
            {**OPEN, "transaction": "x2", "at": "-11m"},
            {**OPEN, "transaction": "x3", "at": "-9m"},
        ],
        transactions=[{**SETTLED, "rolled_back_statements": ["a2"]}],
    )
    assert outcomes(store) == {"committed": 1, "rolled_back": 2, "open": 1}


@pytest.mark.parametrize("seed", range(2))
def test_it_equals_a_count_of_the_statements(store: Store, seed: int) -> None:
    """Random statements in random batches, half of them open, their transactions before or after them."""
    dice = random.Random(seed)
    statements: list[dict[str, Any]] = []
    for number in range(120):
        access = dice.choice(("write", "read"))
        table = dice.choice("tu")
        statements.append(
            {
                access: table,
                "ids": [
                    f"{table}.user_id {dice.choice(('where', 'set'))} integer user:u{dice.randrange(9)}"
                    for _ in range(dice.randrange(3))
                ],
                "bound": ["tenant:t1"] if dice.random() < 0.3 else [],
                "at": f"-{dice.randrange(1, 1500)}s",
                "span_id": f"a{number}",
                "transaction": f"x{dice.randrange(30)}",
                "outcome": dice.choice(("committed", "rolled_back", "open", "open")),
                "database": dice.choice(("main", "other")),
                "rows": dice.randrange(-1, 3),
                "service": dice.choice(("web", "worker")),
                **({"error": "boom"} if dice.random() < 0.1 else {}),
            }
        )
    transactions = [
        {
            "transaction": f"x{number}",
            "outcome": dice.choice(("committed", "rolled_back")),
            "open_statements": 1,
            "rolled_back_statements": [f"a{dice.randrange(120)}"],
        }
        for number in range(20)
    ]
    now = datetime.now(UTC)
    while statements or transactions:
        insert_telemetry(
            store,
            now=now,
            statements=[statements.pop() for _ in range(min(len(statements), dice.randrange(20, 90)))],
            transactions=[transactions.pop() for _ in range(min(len(transactions), dice.randrange(20)))],
        )
    counted = store.query(FROM_ACCESS).dicts()
    assert counted == store.query(FROM_USES).dicts()
    assert sum(row["uses"] for row in counted) > 100
    store.command("OPTIMIZE TABLE access_counts FINAL")
    assert store.query(FROM_ACCESS).dicts() == counted


def test_a_bound_on_time_reaches_the_primary_key(store: Store) -> None:
    insert_telemetry(store, statements=[{"write": "t", "ids": [USER]}])
    plan = store.query(
        "EXPLAIN indexes = 1 SELECT count() FROM access WHERE at >= now() - INTERVAL 1 DAY AND table = 't'"
    )
    text = "\n".join(line for (line,) in plan)
    reading = text[text.index("PrimaryKey") :]
    assert "settlements" not in text
    assert "at in [" in reading
