"""Servers and workers that fork or spawn: everything that was served has arrived when they have stopped."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.collector import Collector, collector

from trueline.instrumentation import semconv

pytestmark = pytest.mark.sqlalchemy_rest

FOLDER = Path(__file__).parents[1] / "data" / "processes"
PATIENCE = 120


class Served:
    """A running server, started in a session of its own."""

    def __init__(self, folder: Path, received: Collector, name: str, *command: str, **more: str) -> None:
        self.name = name
        self.database = folder / f"{name}.db"
        self.output = folder / f"{name}.out"
        with sqlite3.connect(self.database) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, user_id TEXT)")
        connection.close()
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(FOLDER), *sys.path]),
            "TRUELINE_EXIT_WAIT": "60",
            "SERVED_ENDPOINT": received.endpoint,
            "SERVED_DATABASE": str(self.database),
            "SERVED_NAME": name,
            **more,
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=folder,
                start_new_session=True,
            )

    def said(self, pattern: str) -> re.Match[str]:
        """Wait for a line of its output."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = re.search(pattern, self.output.read_text())
            if found is not None:
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"{pattern} was not said: {self.output.read_text()}")

    def rows(self) -> int:
        with contextlib.closing(sqlite3.connect(self.database, timeout=60)) as connection:
            count: int = connection.execute("SELECT count(*) FROM t").fetchone()[0]
        return count

    def request(self, url: str) -> int:
        """The process that answered."""
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return int(answer.read())

    def stop(self) -> int:
        """Ask it to stop, as a deployment does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture
def received() -> Iterator[Collector]:
    with collector() as running:
        yield running


def all_arrived(received: Collector, name: str, count: int) -> None:
    spans = received.spans(name)
    inserts = [span for span in spans if span.name == "INSERT t"]
    assert len({span.span_id for span in spans}) == len(spans), "a span was sent twice"
    assert len(inserts) == count
    assert {span.attributes[semconv.TRANSACTION_OUTCOME] for span in inserts} == {"committed"}


@pytest.mark.parametrize(
    "preload",
    [pytest.param(False, id="plain", marks=pytest.mark.nightly), pytest.param(True, id="preload")],
)
def test_gunicorn(preload: bool, received: Collector, tmp_path: Path) -> None:
    options = ["--workers", "2", "--bind", "127.0.0.1:0"]
    served = Served(tmp_path, received, "web", "gunicorn", *options, *["--preload"] * preload, "served:wsgi")
    try:
        url = served.said(r"Listening at: (http://\S+)")[1]
        served.said(r"(?s)Booting worker.*Booting worker")
        workers = {served.request(url) for _ in range(8)}
        assert served.process.pid not in workers
        assert served.stop() == 0, served.output.read_text()
    finally:
        served.kill()
    all_arrived(received, "web", 8)
    assert len(received.instances("web")) == len(workers)
    assert "Traceback" not in served.output.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_uvicorn(workers: int, received: Collector, tmp_path: Path) -> None:
    """It ends by raising SIGTERM against itself, workers too: no ``atexit`` there."""
    options = ["--workers", str(workers), "--host", "127.0.0.1", "--port", "0"]
    served = Served(tmp_path, received, "web", "uvicorn", *options, "served:asgi")
    try:
        url = served.said(r"running on (http://[\d.:]+)")[1]
        served.said(r"(?s)" + r"startup complete.*" * workers)
        answered = {served.request(url) for _ in range(8)}
        served.stop()
    finally:
        served.kill()
    assert (served.process.pid in answered) is (workers == 1)
    all_arrived(received, "web", 8)


def test_celery_prefork(received: Collector, tmp_path: Path) -> None:
    """Worker processes end after two tasks each, the last one with the worker's warm shutdown."""
    broker = tmp_path / "broker"
    broker.mkdir()
    options = ["--pool", "prefork", "--concurrency", "1", "--max-tasks-per-child", "2"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"]
    served = Served(
        tmp_path,
        received,
        "worker",
        *["celery", "--app", "served", "worker", *options, *quiet],
        SERVED_BROKER=str(broker),
    )
    try:
        send = "import served\nfor number in range(5): served.write.delay(number)"
        subprocess.run(
            [sys.executable, "-c", send],
            env={**served.environment, "TRUELINE_DISABLED": "1"},
            cwd=tmp_path,
            check=True,
            timeout=PATIENCE,
        )
        deadline = time.monotonic() + PATIENCE
        while served.rows() < 5 and time.monotonic() < deadline:
            assert served.process.poll() is None, served.output.read_text()
            time.sleep(0.05)
        assert served.stop() == 0, served.output.read_text()
    finally:
        served.kill()
    all_arrived(received, "worker", 5)
    assert len(received.instances("worker")) == 3
    entries = [span for span in received.spans("worker") if span.name == "served.write"]
    assert len(entries) == 5
    for insert in (span for span in received.spans("worker") if span.name == "INSERT t"):
        assert insert.parent_id in {entry.span_id for entry in entries}
