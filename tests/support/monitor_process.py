"""The real ``trueline serve`` as a child process on a free port, for tests."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

#: Generous: the machine may be busy with other things.
PATIENCE = 180.0


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without settings of the caller's own shell."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TRUELINE_", "OTEL_"))}
    return {**kept, "PYTHONUNBUFFERED": "1", **(extra or {})}


def run_trueline(
    *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "trueline.monitor.main", *arguments],
        env=clean_environment(environment),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


class MonitorProcess:
    """Starts with the object and is listening when the constructor returns; ``url`` says where."""

    def __init__(self, data_dir: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.log = data_dir.parent / f"{data_dir.name}.log"
        command = [sys.executable, "-m", "trueline.monitor.main", "serve"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--data-dir", str(data_dir), "--port", "0", *arguments],
                env=clean_environment(environment),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        first = self.next_line()
        listening = re.search(r"http://\S+", first)
        assert listening, f"{first!r} instead of an address; its log: {self.log.read_text()}"
        self.url = listening[0]
        token = (environment or {}).get("TRUELINE_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=self.url, timeout=PATIENCE, headers=headers)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put("")

    def next_line(self) -> str:
        """The next line that it printed."""
        return self._lines.get(timeout=PATIENCE)

    @property
    def port(self) -> int:
        """The port that it took."""
        return int(self.url.rpartition(":")[2])

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """The spans and log records of a trace, oldest first; empty if there are none."""
        response = self.http.get(f"/api/v1/traces/{trace_id}")
        if response.status_code == 404:
            return []
        response.raise_for_status()
        items: list[dict[str, Any]] = response.json()["items"]
        return items

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, return the exit status (minus the signal if that ended it)."""
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)
