"""Processes of a benchmark: started, pinned to a core, asked by HTTP, ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_ENDING_SECONDS = 10.0


def cores(pin: bool) -> tuple[set[int], set[int]]:
    """The core of the service and those of everything else; all of them for both if there is only one."""
    present = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if not pin or len(present) < 2:
        return present, present
    first = min(present)
    return {first}, present - {first}


def pin_to(pid: int, on: set[int]) -> None:
    """Let a process run on these cores only; it must not have threads yet. 0 is this process."""
    if on and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, on)


class Server:
    """A process that prints its port when it listens."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name = name
        self.process = process

    @cached_property
    def port(self) -> int:
        """Waits for it."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} did not start: its error is above")
        return int(json.loads(line)["port"])

    def ask(self, path: str, *, method: str = "GET") -> Any:
        """The JSON that it answers, or None where it answers nothing."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def wait_until_ready(self, path: str, seconds: float = 60.0) -> None:
        """Wait for its first answer."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.ask(path)
                return
            except (urllib.error.URLError, ConnectionError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


@contextmanager
def server(script: str, *arguments: str, on: set[int] | None = None) -> Iterator[Server]:
    """Run ``script`` of this folder until the block is left; SIGKILL if it does not end by itself."""
    # Nobody's settings: the instrumentation under test would read them.
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("OTEL_", "TRUELINE_"))}
    # With a secret, as in production: without one nothing is hashed with a key.
    environment["TRUELINE_HASH_SECRET"] = "benchmark"
    # One layout of dictionaries for all variants.
    environment["PYTHONHASHSEED"] = "0"
    process = subprocess.Popen(
        [sys.executable, str(HERE / script), *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        if on is not None:
            pin_to(process.pid, on)
        yield Server(" ".join((script, *arguments[:1])), process)
    finally:
        process.terminate()
        try:
            process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
