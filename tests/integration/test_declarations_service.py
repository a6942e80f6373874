"""A service and its trueline.yaml: what it takes from it, and that nothing about it costs the service."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from support.recorder import Recorder

from trueline.instrumentation import IdentityConfig, bind_identity, semconv
from trueline.instrumentation.setup import status

FILE = """
version: 1
domains: {drop: {plain: true}}
columns: {parcels.owner_ref: user, parcels.number: drop, parcels.code: user}
exclude: [parcels.user_id]
hmac_keys: {partner: {env: PARTNER_KEY}}
databases: {shop: [/application.db]}
"""


def written(recorder: Recorder, path: Path, **values: object) -> dict[str, str]:
    """What one INSERT into parcels says of each column."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE IF NOT EXISTS parcels (user_id text, owner_ref text, number text, code text)")
        )
        names = ", ".join(values)
        places = ", ".join(f":{name}" for name in values)
        connection.execute(text(f"INSERT INTO parcels ({names}) VALUES ({places})"), values)
    engine.dispose()
    (write,) = recorder.statements("write")
    columns = write.get(semconv.IDENTITY_COLUMNS, ())
    told = zip(
        columns,
        write.get(semconv.IDENTITY_DOMAINS, ()),
        write.get(semconv.IDENTITY_VALUES, ()),
        write.get(semconv.IDENTITY_ENCODINGS, ()),
        strict=True,
    )
    return {column: f"{domain} {value} {encoding}" for column, domain, value, encoding in told}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "trueline.yaml"
    path.write_text(FILE)
    return path


def test_a_service_takes_identities_and_names_from_it(
    record: Callable[..., Recorder], file: Path, sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hmac

    monkeypatch.setenv("PARTNER_KEY", "k")
    recorder = record(config=file, logs=False)
    with bind_identity("42", entry="job"):
        code = hmac.digest(b"k", b"42", "sha256").hex()
        told = written(recorder, sqlite_path, user_id="1", owner_ref="7", number="D-17", code=code)
    assert set(told) == {"parcels.owner_ref", "parcels.number", "parcels.code"}
    assert told["parcels.number"] == "drop D-17 raw"
    assert told["parcels.owner_ref"].startswith("user ")
    assert told["parcels.code"].endswith(" hmac:partner")
    assert status()["declarations"]["path"] == str(file)


@pytest.mark.parametrize("how", ["variable", "working directory"])
def test_where_it_is_found(
    record: Callable[..., Recorder],
    file: Path,
    sqlite_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    if how == "variable":
        monkeypatch.setenv("TRUELINE_CONFIG", str(file))
    else:
        monkeypatch.chdir(file.parent)
    recorder = record(logs=False)
    assert "parcels.number" in written(recorder, sqlite_path, number="D-17")


def test_arguments_beat_it(record: Callable[..., Recorder], file: Path, sqlite_path: Path) -> None:
    recorder = record(config=file, identities=IdentityConfig(), logs=False)
    assert set(written(recorder, sqlite_path, number="D-17", user_id="1")) == {"parcels.user_id"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file {path} (config); it goes on without declarations"),
        ("colums: 1\n", "{path}:1:1: the field 'colums' is not known; did you mean columns? (and 1 more"),
        (b"\xff", "{path}:1:1: the file is not UTF-8 text; it goes on without declarations"),
    ],
    ids=["missing", "wrong", "binary"],
)
def test_a_file_that_cannot_be_used_costs_one_sentence(
    record: Callable[..., Recorder],
    tmp_path: Path,
    sqlite_path: Path,
    caplog: pytest.LogCaptureFixture,
    content: str | bytes | None,
    said: str,
) -> None:
    path = tmp_path / "declared.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with caplog.at_level(logging.WARNING, "trueline"):
        recorder = record(config=str(path), logs=False)
    (message,) = [one.getMessage() for one in caplog.records]
    assert message.startswith("trueline: " + said.format(path=path))
    assert "problem" in status()["declarations"]
    assert set(written(recorder, sqlite_path, user_id="1")) == {"parcels.user_id"}


def test_a_key_that_is_not_there_is_left_out(
    record: Callable[..., Recorder], file: Path, sqlite_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "trueline"):
        recorder = record(config=file, logs=False)
    (message,) = [one.getMessage() for one in caplog.records]
    assert message == "trueline: the key partner is left out: the variable PARTNER_KEY is empty"
    assert "parcels.number" in written(recorder, sqlite_path, number="D-17")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(
    record: Callable[..., Recorder], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "trueline.yaml"
    os.mkfifo(path)
    with caplog.at_level(logging.WARNING, "trueline"):
        record(config=path, logs=False)
    assert "this is not a file" in caplog.text


def test_without_a_file_nothing_is_loaded_for_it(tmp_path: Path) -> None:
    """PyYAML and what checks a file cost a service without one nothing."""
    program = (
        "import sys; from trueline.instrumentation import instrument; instrument('web', logs=False); "
        "print([name for name in sys.modules if name == 'yaml' or name.endswith('declarations.schema')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        env={
            name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TRUELINE_"))
        },
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
