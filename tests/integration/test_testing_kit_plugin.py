"""The pytest plugin, in pytest runs of their own."""

from __future__ import annotations

import os
import sys
from textwrap import dedent

import pytest

# Loaded once: pytester takes away what an inner run imports.
import trueline.instrumentation.testing  # noqa: F401

pytest_plugins = ["pytester"]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty test suite with the plugin switched on, as a user has it."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    pytester.makeconftest('pytest_plugins = ["trueline.instrumentation.testing.plugin"]')
    pytester.makepyfile(
        handler=dedent(
            """
            from sqlalchemy import create_engine, text

            engine = create_engine("sqlite:///application.db")

            def prepare():
                with engine.begin() as connection:
                    connection.execute(text("CREATE TABLE IF NOT EXISTS jobs (owner_ref TEXT)"))

            def handle(owner):
                with engine.begin() as connection:
                    statement = text("INSERT INTO jobs (owner_ref) VALUES (:owner)")
                    connection.execute(statement, {"owner": owner})
            """
        )
    )
    return pytester


def test_the_fixture(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        from handler import handle, prepare
        from trueline.instrumentation import IdentityConfig

        @pytest.fixture
        def telemetry_options():
            return {"identities": IdentityConfig(columns={"jobs.owner_ref": "user"})}

        @pytest.fixture
        def prepared(telemetry):
            prepare()
            telemetry.clear()

        def test_it_passes(prepared, telemetry):
            handle("12345")
            telemetry.assert_committed("jobs", column="owner_ref", identity="12345", times=1)

        def test_each_test_starts_empty(prepared, telemetry):
            handle("777")
            assert len(telemetry.writes) == 1

        def test_without_the_fixture_nothing_is_recorded():
            from trueline.instrumentation import runtime
            prepare()
            assert runtime.current() is None
        """
    )
    suite.runpytest_subprocess("-W", "error").assert_outcomes(passed=3)


def test_a_failure_shows_what_was_recorded(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        from handler import handle, prepare

        def test_by_an_assertion_of_ours(telemetry):
            prepare()
            telemetry.assert_committed("jobs", times=2)

        def test_by_another_one(telemetry):
            prepare()
            handle("12345")
            assert "handled" == "yes"

        def test_that_records_nothing():
            assert 0
        """
    )
    result = suite.runpytest_subprocess("-W", "error")

    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "*_ test_by_an_assertion_of_ours _*",
            ">*telemetry.assert_committed(*jobs*, times=2)",
            "E*expected 2 committed writes of jobs, found none",
            "*_ test_by_another_one _*",
            "*- Recorded telemetry -*",
            "2 transactions, 2 statements, 0 AI calls",
            "    write INSERT jobs; 1 row",
            "*_ test_that_records_nothing _*",
        ]
    )
    text = result.stdout.str()
    assert text.count("Recorded telemetry") == 1
    # The traceback ends in the test, not in the kit.
    assert "assertions.py" not in text.split("short test summary")[0].replace("testing.assertions.", "")


def test_installing_trueline_puts_nothing_into_other_peoples_pytest_runs(suite: pytest.Pytester) -> None:
    suite.makeconftest("")
    suite.makepyfile(
        """
        import sys

        def test_nothing_is_loaded(request):
            assert not [name for name in sys.modules if name.startswith("trueline.instrumentation")]
            assert not request.config.pluginmanager.hasplugin("trueline.instrumentation.testing.plugin")
        """
    )
    suite.runpytest_subprocess().assert_outcomes(passed=1)
