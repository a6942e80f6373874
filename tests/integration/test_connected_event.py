"""`trueline.database.connected`: once a process and database, again after a fork and after a failover."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool
from support.postgres import Postgres
from support.recorder import Recorder

from trueline.instrumentation import announcements, semconv

pytestmark = pytest.mark.sqlalchemy_matrix


def events(recorder: Recorder) -> list[dict[str, Any]]:
    """Attributes of each event so far; what waits to be sent is sent."""
    recorder.provider.force_flush()
    found = [record.log_record for record in recorder.log_exporter.get_finished_logs()]
    assert {record.event_name for record in found} <= {semconv.EVENT_DATABASE_CONNECTED}
    return [dict(record.attributes or {}) for record in found]


def use(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def test_once_a_database(recorder: Recorder, sqlite_path: Path) -> None:
    for _ in range(3):
        use(create_engine(f"sqlite:///{sqlite_path}", poolclass=NullPool))
    use(create_engine(f"sqlite:///{sqlite_path}2", poolclass=NullPool))
    assert len(events(recorder)) == 2


def test_what_it_says(recorder: Recorder, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_DATABASE_URL", postgres.url().render_as_string(hide_password=False))
    engine = create_engine(postgres.url())
    use(engine)
    engine.dispose()
    (said,) = events(recorder)
    assert said.keys() <= set(semconv.EVENTS[semconv.EVENT_DATABASE_CONNECTED].attributes)
    assert said[semconv.DATABASE_URL_VARIABLE] == "ORDERS_DATABASE_URL"
    assert said[semconv.DATABASE_URL] == f"postgresql:///{postgres.base.database}"
    assert len(said[semconv.DATABASE_FINGERPRINTS]) == 2


def test_again_when_one_url_leads_to_another_database(recorder: Recorder, tmp_path: Path) -> None:
    """A re-pointed name: here a link, elsewhere a DNS record."""
    link = tmp_path / "current.db"
    fingerprints = []
    for name in ("one.db", "two.db"):
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / name)
        use(create_engine(f"sqlite:///{link}", poolclass=NullPool))
        fingerprints.append(events(recorder)[-1][semconv.DATABASE_FINGERPRINT])
    assert len(events(recorder)) == len(set(fingerprints)) == 2


def test_again_in_a_forked_child(recorder: Recorder, sqlite_path: Path) -> None:
    engine = create_engine(f"sqlite:///{sqlite_path}", poolclass=NullPool)
    use(engine)
    assert len(events(recorder)) == 1
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"failed"
        try:
            use(engine)
            use(engine)
            answer = str(len(events(recorder))).encode()
        finally:
            os.write(writing, answer)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"2"  # the parent's, and one of its own
    os.waitpid(child, 0)


def test_a_process_on_ever_new_databases_stops_announcing(
    record: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "MAX_ANNOUNCED", 3)
    recorder = record(logs=False)
    for number in range(6):
        use(create_engine(f"sqlite:///{tmp_path}/{number}.db", poolclass=NullPool))
    assert len(events(recorder)) == 3
    assert len(recorder.statements()) == 6
