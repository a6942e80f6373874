"""Which database answered, asked of real ones."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool
from support.postgres import Postgres
from support.recorder import Recorder

from trueline.instrumentation import semconv
from trueline.instrumentation.database import masked_url, url_variable, with_url
from trueline.instrumentation.fingerprint import probe
from trueline.instrumentation.semconv import Role, Rung

pytestmark = pytest.mark.sqlalchemy_matrix


def seen(recorder: Recorder, url: str | URL) -> dict[str, Any]:
    """Attributes of one statement on ``url``."""
    recorder.clear()
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    (statement,) = recorder.statements()
    return dict(statement)


def test_two_databases_of_one_server_differ_and_one_is_the_same_by_every_driver(
    recorder: Recorder, postgres: Postgres
) -> None:
    one = {seen(recorder, postgres.url(d))[semconv.DATABASE_FINGERPRINT] for d in ("psycopg", "psycopg2")}
    other = seen(recorder, postgres.url().set(database="postgres"))[semconv.DATABASE_FINGERPRINT]
    assert len(one) == 1
    assert other not in one


def test_all_rungs_and_facts_of_postgresql(recorder: Recorder, postgres: Postgres) -> None:
    found = seen(recorder, postgres.url())
    rungs = [rung.split(":")[0] for rung in found[semconv.DATABASE_FINGERPRINTS]]
    assert rungs == [Rung.SYSTEM_IDENTIFIER, Rung.ENDPOINT]
    assert found[semconv.DATABASE_ROLE] == Role.PRIMARY
    assert found[semconv.DATABASE_SCHEMA] == "public"
    assert str(found[semconv.DATABASE_VERSION]).startswith("18")


def test_a_role_that_may_not_read_the_system_identifier(recorder: Recorder, postgres: Postgres) -> None:
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE limited LOGIN")
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
    try:
        found = seen(recorder, postgres.url().set(username="limited"))
        full = seen(recorder, postgres.url())
    finally:
        with psycopg.connect(postgres.dsn, autocommit=True) as connection:
            connection.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
            connection.execute("DROP ROLE limited")
    rungs = dict(rung.split(":") for rung in found[semconv.DATABASE_FINGERPRINTS])
    assert Rung.SYSTEM_IDENTIFIER not in rungs
    # Comparable all the same, on the rung that both could read.
    assert f"{Rung.ENDPOINT}:{rungs[Rung.ENDPOINT]}" in full[semconv.DATABASE_FINGERPRINTS]


def test_the_probe_leaves_no_transaction_open(postgres: Postgres) -> None:
    with psycopg.connect(postgres.dsn) as connection:
        probe("postgresql", connection)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE  # refused inside a transaction


def test_a_probe_that_fails_leaves_the_application_alone(
    recorder: Recorder, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trueline.instrumentation import fingerprint, guard

    monkeypatch.setattr(fingerprint, "_POSTGRESQL", "SELECT no_such_function()")
    found = seen(recorder, postgres.url())
    assert Rung.SYSTEM_IDENTIFIER not in str(found[semconv.DATABASE_FINGERPRINTS])
    assert guard.internal_errors["fingerprint.probe"] == 1
    guard.internal_errors.clear()


def test_sqlite_files_are_told_apart_by_the_file_not_by_its_name(recorder: Recorder, tmp_path: Path) -> None:
    first, second, link = tmp_path / "a.db", tmp_path / "b.db", tmp_path / "link.db"
    one = seen(recorder, f"sqlite:///{first}")[semconv.DATABASE_FINGERPRINT]
    other = seen(recorder, f"sqlite:///{second}")[semconv.DATABASE_FINGERPRINT]
    link.symlink_to(first)
    assert one != other
    assert seen(recorder, f"sqlite:///{link}")[semconv.DATABASE_FINGERPRINT] == one


def test_a_memory_database_says_that_it_is_one(recorder: Recorder) -> None:
    found = seen(recorder, "sqlite://")
    assert str(found[semconv.DATABASE_FINGERPRINTS]).count(Rung.MEMORY) == 1


def test_the_connected_event_is_sent_once_a_database(recorder: Recorder, sqlite_path: Path) -> None:
    def events() -> list[str | None]:
        return [record.log_record.event_name for record in recorder.log_exporter.get_finished_logs()]

    seen(recorder, f"sqlite:///{sqlite_path}")
    assert events() == [semconv.EVENT_DATABASE_CONNECTED]
    seen(recorder, f"sqlite:///{sqlite_path}")
    assert events() == []


def test_the_operators_own_name_is_the_best_rung(postgres: Postgres) -> None:
    with psycopg.connect(postgres.dsn) as connection:
        one = probe("postgresql", connection, configured="orders")
    with sqlite3.connect(":memory:") as memory:
        other = probe("sqlite", memory, configured="orders")
    memory.close()
    assert one.fingerprint == other.fingerprint == one.rungs[Rung.CONFIGURED]


def test_a_url_is_shown_without_credentials_and_options() -> None:
    url = make_url("postgresql+psycopg://app:s3cret@db.internal:5433/orders?sslmode=require")
    assert masked_url(url) == "postgresql://db.internal:5433/orders"
    assert "s3cret" not in str(with_url(probe("unknown", None), url))


def test_the_variable_that_the_url_came_from() -> None:
    url = make_url("postgresql+asyncpg://app:one@db/orders")
    environment = {
        "HOME": "/root",
        "BROKEN": "://",
        "OTHER_URL": "postgresql://app:one@db/other",
        "DATABASE_URL": "postgresql://app:one@db/orders",
    }
    assert url_variable(url, environment) == "DATABASE_URL"
    assert url_variable(make_url("sqlite:///x.db"), environment) == ""
