"""Starts applications in a twentieth of the time: the libraries are imported once, each process is a fork.

Libraries only: ``instrument()`` and the application's own modules come after the fork, in the process that
they are for, with its own environment. Orders come as lines of JSON on standard input, what became of
processes goes out the same way. It ends, with all it started, when its input ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import sys
from typing import Any

PRELOADED = (
    "sqlalchemy.orm", "sqlalchemy.ext.asyncio", "psycopg", "psycopg2", "asyncpg", "aiosqlite", "sqlglot",
    "yaml", "flask", "werkzeug.serving", "fastapi", "uvicorn", "uvicorn.lifespan.on",
    "uvicorn.protocols.http.auto", "httpx", "openai", "openai.resources.chat",
    "opentelemetry.sdk.trace.export", "opentelemetry.sdk._logs.export",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter", "opentelemetry.instrumentation.fastapi",
    "opentelemetry.instrumentation.httpx", "opentelemetry.instrumentation.sqlalchemy",
    "trueline.instrumentation",
)  # fmt: skip


def tell(**what: Any) -> None:
    """One line to whoever gives the orders."""
    os.write(1, json.dumps(what).encode() + b"\n")


def become(order: dict[str, Any]) -> None:
    """Be the process that was asked for, from here to its end."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for asked in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    out = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, target in ((nothing, 0), (out, 1), (log, 2)):
        os.dup2(number, target)
        os.close(number)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.argv = [order["module"], *order["arguments"]]
    importlib.import_module(order["module"]).main()


def reap(running: set[int]) -> None:
    """Tell of each process that has ended."""
    for pid in list(running):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            running.discard(pid)
            tell(ended=pid, status=os.waitstatus_to_exitcode(status))


def serve() -> dict[str, Any] | None:
    """Take orders. In a new process: the order that it is to follow; at the end of all: None."""
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(waker)
    running: set[int] = set()
    waiting = b""
    tell(ready=True)
    while True:
        ready, _, _ = select.select([0, woken], [], [], 1.0)
        if woken in ready:
            os.read(woken, 4096)
        reap(running)
        if 0 not in ready:
            continue
        got = os.read(0, 65536)
        if not got:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
            return None
        *lines, waiting = (waiting + got).split(b"\n")
        for line in lines:
            order: dict[str, Any] = json.loads(line)
            pid = os.fork()
            if pid == 0:
                os.close(woken)
                os.close(waker)
                return order
            running.add(pid)
            tell(started=pid)


if __name__ == "__main__":
    for library in PRELOADED:
        importlib.import_module(library)
    gc.freeze()
    if (mine := serve()) is not None:
        become(mine)
