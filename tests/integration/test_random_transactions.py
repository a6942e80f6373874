"""Random transaction programs: every write's tag against the table, and its reason against the specification.

The programs are in support.programs; ``python benchmarks/truth.py`` runs them at length and prints a table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.postgres import Postgres
from support.programs.harness import Database, run_batch, run_seeds, sqlite_database
from support.programs.killed import run_and_kill
from support.recorder import Recorder

from trueline.instrumentation.connection import ConnectionState
from trueline.instrumentation.semconv import Reason

pytestmark = pytest.mark.sqlalchemy_matrix

DRIVERS = ("pysqlite", "psycopg", "psycopg2", "aiosqlite", "psycopg async", "asyncpg")


def make_database(name: str, request: pytest.FixtureRequest, folder: Path) -> Database:
    if "sqlite" in name:
        return sqlite_database(name, folder)
    postgres: Postgres = request.getfixturevalue("postgres")
    driver = name.split()[0]
    database = Database(driver, name in ("psycopg async", "asyncpg"), postgres.url(driver), postgres.dsn)
    database.prepare()
    return database


@pytest.fixture(params=DRIVERS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A new database for each driver."""
    return make_database(request.param, request, tmp_path)


def agree(database: Database, recorder: Recorder, seeds: range, at_least: int, **how: Any) -> None:
    score, failures = run_seeds(database, recorder, seeds, **how)
    assert not failures, "\n\n".join(failures)
    assert not score.faults
    assert score.compared >= at_least
    # The baseline is wrong where Trueline is not: the programs do what misleads SQLAlchemy's events.
    assert score.naive_wrong


@pytest.mark.parametrize("spans", ["own", pytest.param("contrib", marks=pytest.mark.nightly)])
def test_tags_agree_with_the_table(database: Database, record: Callable[..., Recorder], spans: str) -> None:
    # With each source of spans other set-ups of the driver; all with all in the long form.
    flavors = ["plain", *(database.flavors()[1:] if spans == "contrib" else ["plain"])]
    recorder = record(logs=False, spans=spans)
    agree(database, recorder, range(8 * len(flavors)), at_least=50, batch=8, flavors=flavors)


@pytest.mark.parametrize("spans", ["own", "contrib"])
@pytest.mark.nightly
def test_tags_agree_with_the_table_at_length(
    database: Database, record: Callable[..., Recorder], spans: str
) -> None:
    agree(database, record(logs=False, spans=spans), range(10_000, 10_500), at_least=3_000)


def test_statements_that_left_before_the_end_are_settled_by_the_transaction_span(
    request: pytest.FixtureRequest, tmp_path: Path, record: Callable[..., Recorder]
) -> None:
    database = make_database("pysqlite", request, tmp_path)
    recorder = record(logs=False, hold=0)
    # What is certain before the transaction ends is said at once, with the reason of that moment: a failed
    # statement's `exception`, `savepoint` of what one undid.
    early = ("tagged ('rolled_back', 'exception')", "tagged ('rolled_back', 'savepoint')")
    for verdict in run_batch(database, recorder, range(100, 120), "plain", together=False):
        wrong = [
            complaint
            for complaint in verdict.complaints
            if not (complaint.startswith("wrong_reasons") and any(said in complaint for said in early))
        ]
        assert not wrong, "\n".join(wrong)


@pytest.mark.nightly
def test_a_wrong_reason_is_noticed_and_its_program_shrunk(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    record: Callable[..., Recorder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database = make_database("pysqlite", request, tmp_path)
    right = ConnectionState._why_rolled_back

    def careless(self: ConnectionState) -> object:
        reason, cause = right(self)
        return (Reason.EXPLICIT if reason is Reason.EXCEPTION else reason), cause

    monkeypatch.setattr(ConnectionState, "_why_rolled_back", careless)
    score, failures = run_seeds(database, record(logs=False), range(16), batch=16, explained=1)
    assert score.wrong_reasons
    assert not score.wrong_outcomes
    assert "the oracle expects rolled_back exception" in failures[0]
    assert len(failures[0].splitlines()) < 30


def check_killed(database: Database, spans: str, seed: int, run_for: float) -> None:
    aftermath = run_and_kill(database, spans, seed, run_for)
    for longer in (4, 16):
        if aftermath.exported:
            break
        # On a busy machine nothing had left yet.
        aftermath = run_and_kill(database, spans, seed, run_for * longer)
    assert not aftermath.contradictions, "\n".join(aftermath.contradictions)
    assert aftermath.exported


@pytest.mark.parametrize(
    ("driver", "spans"), [("pysqlite", "own"), ("asyncpg", "own"), ("psycopg", "contrib")]
)
def test_what_a_killed_process_had_exported_is_true(
    request: pytest.FixtureRequest, tmp_path: Path, driver: str, spans: str
) -> None:
    check_killed(make_database(driver, request, tmp_path), spans, seed=1, run_for=1.2)


@pytest.mark.parametrize("spans", ["own", "contrib"])
@pytest.mark.parametrize("round_", range(4))
@pytest.mark.nightly
def test_what_a_killed_process_had_exported_is_true_at_length(
    database: Database, spans: str, round_: int
) -> None:
    check_killed(database, spans, seed=1 + 100_000 * round_, run_for=0.7 + 0.9 * round_)
