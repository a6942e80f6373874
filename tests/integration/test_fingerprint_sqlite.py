"""Which SQLite database: the file itself, whatever it is called."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.pool import NullPool, QueuePool
from support.recorder import Recorder

from trueline.instrumentation import semconv
from trueline.instrumentation.semconv import Role, Rung

pytestmark = pytest.mark.sqlalchemy_matrix


def seen(recorder: Recorder, url: str, statement: str = "SELECT 1") -> dict[str, Any]:
    recorder.clear()
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(statement))
    return dict(recorder.statements()[-1])


def fingerprint(recorder: Recorder, url: str) -> str:
    return str(seen(recorder, url)[semconv.DATABASE_FINGERPRINT])


@pytest.fixture
def file(recorder: Recorder, tmp_path: Path) -> Path:
    path = tmp_path / "application.db"
    seen(recorder, f"sqlite:///{path}", "CREATE TABLE t (x INTEGER)")
    return path


def test_one_file_by_many_names_is_one_database(
    recorder: Recorder, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    (file.parent / "link.db").symlink_to(file)
    os.link(file, file.parent / "hard.db")
    (file.parent / "folder").symlink_to(file.parent)
    names = [
        str(file),
        "application.db",
        "./application.db",
        f"{file.parent}/link.db",
        f"{file.parent}/hard.db",
        f"{file.parent}/folder/application.db",
        f"file:{file}?uri=true",
        f"file:{file}?mode=ro&uri=true",
        "file:application.db?uri=true",
    ]
    assert len({fingerprint(recorder, f"sqlite:///{name}") for name in names}) == 1


def test_two_files_are_two_and_so_is_a_copy(recorder: Recorder, file: Path) -> None:
    shutil.copy(file, file.parent / "copy.db")
    names = ("application.db", "copy.db", "other.db")
    assert len({fingerprint(recorder, f"sqlite:///{file.parent}/{name}") for name in names}) == 3


def test_a_file_that_was_replaced_is_another_database(recorder: Recorder, file: Path) -> None:
    """As a restore does: made beside it, then moved over it. An old connection stays on the old file."""
    engine = create_engine(f"sqlite:///{file}")
    with engine.connect() as old:
        old.execute(text("SELECT 1"))
        before = fingerprint(recorder, f"sqlite:///{file}")
        shutil.copy(file, file.parent / "restored.db")
        (file.parent / "restored.db").replace(file)
        after = fingerprint(recorder, f"sqlite:///{file}")
        recorder.clear()
        old.rollback()
        old.execute(text("SELECT 2"))
    engine.dispose()
    assert before != after
    assert recorder.statements()[-1][semconv.DATABASE_FINGERPRINT] == before


def test_a_file_that_is_gone_has_no_rung_and_harms_nobody(recorder: Recorder, tmp_path: Path) -> None:
    path = tmp_path / "gone.db"
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    event.listen(engine, "connect", lambda connection, record: path.unlink())
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    (statement,) = recorder.statements()
    assert semconv.DATABASE_FINGERPRINT not in statement
    assert statement[semconv.DB_NAMESPACE] == "gone.db"


MEMORY = [
    "sqlite://",
    "sqlite:///:memory:",
    "sqlite:///file::memory:?cache=shared&uri=true",
    "sqlite:///file:named?mode=memory&cache=shared&uri=true",
]


@pytest.mark.parametrize("url", MEMORY)
def test_memory_is_only_ever_called_memory(recorder: Recorder, url: str) -> None:
    """It is compared with nothing: not even the shared ones leave their process."""
    found, again = seen(recorder, url), seen(recorder, url)
    rungs = found[semconv.DATABASE_FINGERPRINTS]
    assert [rung.partition(":")[0] for rung in rungs] == [Rung.MEMORY]
    assert rungs != again[semconv.DATABASE_FINGERPRINTS]
    assert found[semconv.DATABASE_ROLE] == Role.PRIMARY


def test_the_connections_of_one_pool_share_their_memory(recorder: Recorder) -> None:
    """Else every connection of such a pool would be announced as a new database."""
    engine = create_engine("sqlite:///file:shared?mode=memory&cache=shared&uri=true", poolclass=QueuePool)
    with engine.connect() as one, engine.connect() as other:
        one.execute(text("SELECT 1"))
        other.execute(text("SELECT 1"))
    engine.dispose()
    assert len({str(s[semconv.DATABASE_FINGERPRINT]) for s in recorder.statements()}) == 1
    assert len(recorder.log_exporter.get_finished_logs()) == 1


def test_attached_databases_go_by_the_main_one(recorder: Recorder, file: Path) -> None:
    """A known limit: a statement on an attached table carries the fingerprint of the main database."""
    main = fingerprint(recorder, f"sqlite:///{file}")
    recorder.clear()
    engine = create_engine(f"sqlite:///{file}", poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def attach(connection: Any, record: Any) -> None:
        connection.execute("ATTACH DATABASE ? AS archive", (str(file.parent / "archive.db"),))

    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE archive.t (x INTEGER)"))
    (statement,) = recorder.statements()
    assert statement[semconv.DATABASE_FINGERPRINT] == main
    assert statement[semconv.STATEMENT_TABLES] == ("archive.t",)
