"""Zero-code: real processes under ``opentelemetry-instrument``, of an application that knows nothing of it.

benchmarks/processes.py measures every process model and every end; here those run that have broken before,
and the long ones at night.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import processes
import pytest
from support.collector import Collector, Span, collector

from trueline.instrumentation import options, semconv

BINARIES = Path(sys.executable).parent
FOLDER = processes.FOLDER
NIGHTLY = [
    (name, end)
    for name in processes.MODELS
    for end in (processes.SCRIPT_ENDS if name == "script" else processes.SERVER_ENDS)
]
SHORT = [("uvicorn --workers 2, one line", "stop")]


@pytest.mark.parametrize(
    ("name", "end"),
    [*SHORT, *(pytest.param(*one, marks=pytest.mark.nightly) for one in NIGHTLY if one not in SHORT)],
)
def test_what_is_written_arrives_on_one_trace(name: str, end: str, tmp_path: Path) -> None:
    got = processes.measure(name, end, tmp_path)
    assert got.rows, got.output
    assert 0 <= got.lost <= processes.allowed(name, end), got.output
    assert got.joined, got.output
    assert "Traceback" not in got.output or end == "kill", got.output


def run(received: Collector, folder: Path, *command: str, **environment: str) -> str:
    """Run a program under zero-code to its end; what it printed."""
    done = subprocess.run(
        [str(BINARIES / "opentelemetry-instrument"), sys.executable, *command],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(FOLDER), *sys.path]),
            "OTEL_SERVICE_NAME": "unaware",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai,anthropic,asyncpg,psycopg,psycopg2,httpx,celery",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def inserts_of(received: Collector) -> list[Span]:
    """Statements as Trueline tells them, whoever's spans they are."""
    spans = received.spans("unaware")
    return [s for s in spans if s.name.startswith("INSERT") and semconv.STATEMENT_KIND in s.attributes]


WORK = """
import logging, sqlalchemy
from sqlalchemy import text
from trueline.instrumentation import setup
engine = sqlalchemy.create_engine("sqlite:///rows.db")
with engine.begin() as connection:
    connection.execute(text("CREATE TABLE t (id INTEGER PRIMARY KEY, user_id TEXT UNIQUE)"))
with engine.begin() as connection:
    connection.execute(text("INSERT INTO t (user_id) VALUES ('7')"))
import sqlite3
try:
    with sqlite3.connect("rows.db") as raw:
        raw.execute("INSERT INTO t (user_id) VALUES ('7')")
except sqlite3.IntegrityError:
    logging.getLogger("raw").exception("not stored")
assert setup.is_instrumented()
assert not setup.status()["internal_errors"], setup.status()
"""


@pytest.mark.sqlalchemy_rest
def test_contrib_s_spans_are_adopted_where_it_runs(tmp_path: Path) -> None:
    """On SQLAlchemy 2.0 contrib is switched on, and its spans are Trueline's; 2.1 it refuses by itself."""
    import sqlalchemy

    with collector() as received:
        run(received, tmp_path, "-c", WORK)
        inserts = inserts_of(received)
        (line,) = [line for line in received.logs("unaware") if line.body == "not stored"]
    assert len(inserts) == 1, "each statement has one span"
    by_contrib = sqlalchemy.__version__.startswith("2.0.")
    scope = "opentelemetry.instrumentation.sqlalchemy" if by_contrib else semconv.SCOPE_NAME
    assert inserts[0].scope == scope
    assert inserts[0].attributes[semconv.TRANSACTION_OUTCOME] == "committed"
    # The raw driver's error, in a record that zero-code's own handler passed on.
    assert line.attributes[semconv.CONSTRAINT_TABLE] == "t"
    assert line.attributes[semconv.CONSTRAINT_COLUMNS] == ["user_id"]


def test_without_a_distro_trueline_brings_its_own_pipeline(tmp_path: Path) -> None:
    """The command comes with Trueline; without opentelemetry-distro nobody else configures anything."""
    with collector() as received:
        run(
            received,
            tmp_path,
            "-c",
            WORK,
            OTEL_PYTHON_CONFIGURATOR="none",
            OTEL_EXPORTER_OTLP_PROTOCOL="",
            OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="openai,anthropic,asyncpg,psycopg,psycopg2,httpx,celery,logging",
        )
        (insert,) = inserts_of(received)
        assert insert.attributes[semconv.TRANSACTION_OUTCOME] == "committed"
        assert [line for line in received.logs("unaware") if line.body == "not stored"]


def test_a_wrong_variable_leaves_the_application_alone(tmp_path: Path) -> None:
    with collector() as received:
        said = run(received, tmp_path, "-c", "print('worked')", TRUELINE_SAMPLE="7")
    assert "worked" in said
    assert "TRUELINE_SAMPLE" in said


@pytest.mark.parametrize(
    ("started", "kind"),
    [
        (["/usr/bin/python", "/venv/bin/uvicorn", "shop:app"], "web"),
        (["/usr/bin/python", "-m", "gunicorn", "shop:app"], "web"),
        (["/usr/bin/python", "/venv/bin/flask", "--app", "shop", "run"], "web"),
        (["/usr/bin/python", "/venv/bin/flask", "db", "upgrade"], "script"),
        (["/usr/bin/python", "/venv/bin/celery", "-A", "shop", "worker"], "worker"),
        (["/usr/bin/python", "backfill.py"], "script"),
        (["/usr/bin/python"], "script"),
    ],
)
def test_what_a_process_is_for_is_told_by_its_command(
    monkeypatch: pytest.MonkeyPatch, started: list[str], kind: str
) -> None:
    """Zero-code asks before anything is imported."""
    monkeypatch.setattr(sys, "orig_argv", started)
    monkeypatch.setattr(sys, "argv", [""])
    for name in ("pytest", "uvicorn", "gunicorn", "hypercorn", "celery.bin.worker", "rq.worker"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert options.guess_process_kind() == kind
