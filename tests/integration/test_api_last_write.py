"""/ops/last-write: the last write and the last read of one identity, and what they say together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.api_client import ApiClient
from support.engine_bench import empty_tables, schema_store, write_rule

from trueline.instrumentation.identity import IdentityHasher, canonicalize
from trueline.monitor.store.client import Store

SECRET = "a secret of the services"
HASHER = IdentityHasher(SECRET)
ANN = HASHER.export("user", canonicalize("12345"))


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_last_write") as store:
        yield store


@pytest.fixture
def store(shared_store: Store) -> Store:
    empty_tables(shared_store)
    return shared_store


@pytest.fixture
def ask(store: Store, tmp_path: Path) -> Callable[..., tuple[int, Any]]:
    """Asks the real application: by URL parameters, or by a body."""
    write_rule(tmp_path)
    client = ApiClient(store, tmp_path, hash_secret=SECRET)

    def ask(body: dict[str, Any] | None = None, **params: Any) -> tuple[int, Any]:
        if body is not None:
            response = client.post("/ops/last-write", json=body)
        else:
            response = client.get("/ops/last-write", params=params)
        answer = response.json()
        return response.status_code, answer.get("detail") or answer

    return ask


def touch(store: Store, kind: str, seconds_ago: float, **columns: Any) -> None:
    """One statement that touches Ann's row in expenses."""
    at = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    row = {
        "started_at": int(at.timestamp() * 1e9),
        "ended_at": int(at.timestamp() * 1e9),
        "kind": kind,
        "tables": ["expenses"],
        "environment": "production",
        "service": "web" if kind == "write" else "worker",
        "version": "1.4",
        "database": "aa" * 8,
        "database_rungs": ["system_identifier:" + "aa" * 8],
        "database_url": "postgresql://db/main",
        "db_namespace": "main",
        "identity_columns": ["expenses.user_id"],
        "identity_clauses": ["set" if kind == "write" else "where"],
        "identity_encodings": ["integer"],
        "identity_values": [ANN],
        "identity_domains": ["user"],
        "hash_key_id": HASHER.key_id,
        "outcome": "committed",
        "rows": 1,
        "trace_id": "ab" * 16,
        **columns,
    }
    store.insert("statements", {name: [value] for name, value in row.items()})


OTHER = {
    "database": "bb" * 8,
    "database_rungs": ["system_identifier:" + "bb" * 8],
    "database_url": "postgresql://db/old",
    "db_namespace": "old",
}
BY_HASH = {"identity_columns": ["expenses.user_id_hash"], "identity_encodings": ["sha256"]}
LOST = {"outcome": "rolled_back", "reason": "exception"}


@pytest.mark.parametrize(
    ("statements", "verdict", "said"),
    [
        ([], "nothing", "No statement touched this identity in the last 7 days."),
        ([("read", 5, {})], "never_written", "nothing was written in the last 7 days"),
        ([("write", 5, {})], "never_read", "expenses was not read since"),
        ([("write", 9, {}), ("read", 5, {})], "agrees", "read from there by worker 1.4"),
        (
            [("write", 9, {}), ("read", 5, OTHER)],
            "other_database",
            "main (postgresql://db/main) by web 1.4, but read from old (postgresql://db/old) by worker 1.4",
        ),
        (
            [("write", 9, {}), ("read", 5, {"database_schema": "x"}), ("write", 7, {"database_schema": "y"})],
            "other_database",
            "main, schema y",
        ),
        (
            [("write", 9, {}), ("read", 5, {**BY_HASH, "rows": 0})],
            "other_key",
            "expenses.user_id (integer), but is read by worker 1.4 under expenses.user_id_hash (sha256)",
        ),
        ([("write", 9, {}), ("read", 5, {"identity_encodings": ["raw"]})], "agrees", "(1 row)"),
        ([("write", 5, {}), ("read", 9, {})], "read_before_write", "the last read was earlier"),
        ([("write", 9, {}), ("read", 5, {"rows": 0})], "not_found", "found no row there"),
        ([("write", 5, LOST)], "not_committed", "No write of the last 7 days was committed."),
        (
            [("write", 9, {}), ("write", 5, LOST), ("read", 2, {})],
            "not_committed",
            "not there: rolled back (an exception left the transaction's block). Before that: last written",
        ),
        (
            [("write", 9, {}), ("read", 3, {}), ("read", 1, {"tables": ["users"], "rows": 0})],
            "agrees",
            "read from there by worker",
        ),
    ],
)
def test_the_verdict_and_its_sentence(
    store: Store, ask: Any, statements: list[tuple[str, float, dict[str, Any]]], verdict: str, said: str
) -> None:
    for kind, ago, columns in statements:
        touch(store, kind, ago, **columns)
    status, answer = ask(identity=ANN)
    assert status == 200
    assert answer["verdict"] == verdict
    assert said in answer["sentence"]


def test_the_answer_names_both_sides(store: Store, ask: Any) -> None:
    touch(store, "write", 9, entry_name="POST /webhook", database_url_variable="DATABASE_URL")
    touch(store, "write", 5, **LOST)
    touch(store, "read", 2, **OTHER)
    _, answer = ask(identity=ANN, environment="production")
    assert answer["last_write"]["outcome"] == "rolled_back"
    committed = answer["last_committed_write"]
    assert (
        committed.items()
        >= {
            "table": "expenses",
            "columns": ["expenses.user_id"],
            "encodings": ["integer"],
            "service": "web",
            "entry": "POST /webhook",
            "database_name": "main",
            "database_url": "postgresql://db/main",
            "database_url_variable": "DATABASE_URL",
            "trace_id": "ab" * 16,
        }.items()
    )
    assert answer["last_read"]["database_name"] == "old"
    assert ask(identity=ANN, environment="staging")[1]["verdict"] == "nothing"


@pytest.mark.parametrize("source", ["identity_bound", "identity_row"])
def test_a_row_named_by_primary_key_counts_by_whose_it_is_or_who_is_bound(
    store: Store, ask: Any, source: str
) -> None:
    unnamed: dict[str, Any] = {
        name: [] for name in ("identity_columns", "identity_clauses", "identity_encodings")
    }
    touch(store, "write", 5, **unnamed, identity_values=[], identity_domains=[], **{source: [f"user:{ANN}"]})
    _, answer = ask(identity=ANN)
    assert (answer["verdict"], answer["last_write"]["columns"]) == ("never_read", [])


def test_every_form_of_an_identity_finds_the_same(store: Store, ask: Any) -> None:
    touch(store, "write", 9)
    touch(store, "read", 5, **BY_HASH)
    touch(store, "write", 4, **BY_HASH)
    sha256 = hashlib.sha256(b"12345").hexdigest()
    answers = [
        ask(identity=ANN),
        ask(identity=ANN.upper()),
        ask(identity=sha256),
        ask(identity=sha256.upper(), domain="user"),
        ask(user_id_hash=sha256),
        ask(user_id=ANN),
        ask(**{"expenses.user_id_hash": sha256}),
        ask({"identity": "12345"}),
        ask({"identity": 12345, "domain": "user"}),
        ask({"identity": sha256}),
    ]
    assert [status for status, _ in answers] == [200] * len(answers)
    assert {answer["verdict"] for _, answer in answers} == {"read_before_write"}


def test_a_plain_domain_is_found_by_its_value(store: Store, ask: Any) -> None:
    touch(store, "write", 5, identity_values=["DROP-17"], identity_domains=["drop"])
    assert ask({"identity": "DROP-17", "domain": "drop"})[1]["verdict"] == "never_read"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"identity": "12345"}, "A raw value does not belong in a URL"),
        ({"user_id": "12345"}, "A raw value does not belong in a URL"),
        ({"identity": "ann@example.com"}, 'POST /ops/last-write with the body {"identity": "12345"}'),
        ({}, "Give one identity"),
        ({"identity": ANN, "user_id": ANN}, "Give one identity, 'user_id' and no more"),
        ({"psid_hash": ANN}, "'psid_hash' is neither a parameter (identity, domain, "),
        (
            {"psid_hash": "12345"},
            "nor an identity column that was seen in the last 7 days; seen were: expenses.user_id",
        ),
        ({"x') --": ANN}, "is neither a parameter"),
    ],
)
def test_what_is_refused(store: Store, ask: Any, params: dict[str, str], said: str) -> None:
    touch(store, "write", 5)
    status, message = ask(**params)
    assert status == 400
    assert said in message


@pytest.mark.parametrize(
    "body", [{}, {"identity": ""}, {"identity": []}, {"identity": "1", "user": "x"}, {"days": 1}]
)
def test_bad_bodies_are_422(ask: Any, body: dict[str, Any]) -> None:
    status, message = ask(body)
    assert (status, isinstance(message, str)) == (422, True)


def test_another_secret_is_named(store: Store, ask: Any) -> None:
    touch(store, "write", 5, hash_key_id="unkeyed", identity_values=["ff" * 16])
    _, answer = ask({"identity": "12345"})
    assert answer["hint"] == (
        f"Services hash identities with no secret, and this value was hashed with the secret with key id "
        f"{HASHER.key_id}: set TRUELINE_HASH_SECRET to the services' secret, here and for the monitor."
    )
    assert ask(identity=ANN, key_id="unkeyed")[1]["hint"] == ""
