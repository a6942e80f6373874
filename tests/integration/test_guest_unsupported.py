"""A SQLAlchemy that is not supported, or none: one sentence, no import error, and the application runs on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.sqlalchemy_matrix

APPLICATION = """
import logging
logging.basicConfig(level=logging.WARNING, format="%(name)s %(message)s")
from trueline.instrumentation import ai_call, bind_identity, bind_message, instrument, setup, uninstrument
from trueline.instrumentation.instrumentor import TruelineInstrumentor

instrument("service", endpoint="http://127.0.0.1:9")
instrument("service", endpoint="http://127.0.0.1:9")
assert not setup.is_instrumented()
from sqlalchemy import create_engine, text
with bind_identity("7"), bind_message("m"), ai_call("chat"), create_engine("sqlite://").begin() as connection:
    print("answer", connection.execute(text("SELECT 42")).scalar())
uninstrument()
TruelineInstrumentor().instrument(skip_dep_check=True)
TruelineInstrumentor().uninstrument()
assert not setup.is_instrumented()
"""


def run(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    before = [*map(str, path), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, before))},
    )


def said(result: subprocess.CompletedProcess[str]) -> list[str]:
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    return [line for line in result.stderr.splitlines() if line.startswith("trueline ")]


@pytest.mark.parametrize("version", ["1.4.54", "2.2.0", "3.0.0b1"])
def test_another_release_is_refused_with_a_sentence(version: str) -> None:
    result = run(f"import sqlalchemy\nsqlalchemy.__version__ = {version!r}\n{APPLICATION}")
    (first, *others) = said(result)
    assert f"SQLAlchemy {version} is not supported, nothing is instrumented; 2.0 and 2.1 are." in first
    assert ("Upgrade SQLAlchemy" in first) == version.startswith("1.")
    assert set(others) == {first}
    assert result.stdout == "answer 42\n"


@pytest.mark.nightly
@pytest.mark.parametrize("version", ["1.4.54"])
def test_a_real_old_release_is_refused_with_a_sentence(version: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)]
    subprocess.run([*command, f"sqlalchemy=={version}"], check=True, timeout=600, capture_output=True)
    result = run(f"import sqlalchemy\nassert sqlalchemy.__version__ == {version!r}\n{APPLICATION}", tmp_path)
    assert f"SQLAlchemy {version} is not supported, nothing is instrumented" in said(result)[0]
    assert result.stdout == "answer 42\n"


def test_without_sqlalchemy_a_sentence_is_said() -> None:
    lines = [line for line in APPLICATION.splitlines() if not line.startswith("from sqlalchemy")]
    code = "\n".join(lines).replace(', create_engine("sqlite://").begin() as connection', "")
    code = code.replace('connection.execute(text("SELECT 42")).scalar()', "42")
    result = run(f"import sys\nsys.modules['sqlalchemy'] = None\n{code}")
    assert (
        "SQLAlchemy is not installed, nothing is instrumented; 2.0 and 2.1 are supported" in said(result)[0]
    )
    assert result.stdout == "answer 42\n"


def test_importing_loads_no_part_of_sqlalchemy() -> None:
    result = run(
        "import sys, trueline.instrumentation\nprint([name for name in sys.modules if 'sqlalchemy' in name])"
    )
    assert result.stdout == "[]\n", result.stderr
