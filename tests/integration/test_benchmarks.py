"""The benchmark of a guest runs from end to end, and a wrong run is told from a good one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

ROOT = Path(__file__).parents[2]
#: Far more than it takes, so that a slow machine is no failure.
PATIENCE_SECONDS = 240


def run(postgres_server: URL, tmp_path: Path, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    """Exit status, what it printed, and its figures."""
    figures = tmp_path / "figures.json"
    server = postgres_server.set(drivername="postgresql").render_as_string(hide_password=False)
    result = subprocess.run(
        [
            *(sys.executable, str(ROOT / "benchmarks" / "guest.py"), "--quick", "--rounds", "1"),
            *("--seconds", "1", "--rate", "40", "--postgres", server, "--json", str(figures), *arguments),
        ],
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return result.returncode, result.stdout, json.loads(figures.read_text())


@pytest.mark.nightly
def test_a_guest_is_measured_beside_the_bare_service(postgres_server: URL, tmp_path: Path) -> None:
    status, printed, figures = run(postgres_server, tmp_path, "--variants", "bare,trueline")
    assert status == 0, printed
    driver = figures["drivers"]["asyncpg"]
    assert driver["rate"] == 40
    bare, ours = driver["variants"]["bare"], driver["variants"]["trueline"]
    for row in (bare, ours):
        assert row["errors"] == 0
        assert row["requests"] == 40
        assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["p999_ms"]
        assert row["cpu_us"] > row["background_us"] >= 0
        assert row["throughput"] > 0
        assert row["rss_start_mb"] > 10
        assert row["longest_hold_ms"] > 0
    assert bare["arrived_fixed"]["statements"] == bare["arrived_closed"]["statements"] == 0
    # 40 requests of one statement, or two where something is written.
    assert 40 < ours["arrived_fixed"]["expected"] < 80
    for name in ("arrived_fixed", "arrived_closed"):
        assert ours[name]["statements"] == ours[name]["expected"] > 0
        assert ours[name]["bytes"] > 100 * ours[name]["statements"]
    assert ours["threads"] > bare["threads"]
    assert "p99 ms" in printed
    assert "Trueline adds" in printed
