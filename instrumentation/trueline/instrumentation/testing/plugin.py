"""pytest fixture ``telemetry``. Switch it on in your top conftest.py::

    pytest_plugins = ["trueline.instrumentation.testing.plugin"]

A test that asks for it is recorded from there on; if it fails, what was recorded is shown with it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from trueline.instrumentation.testing import Telemetry, TelemetryAssertionError, recorded


@pytest.fixture
def telemetry_options() -> dict[str, Any]:
    """Arguments of ``recorded()``; override it to name identities of your own."""
    return {}


@pytest.fixture
def telemetry(telemetry_options: dict[str, Any]) -> Iterator[Telemetry]:
    """What the test does to databases, from here on."""
    with recorded(**telemetry_options) as recording:
        yield recording


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what was recorded below a test that failed for another reason than an assertion of ours."""
    report = yield
    recording = getattr(item, "funcargs", {}).get("telemetry")
    if (
        report.when == "call"
        and report.failed
        and isinstance(recording, Telemetry)
        and call.excinfo is not None
        and not isinstance(call.excinfo.value, TelemetryAssertionError)
    ):
        report.sections.append(("Recorded telemetry", recording.timeline()))
    return report
