"""A full disk, a folder that cannot be written, a damaged part: one sentence each, no hang, no loss."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.monitor_process import PATIENCE, MonitorProcess, run_trueline
from support.otlp import PROTOBUF, trace_request


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, too small for much."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a tmpfs can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def post(monitor: MonitorProcess, trace_id: bytes) -> tuple[int, str]:
    body = trace_request(trace_id).SerializeToString()
    response = monitor.http.post("/v1/traces", content=body, headers=PROTOBUF)
    if response.status_code == 503:
        assert 1 <= int(response.headers["retry-after"]) <= 5
    return response.status_code, response.content.decode(errors="replace")


def wait_for(condition: object) -> None:
    deadline = time.monotonic() + PATIENCE
    assert callable(condition)
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_intake_stops_before_the_disk_is_full_and_resumes(small_disk: Path) -> None:
    monitor = MonitorProcess(small_disk / "data", environment={"TRUELINE_DISK_RESERVE": "40MiB"})
    before, refused, after = os.urandom(16), os.urandom(16), os.urandom(16)
    assert post(monitor, before)[0] == 200
    filler = small_disk / "filler"
    filler.write_bytes(bytes(max(0, shutil.disk_usage(small_disk).free - (30 << 20))))
    wait_for(lambda: post(monitor, refused)[0] == 503)
    assert "is almost full" in post(monitor, refused)[1]
    ready = monitor.http.get("/readyz")
    assert ready.status_code == 503
    assert "is almost full" in ready.json()["reasons"][0]
    assert "trueline_intake_stopped 1.0" in monitor.http.get("/metrics").text
    assert len(monitor.trace(before.hex())) == 1
    filler.unlink()
    wait_for(lambda: post(monitor, after)[0] == 200)
    assert len(monitor.trace(after.hex())) == 1
    wait_for(lambda: monitor.http.get("/readyz").status_code == 200)
    assert monitor.end() == 0


def test_a_disk_that_is_full_all_the_same(small_disk: Path) -> None:
    monitor = MonitorProcess(small_disk / "data", environment={"TRUELINE_DISK_RESERVE": "0"})
    acknowledged = [os.urandom(16)]
    assert post(monitor, acknowledged[0])[0] == 200
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 20)):
                pass
        except OSError:
            pass
    statuses = set()
    refused: list[bytes] = []
    for _ in range(20):
        trace_id = os.urandom(16)
        status, _said = post(monitor, trace_id)
        statuses.add(status)
        (acknowledged if status == 200 else refused).append(trace_id)
    assert statuses <= {200, 503}
    assert 503 in statuses
    filler.unlink()
    for trace_id in refused:
        wait_for(lambda: post(monitor, trace_id)[0] == 200)  # noqa: B023 - called at once
    for trace_id in acknowledged + refused:
        assert len(monitor.trace(trace_id.hex())) >= 1
    for trace_id in acknowledged:
        assert len(monitor.trace(trace_id.hex())) == 1
    monitor.end()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    bound = subprocess.run(["mount", "--bind", str(folder), str(folder)], capture_output=True, check=False)
    if bound.returncode:
        pytest.skip("a folder can be mounted read-only by root only")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        done = run_trueline("serve", "--port", "0", "--data-dir", str(folder))
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    [line] = done.stderr.splitlines()
    assert f"The data folder {folder} cannot be written (Read-only file system)" in line


@pytest.mark.nightly
def test_a_damaged_part_is_set_aside_and_the_rest_is_served(tmp_path: Path) -> None:
    monitor = MonitorProcess(tmp_path / "data")
    kept = os.urandom(16)
    assert post(monitor, kept)[0] == 200
    assert monitor.end() == 0
    store = tmp_path / "data" / "clickhouse" / "store"
    parts = [path.parent for path in store.glob("*/*/*/checksums.txt") if path.parent.name[:2].isdigit()]
    assert parts
    victim = next(path for path in parts if (path / "data.bin").exists())
    (victim / "checksums.txt").write_bytes(b"nothing of use")
    (victim / "columns.txt").write_bytes(b"nothing of use")
    monitor = MonitorProcess(tmp_path / "data")
    fresh = os.urandom(16)
    assert post(monitor, fresh)[0] == 200
    assert len(monitor.trace(fresh.hex())) == 1
    assert monitor.end() == 0
