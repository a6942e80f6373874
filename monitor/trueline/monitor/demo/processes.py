"""The demo's child processes: started with a clean environment, watched, and ended whatever happens."""

from __future__ import annotations

import atexit
import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trueline.monitor.errors import TruelineError

#: Seconds a child has for a clean end before it is killed.
GRACE_SECONDS = 5.0
#: Lines of a dead child's log that are shown.
TAIL_LINES = 12
#: Settings of the caller's own services and shell must not reach the demo's.
FOREIGN_PREFIXES = ("OTEL_", "TRUELINE_", "PG")


class DemoError(TruelineError):
    """The demo could not be played to its end."""


class Child:
    """One process in a session of its own, so that it and its children are ended together."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name.replace('/', '-')}.log"
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN_PREFIXES)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - the project's own modules
                command,
                env={**inherited, **environment, "PYTHONUNBUFFERED": "1"},
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, name=f"read {name}", daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def line(self, timeout: float) -> str:
        """Its next line of output, within ``timeout`` seconds."""
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise self.failure(f"did not answer within {timeout:.0f} s") from None
        if line is None:
            self.process.wait(GRACE_SECONDS)
            raise self.failure(f"ended with status {self.process.returncode}")
        return line

    def ask(self, question: dict[str, Any], timeout: float = 20.0) -> dict[str, Any]:
        """Write one line of JSON to its input and read one from its output."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died: line() tells how
        answer: dict[str, Any] = json.loads(self.line(timeout))
        return answer

    def wait_for_port(self, port: int, timeout: float) -> None:
        """Wait until it accepts connections on 127.0.0.1:``port``."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            self.check()
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        raise self.failure(f"did not open its port within {timeout:.0f} s")

    def check(self) -> None:
        """Raise DemoError if it has ended."""
        if self.process.poll() is not None:
            raise self.failure(f"ended with status {self.process.returncode}")

    def failure(self, what: str) -> DemoError:
        """The error that tells what went wrong and what it logged last."""
        tail = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        logged = "".join(f"\n    {line}" for line in tail) or " nothing"
        return DemoError(f"{self.name} {what}; it logged last:{logged}")

    def terminate(self) -> None:
        """Ask it to end, without waiting."""
        self._signal(signal.SIGTERM)

    def stop(self, deadline: float) -> None:
        """End it and everything it started; after ``deadline`` (time.monotonic) without asking again."""
        self.terminate()
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        # Even after an orderly end: whatever is left of its group goes too.
        self._signal(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass  # a job that the dead process never read

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass  # all of them have ended


class Children:
    """All child processes of one demo. Leaving the context, or the interpreter, ends every one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: dict[str, Child] = {}

    def __enter__(self) -> Self:
        atexit.register(self.stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        atexit.unregister(self.stop)

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> Child:
        """Start a process; ``environment`` is added to the caller's."""
        with uninterrupted():
            child = self._all[name] = Child(name, command, environment, self._folder)
        return child

    def check(self) -> None:
        """Raise DemoError if one has ended."""
        for child in self._all.values():
            child.check()

    def stop(self, some: Iterable[Child] | None = None) -> None:
        """Stop some of them, side by side; all if none are named."""
        stopping = list(self._all.values() if some is None else some)
        deadline = time.monotonic() + GRACE_SECONDS
        for child in stopping:
            child.terminate()
        for child in stopping:
            child.stop(deadline)
            del self._all[child.name]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait for the end of the block: whoever ends things must know what it starts."""
    waiting: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: waiting.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for late in waiting:
            signal.raise_signal(late)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()
