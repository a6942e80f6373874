"""A guest in the application's process: whatever breaks inside Trueline, the application does not notice."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, insert, select, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool, Pool
from support.matrix import Base, Expense
from support.recorder import Recorder

from trueline.instrumentation import (
    ai_call,
    bind_identity,
    bind_message,
    guard,
    instrument,
    semconv,
    uninstrument,
)
from trueline.instrumentation.connection import ConnectionState
from trueline.instrumentation.holder import Holder
from trueline.instrumentation.identity import IdentityExtractor
from trueline.instrumentation.listeners import _LISTENERS
from trueline.instrumentation.statement import Planner

pytestmark = pytest.mark.sqlalchemy_matrix


def work(path: Path) -> list[Any]:
    """A bit of everything; returns what the application sees."""
    seen: list[Any] = []
    engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine)
    with bind_identity("7"), bind_message("m-1"), Session(engine) as session:
        session.add(Expense(user_id="7", message="once"))
        session.commit()
        with ai_call("chat"):
            seen.append(session.scalars(select(Expense.user_id)).all())
        try:
            session.add(Expense(user_id="8", message="once"))
            session.commit()
        except IntegrityError as error:
            seen.append((type(error), str(error.orig)))
            session.rollback()
        nested = session.begin_nested()
        session.execute(insert(Expense).values(user_id="9"))
        nested.rollback()
        session.commit()
    with engine.connect() as connection:
        seen.append(connection.execute(text("SELECT count(*) FROM expenses")).scalar_one())
        connection.invalidate()
    engine.dispose()
    return seen


FAULTS = [
    (Planner, "plan"),
    (IdentityExtractor, "extract"),
    (IdentityExtractor, "bind"),
    (ConnectionState, "statement_ran"),
    (ConnectionState, "statement_failed"),
    (ConnectionState, "committed"),
    (ConnectionState, "rolled_back"),
    (ConnectionState, "reset"),
    (ConnectionState, "returned"),
    (ConnectionState, "lost"),
    (ConnectionState, "settle"),
    (Holder, "hold"),
    (Holder, "settled"),
]


@pytest.mark.parametrize(("owner", "method"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_in_any_hook_changes_nothing_for_the_application(
    owner: type, method: str, record: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = work(tmp_path / "without.db")
    record(logs=False)
    monkeypatch.setattr(guard, "raise_internal_errors", False)

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("injected")

    monkeypatch.setattr(owner, method, broken)
    assert work(tmp_path / "with.db") == expected
    monkeypatch.undo()
    assert sum(guard.internal_errors.values()) > 0
    guard.internal_errors.clear()


def test_an_interrupt_belongs_to_the_application(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Planner, "plan", interrupted)
    engine = create_engine("sqlite://")
    with pytest.raises(KeyboardInterrupt), engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def test_internal_errors_are_logged_once_a_minute_and_without_values(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_last_logged", float("-inf"))
    with caplog.at_level(logging.WARNING, logger="trueline"):
        for _ in range(3):
            guard.report("somewhere", ValueError("canary-4711"))
    assert len(caplog.records) == 1
    assert "canary-4711" not in caplog.text
    assert guard.internal_errors.pop("somewhere") == 3


def test_instrument_and_uninstrument_are_idempotent_and_leave_nothing(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    for _ in range(3):
        instrument("again", logs=False, endpoint="http://127.0.0.1:9")
        instrument("again", logs=False, endpoint="http://127.0.0.1:9")
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        uninstrument()
        uninstrument()
    for target, name, listener in _LISTENERS:
        assert not event.contains(target, name, listener)
    assert not {name for name in vars(engine.dialect) if name.startswith("do_")}


def test_engines_of_before_and_after_are_covered(record: Callable[..., Recorder], tmp_path: Path) -> None:
    before = create_engine(f"sqlite:///{tmp_path}/a.db")
    Base.metadata.create_all(before)
    held = before.connect()  # connected before, too
    recorder = record(logs=False)
    held.execute(insert(Expense).values(user_id="7"))
    held.commit()
    held.close()
    with create_engine(f"sqlite:///{tmp_path}/a.db").begin() as connection:
        connection.execute(insert(Expense).values(user_id="7"))
    assert recorder.writes() == [("committed", None)] * 2


def test_a_thousand_engines_leave_no_memory_behind(recorder: Recorder, tmp_path: Path) -> None:
    from trueline.instrumentation import dialects

    for _ in range(1000):
        engine = create_engine("sqlite://", poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        engine.dispose()
    del engine, connection
    recorder.clear()
    import gc

    gc.collect()
    assert len(dialects._wrapped) < 50


def test_rows_fetched_after_the_connection_was_closed_fail_as_ever(
    tmp_path: Path, recorder: Recorder
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/a.db", poolclass=NullPool)
    connection = engine.connect()
    result = connection.execute(text("SELECT 1"))
    connection.close()
    with pytest.raises(ProgrammingError, match="Cannot operate on a closed database"):
        result.fetchone()


def test_the_listeners_of_others_keep_working(recorder: Recorder, tmp_path: Path) -> None:
    calls: list[str] = []
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def comment(conn: Any, cursor: Any, statement: str, *rest: Any) -> tuple[str, Any]:
        calls.append("comment")
        return f"{statement} /* app */", rest[0]

    @event.listens_for(engine, "commit")
    def committed(conn: Any) -> None:
        calls.append("commit")

    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER)"))
    assert calls == ["comment", "commit"]
    assert "/*" not in recorder.statements()[0][semconv.DB_QUERY_TEXT]


CANARY = "canary-4711-canary"


def test_no_value_leaves_the_process(
    record: Callable[..., Recorder], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = record()
    engine = create_engine(f"sqlite:///{tmp_path}/a.db", connect_args={})
    Base.metadata.create_all(engine)
    logger = logging.getLogger("application")
    with bind_identity(CANARY), bind_message(CANARY):
        for _ in range(2):
            try:
                with Session(engine) as session:
                    session.add(Expense(user_id=CANARY, message=CANARY))
                    session.commit()
            except IntegrityError:
                logger.exception("could not store %s", CANARY, extra={"user_id": CANARY})
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT * FROM expenses WHERE user_id = '{CANARY}'")
        try:
            with ai_call("chat"):
                raise ValueError(CANARY)
        except ValueError:
            logger.warning("failed", exc_info=True)
    sent = "".join(span.to_json() for span in recorder.spans())
    logs = "".join(record.to_json() for record in recorder.log_exporter.get_finished_logs())
    assert len(recorder.spans()) > 5
    assert "could not store %s" in logs
    assert CANARY not in sent
    assert CANARY not in logs


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python code in a process of its own."""

    def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        import os

        return subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={**os.environ, **environment},
        )

    return run


def test_the_kill_switch(script: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    result = script(
        "from trueline.instrumentation import instrument, setup\n"
        "instrument('x')\n"
        "print(setup.is_instrumented())",
        TRUELINE_DISABLED="1",
    )
    assert result.stdout.strip() == "False", result.stderr


def test_an_unreachable_receiver_does_not_hold_up_the_end(
    script: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    result = script(
        "import time\n"
        "from trueline.instrumentation import instrument\n"
        "instrument('x', endpoint='http://127.0.0.1:9')\n"
        "from sqlalchemy import create_engine, text\n"
        "with create_engine('sqlite://').begin() as c: c.execute(text('create table t (x int)'))\n"
        "print('done')\n"
    )
    assert result.stdout.strip() == "done"
    assert result.returncode == 0
    assert "Traceback" not in result.stderr, result.stderr


def test_the_fence_no_monitor_library_is_loaded(
    script: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    result = script(
        "import sys, trueline.instrumentation\n"
        "print(sorted({'fastapi', 'chdb', 'clickhouse_connect', 'trueline.monitor'} & sys.modules.keys()))"
    )
    assert result.stdout.strip() == "[]", result.stderr


def test_pool_events_are_not_left_on_the_class_when_off() -> None:
    assert not any(
        event.contains(Pool, name, listener) for target, name, listener in _LISTENERS if target is Pool
    )
    assert not any(
        event.contains(Engine, name, listener) for target, name, listener in _LISTENERS if target is Engine
    )
