"""The inventory of one process: what it says of real programs, when it is sent, and that it stays small."""

from __future__ import annotations

import dataclasses
import gc
import os
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from support.postgres import Postgres
from support.recorder import Recorder

from trueline.instrumentation import (
    IdentityConfig,
    Inventory,
    ambient,
    assembly,
    bind_identity,
    bind_message,
    instrument,
    inventory,
    inventory_collector,
    inventory_event,
    semconv,
    setup,
    uninstrument,
)
from trueline.instrumentation.inventory_event import FIRST_AFTER, NEWS_AFTER
from trueline.instrumentation.inventory_report import Sources
from trueline.instrumentation.records import StatementRecord

pytestmark = pytest.mark.sqlalchemy_rest

TABLES = (
    "CREATE TABLE expenses (id INTEGER PRIMARY KEY, user_id TEXT, amount INTEGER)",
    "CREATE TABLE jobs (id INTEGER PRIMARY KEY, state TEXT)",
)


@pytest.fixture
def engine(sqlite_path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{sqlite_path}")
    with engine.begin() as connection:
        for table in TABLES:
            connection.exec_driver_sql(table)
    return engine


def work(engine: Engine) -> None:
    """Two writes by a column, one by the bound identity, one by nothing; one read."""
    insert = text("INSERT INTO expenses (user_id, amount) VALUES (:user, 1)")
    with engine.begin() as connection, bind_identity("12345", entry="job"):
        connection.execute(insert, {"user": "12345"})
        connection.execute(insert, {"user": "12345"})
        connection.execute(text("UPDATE expenses SET amount = 2 WHERE id = :id"), {"id": 1})
        connection.execute(text("SELECT amount FROM expenses WHERE user_id = :user"), {"user": "12345"})
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO jobs (state) VALUES ('new')"))


def taken(recorder: Recorder) -> Inventory:
    """The inventory of all that ran."""
    recorder.provider.force_flush()
    return inventory()


def events(recorder: Recorder) -> list[dict[str, Any]]:
    """Attributes of the inventories that were sent."""
    records = [record.log_record for record in recorder.log_exporter.get_finished_logs()]
    return [dict(one.attributes or {}) for one in records if one.event_name == semconv.EVENT_INVENTORY]


def idle(*, final: bool = False) -> None:
    """What Trueline's thread does a few times a second."""
    assert setup._installed is not None
    holder = setup._installed.runtime.holder
    holder.flush()
    assert holder._idle is not None
    holder._idle(final)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Puts the clock forward by so many seconds."""
    ahead = [0]
    monkeypatch.setattr(ambient, "now_ns", lambda: time.time_ns() + ahead[0])

    def forward(seconds: float) -> None:
        ahead[0] += int(seconds * 1e9)

    return forward


# -- what it says ------------------------------------------------------------------------------------------


def test_off_it_is_empty() -> None:
    assert inventory() == Inventory()
    assert inventory().describe() == "Trueline has seen no statement in this process."


def test_databases_tables_columns_and_sources(engine: Engine, recorder: Recorder) -> None:
    work(engine)
    seen = taken(recorder)
    assert (seen.writes, seen.reads) == (Sources(2, 1, 1), Sources(1, 0, 0))
    assert {one.table: (one.writes, one.reads) for one in seen.tables} == {
        "expenses": (Sources(2, 1, 0), Sources(1, 0, 0)),
        "jobs": (Sources(0, 0, 1), Sources()),
    }
    assert [one.table for one in seen.nameless_tables] == ["jobs"]
    # bound to '12345', as which the column holds it
    assert {(one.column, one.domain, one.clause, one.encoding, one.statements) for one in seen.columns} == {
        ("expenses.user_id", "user", "set", "raw", 2),
        ("expenses.user_id", "user", "where", "raw", 1),
    }
    (database,) = seen.databases
    assert (database.rung, database.system, database.reads, database.writes) == ("file", "sqlite", 1, 4)
    assert {one.database for one in seen.tables} == {database.fingerprint}
    assert (seen.statements, seen.with_entry, seen.parsed_by_keywords) == (5, 4, 0)
    assert (seen.hashes, seen.key_id, seen.spans, seen.sample, seen.process_kind) == (
        "unkeyed", "unkeyed", "own", 1.0, "test",
    )  # fmt: skip


def test_its_sentences(engine: Engine, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    work(engine)
    said = taken(recorder).describe()
    assert "5 statements, 4 writes and 1 read, in 1 database." in said
    sources = "2 by a column, 0 by their row, 1 by the bound identity only, 1 by nothing"
    assert f"Writes with an identity: 75 %; {sources}." in said
    assert "Tables of which no write names anybody: jobs (1)." in said
    assert "Identity columns: expenses.user_id (user; raw)." in said
    assert "1 statement ran outside of any span" in said
    assert "recognised by file" in said
    assert "12345" not in said.replace(str(engine.url.database), "")


def test_status_has_it_as_plain_values(engine: Engine, recorder: Recorder) -> None:
    work(engine)
    recorder.provider.force_flush()
    status = setup.status()["inventory"]
    assert status["writes"] == {"column": 2, "bound": 1, "none": 1, "row": 0}
    assert "12345" not in repr(status).replace(str(engine.url.database), "")


def test_what_is_sampled_away_counts_all_the_same(engine: Engine, record: Callable[..., Recorder]) -> None:
    recorder = record(logs=False, sample=1e-9)
    work(engine)
    engine.dispose()
    work(engine)
    seen = taken(recorder)
    assert (seen.sample, seen.writes) == (1e-9, Sources(4, 2, 2))
    assert len(recorder.statements("write")) < 8


def test_a_blank_identity_binds_nobody(engine: Engine, recorder: Recorder) -> None:
    for identity in (" ", "7"):
        with engine.begin() as connection, bind_identity(identity):
            connection.execute(text("DELETE FROM jobs"))
    with engine.begin() as connection, bind_message("mid-1"):
        connection.execute(text("DELETE FROM jobs"))
    assert taken(recorder).writes == Sources(0, 2, 1)


def test_a_write_counts_where_it_writes_and_a_read_at_each_table(engine: Engine, recorder: Recorder) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO jobs (state) SELECT user_id FROM expenses"))
        connection.execute(text("SELECT * FROM jobs JOIN expenses ON jobs.id = expenses.id"))
    counts = {one.table: (one.writes.total, one.reads.total) for one in taken(recorder).tables}
    assert counts == {"jobs": (1, 1), "expenses": (0, 1)}


def test_an_identity_column_that_holds_null_names_nobody(engine: Engine, recorder: Recorder) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO expenses (user_id) VALUES (:user)"), {"user": None})
    assert taken(recorder).writes == Sources(0, 0, 1)


def test_configured_columns_count(engine: Engine, record: Callable[..., Recorder]) -> None:
    recorder = record(logs=False, identities=IdentityConfig(columns={"jobs.state": "state"}))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO jobs (state) VALUES (:state)"), {"state": "new"})
    seen = taken(recorder)
    assert seen.writes == Sources(1, 0, 0)
    assert [(one.column, one.domain) for one in seen.columns] == [("jobs.state", "state")]


def test_work_past_sqlalchemy_is_counted_as_unseen(postgres: Postgres, recorder: Recorder) -> None:
    engine = create_engine(postgres.url("psycopg"))
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    raw = engine.raw_connection()
    cursor = raw.cursor()
    cursor.execute("SELECT 1")
    cursor.close()
    raw.close()  # in a transaction that the driver began
    engine.dispose()
    seen = taken(recorder)
    assert seen.unseen["transactions"] == 1
    assert "1 transaction ran on raw driver connections" in seen.describe()
    (database,) = seen.databases
    assert (database.rung, database.role) == ("system_identifier", "primary")


def test_adopted_spans_are_named(engine: Engine, record: Callable[..., Recorder]) -> None:
    recorder = record(logs=False, spans="contrib")
    work(create_engine(engine.url))
    assert taken(recorder).spans == "contrib"


def test_without_a_secret_on_the_way_out(
    engine: Engine, record: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "sends_to_loopback_only", lambda *_: False)
    recorder = record(logs=False)
    work(engine)
    seen = taken(recorder)
    assert (seen.hashes, seen.writes) == ("left_out", Sources(2, 1, 1))
    assert "set TRUELINE_HASH_SECRET" in seen.describe()


# -- when it is sent -----------------------------------------------------------------------------------------


def test_it_is_sent_after_the_first_minute_and_with_news(
    engine: Engine, recorder: Recorder, clock: Callable[[float], None]
) -> None:
    idle()
    work(engine)
    idle()
    assert events(recorder) == []
    clock(FIRST_AFTER + 1)
    idle()
    idle()
    (first,) = events(recorder)
    assert first[semconv.INVENTORY_TRIGGER] == "first"
    assert first[semconv.INVENTORY_WRITES] == (2, 1, 1, 0)
    assert first[semconv.INVENTORY_TABLES] == ("expenses", "jobs")
    assert first[semconv.INVENTORY_COLUMN_ENCODINGS] == ("raw", "raw")
    assert first[semconv.INVENTORY_DATABASE_RUNGS] == ("file",)
    assert set(first) == set(semconv.EVENTS[semconv.EVENT_INVENTORY].attributes)
    work(engine)
    clock(NEWS_AFTER)
    idle()
    assert len(events(recorder)) == 1, "nothing new was seen"
    clock(3600)
    idle()
    assert events(recorder)[-1][semconv.INVENTORY_TRIGGER] == "hourly"
    with engine.begin() as connection:
        connection.execute(text("SELECT * FROM sqlite_master"))
    clock(30)  # what ran is folded into names every ten seconds
    idle()
    assert len(events(recorder)) == 2, "it is too soon for news"
    clock(NEWS_AFTER)
    idle()
    assert [one[semconv.INVENTORY_TRIGGER] for one in events(recorder)] == ["first", "hourly", "news"]
    clock(3600)
    idle()
    assert len(events(recorder)) == 3, "no further statement ran"


def test_a_short_process_sends_it_at_its_end(engine: Engine, record: Callable[..., Recorder]) -> None:
    recorder = record(logs=False)
    work(engine)
    uninstrument()
    (last,) = events(recorder)
    assert last[semconv.INVENTORY_TRIGGER] == "end"
    assert last[semconv.INVENTORY_STATEMENTS] == 5


def test_a_process_that_ran_nothing_sends_nothing(record: Callable[..., Recorder]) -> None:
    recorder = record(logs=False)
    uninstrument()
    assert events(recorder) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_counts_its_own(engine: Engine, recorder: Recorder) -> None:
    work(engine)
    assert taken(recorder).statements == 5
    engine.dispose()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before = inventory().statements
            with engine.begin() as connection:
                connection.execute(text("DELETE FROM jobs"))
            recorder.provider.force_flush()
            os.write(writing, f"{before} {inventory().statements} {inventory().writes.none}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as said:
        assert said.read() == "0 1 1"
    assert inventory().statements == 5


# -- a guest -------------------------------------------------------------------------------------------------


def test_ten_thousand_tables_take_no_more_memory_than_five_hundred(
    engine: Engine, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert setup._installed is not None
    collector = setup._installed.keeper._collector
    records: list[StatementRecord] = []
    with monkeypatch.context() as patch:
        patch.setattr(collector, "add", records.extend)
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM expenses WHERE user_id = :user"), {"user": "7"})
        recorder.provider.force_flush()
    (record,) = records
    plan, identities = record.plan, record.identities

    def statements(numbers: range) -> None:
        for number in numbers:
            record.plan = dataclasses.replace(plan, tables=(f"table_{number:08}" + "x" * 1000,))
            record.identities = dataclasses.replace(identities, columns=(f"table_{number:08}.user_id",))
            collector.add([record])
        collector.fold()

    statements(range(600))
    gc.collect()
    tracemalloc.start()
    try:
        statements(range(600, 10_000))
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < 50_000
    seen = inventory()
    assert len(seen.tables) == inventory_collector.MAX_TABLES
    assert len(seen.columns) == inventory_collector.MAX_COLUMNS
    assert max(len(one.table) for one in seen.tables) == inventory_collector.MAX_NAME
    assert seen.more == 10_000 - inventory_collector.MAX_TABLES
    assert seen.writes == Sources(10_000, 0, 0)
    assert f"{seen.more} statements named tables beyond the 500" in seen.describe()
    # What leaves is smaller yet.
    attributes = inventory_event.attributes(seen, "end")
    assert len(attributes[semconv.INVENTORY_TABLES]) == inventory_event.MAX_LISTED
    assert attributes[semconv.INVENTORY_MORE] == 10_000 - inventory_event.MAX_LISTED


def test_an_error_in_it_costs_no_span(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    instrument(tracer_provider=recorder.provider, logger_provider=recorder.loggers, logs=False, hold=30)
    try:
        assert setup._installed is not None
        monkeypatch.setattr(setup._installed.keeper._collector, "_cells", None)
        work(engine)
        assert len(recorder.statements("write")) == 4
        assert setup.status()["internal_errors"]["inventory.add"] >= 1
        assert inventory() == Inventory()
    finally:
        uninstrument()
