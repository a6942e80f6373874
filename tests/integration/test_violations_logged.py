"""A script on a raw driver, whose refused rows only its log tells of: from logging to the finding."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.monitor_process import PATIENCE, MonitorProcess, clean_environment

#: No SQLAlchemy and no span: it goes on after each refused row, as scripts that nobody watches do.
SCRIPT = """
import logging
import sqlite3
import time

from trueline.instrumentation import instrument

instrument(service_name="importer")
connection = sqlite3.connect(":memory:")
connection.execute("CREATE TABLE drops (number TEXT, day TEXT, UNIQUE (number))")
connection.execute("INSERT INTO drops VALUES ('DR-0001', 'monday')")
for day in ("tuesday", "wednesday", "thursday"):
    try:
        connection.execute("INSERT INTO drops VALUES ('DR-0001', ?)", (day,))
    except sqlite3.IntegrityError:
        logging.exception("a drop was not stored")
    time.sleep(0.01)
"""


@pytest.mark.nightly
def test_violations_that_only_the_log_tells_of_become_a_finding(tmp_path: Path) -> None:
    monitor = MonitorProcess(tmp_path / "data")
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=clean_environment(
                {"OTEL_EXPORTER_OTLP_ENDPOINT": monitor.url, "TRUELINE_PROCESS_KIND": "script"}
            ),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        deadline = time.monotonic() + PATIENCE
        while not (found := monitor.http.get("/api/v1/findings").json()["items"]):
            assert time.monotonic() < deadline, monitor.http.get("/api/v1/findings").text
            time.sleep(0.2)
    finally:
        monitor.end(signal.SIGTERM)

    (finding,) = found
    assert (finding["rule"], finding["service"], finding["count"]) == (
        "constraint_violation_burst",
        "importer",
        3,
    )
    assert finding["group"]["table"] == "drops"
    assert finding["group"]["constraint"] == "unique (number)"
    assert "DR-0001" not in str(finding)
