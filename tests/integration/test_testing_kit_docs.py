"""The guide's examples, run as they stand there."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

# Loaded once: pytester takes away what an inner run imports.
import trueline.instrumentation.testing  # noqa: F401

pytest_plugins = ["pytester"]
GUIDE = Path(__file__).parents[2] / "docs/guide/testing.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The files of the guide, each under the name in its first line."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", *sys.path]))
    for block in blocks("python"):
        name = block.splitlines()[0].removeprefix("# ")
        assert name.endswith(".py"), block
        (pytester.path / name).write_text(block)
    return pytester


def test_the_examples_pass(project: pytest.Pytester) -> None:
    project.runpytest_subprocess("-W", "error").assert_outcomes(passed=5)


def test_the_failure_looks_as_the_guide_shows_it(project: pytest.Pytester) -> None:
    path = project.path / "test_expenses.py"
    source = path.read_text()
    without = "    with pytest.raises(TelemetryAssertionError):\n        telemetry.assert_reads_what"
    assert without in source
    path.write_text(source.replace(without, "    telemetry.assert_reads_what"))
    result = project.runpytest_subprocess("test_expenses.py")

    result.assert_outcomes(passed=1, failed=1)
    shown = [line.removeprefix("E").strip() for line in result.stdout.lines if line.startswith("E ")]
    (expected,) = blocks("text")
    first = shown[0].removeprefix("trueline.instrumentation.testing.assertions.TelemetryAssertionError: ")
    assert [first, *shown[1:]] == [line.strip() for line in expected.splitlines()]
