"""Processes of applications: forked from warmed-up libraries, or started from nothing; always ended."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.monitor_process import clean_environment

PATIENCE = 120.0
TAIL = 15


class Trouble(Exception):  # noqa: N818 - said to people as it is
    """The lab itself, or an application in it, did not do what it was to do."""


class Process:
    """One running process; ``folder`` has its output (NAME.out) and its log (NAME.log)."""

    def __init__(self, name: str, pid: int, folder: Path) -> None:
        self.name, self.pid = name, pid
        self.out, self.log = folder / f"{name}.out", folder / f"{name}.log"
        self._ended = threading.Event()
        self._asked = False
        self._status: int | None = None

    def has_ended(self, status: int) -> None:
        """Whoever started it says that it is over."""
        self._status = status
        self._ended.set()

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for its end; its exit status, minus the signal if one ended it."""
        if not self._ended.wait(seconds):
            raise self.trouble(f"did not end within {seconds:.0f} s")
        assert self._status is not None
        return self._status

    def check(self) -> None:
        """Raise Trouble if it has ended."""
        if self._ended.is_set():
            raise self.trouble(f"ended with status {self._status}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        if not self._ended.is_set():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass  # it is ending just now

    def ask_to_end(self) -> None:
        """Send SIGTERM, once: a second one would disturb what it still has to send."""
        if not self._asked:
            self._asked = True
            self.send(signal.SIGTERM)

    def stop(self, seconds: float = 90.0) -> None:
        """End it in an orderly way, or else by force."""
        self.ask_to_end()
        if not self._ended.wait(seconds):
            self.send(signal.SIGKILL)
            self._ended.wait(seconds)

    def wait_for_port(self, port: int) -> None:
        """Wait until it accepts connections."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.check()
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    return
            except OSError:
                time.sleep(0.02)
        raise self.trouble("did not open its port")

    def trouble(self, what: str) -> Trouble:
        """What went wrong, and what it logged last."""
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL:] if self.log.exists() else []
        return Trouble(f"{self.name} {what}; it logged last:" + "".join(f"\n    {line}" for line in lines))


class Starter:
    """Starts processes. Leaving the context ends all that are left."""

    def __init__(self) -> None:
        self._asking, self._lock = threading.Lock(), threading.Lock()
        self._asked: tuple[str, Path] = ("", Path())
        self._running: dict[int, Process] = {}
        self._started: queue.SimpleQueue[Process | None] = queue.SimpleQueue()
        self._server: subprocess.Popen[str] | None = None
        self._others: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Starter:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "scenarios.applications.forkserver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=application_environment({}),
        )
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in list(self._running.values()):
            process.stop(2.0)
        assert self._server is not None
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(PATIENCE)
        for other in self._others:
            other.wait(PATIENCE)

    def _listen(self) -> None:
        assert self._server is not None
        assert self._server.stdout is not None
        with self._server.stdout as lines:
            for line in lines:
                said = json.loads(line)
                if "started" in said:
                    self._started.put(self._enter(said["started"], *self._asked))
                elif "ended" in said:
                    self._end(said["ended"], said["status"])
        self._started.put(None)

    def _enter(self, pid: int, name: str, folder: Path) -> Process:
        process = Process(name, pid, folder)
        with self._lock:
            self._running[pid] = process
        return process

    def _end(self, pid: int, status: int) -> None:
        with self._lock:
            process = self._running.pop(pid, None)
        if process is not None:
            process.has_ended(status)

    def fork(
        self, name: str, module: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> Process:
        """Start ``module.main()`` in a fork of the warmed-up process."""
        assert self._server is not None
        assert self._server.stdin is not None
        order = {
            "module": module,
            "arguments": list(arguments),
            "environment": application_environment(environment),
            "folder": str(folder),
            "out": str(folder / f"{name}.out"),
            "log": str(folder / f"{name}.log"),
        }
        with self._asking:
            self._asked = (name, folder)
            self._server.stdin.write(json.dumps(order) + "\n")
            self._server.stdin.flush()
            process = self._started.get(timeout=PATIENCE)
        if process is None:
            raise Trouble("the process that starts applications has ended")
        return process

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> Process:
        """Start a command from nothing."""
        with (folder / f"{name}.out").open("ab") as out, (folder / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                command,
                env=application_environment(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )
        self._others.append(child)
        process = self._enter(child.pid, name, folder)
        threading.Thread(target=lambda: self._end(child.pid, child.wait()), daemon=True).start()
        return process


def application_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """What a process starts with: nothing of the caller's own settings, but where the code is."""
    found = [path for path in sys.path if path and "site-packages" not in path and Path(path).is_dir()]
    return clean_environment({"PYTHONPATH": os.pathsep.join(found), **extra})


_given: set[int] = set()
_giving = threading.Lock()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that nobody else is given."""
    with _giving:
        while True:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = int(listener.getsockname()[1])
            if port not in _given:
                _given.add(port)
                return port
