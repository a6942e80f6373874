"""Processes that use a database and end, each in its own way.

    python ends.py ENDPOINT FOLDER [NAME ...]

Everything is imported once, then one process is forked for each scenario before Trueline is switched on.
It switches on, works under ``service.name`` = the scenario's name, and ends like any script: it falls off the
end of this file, unless it ends otherwise. Prints the exit codes as JSON. The database of each scenario is
``FOLDER/NAME.db``, what it writes to stderr is in ``FOLDER/NAME.err``.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import signal
import sqlite3
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Engine, text
from sqlalchemy.pool import NullPool

from trueline.instrumentation import instrument, setup

ENDPOINT = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("ENDS_ENDPOINT", "")
FOLDER = Path(sys.argv[2] if len(sys.argv) > 2 else os.environ.get("ENDS_FOLDER", "."))
SCENARIOS: dict[str, Callable[[str], None]] = {}


def scenario(function: Callable[[str], None]) -> Callable[[str], None]:
    SCENARIOS[function.__name__] = function
    return function


def start(name: str, **arguments: Any) -> Engine:
    """Switch on and return an engine on an empty table ``t``."""
    path = FOLDER / f"{name}.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, user_id TEXT)")
    connection.close()
    instrument(name, endpoint=ENDPOINT, **arguments)
    return engine_of(name)


def engine_of(name: str) -> Engine:
    # Looked up on the module, so that contrib's wrapper of it is the one that is called.
    return sqlalchemy.create_engine(
        f"sqlite:///{FOLDER}/{name}.db", poolclass=NullPool, connect_args={"timeout": 60}
    )


def write(engine: Engine, count: int = 1) -> None:
    for _ in range(count):
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO t (user_id) VALUES (:user)"), {"user": "7"})


def received(name: str, count: int, span: str = "INSERT t") -> None:
    """Wait until the receiver has that many such spans of this service."""
    url = f"{ENDPOINT}/count?service={name}&name={span.replace(' ', '%20')}"
    for _ in range(1200):
        with urllib.request.urlopen(url) as answer:
            if int(answer.read()) >= count:
                return
        time.sleep(0.05)
    raise AssertionError(f"{name}: not received")


# -- a script ----------------------------------------------------------------------------------------------


@scenario
def falls_off_the_end(name: str) -> None:
    write(start(name), 3)


@scenario
def sys_exit(name: str) -> None:
    write(start(name), 3)
    sys.exit(3)


@scenario
def unhandled_exception(name: str) -> None:
    engine = start(name)
    write(engine, 2)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO t (user_id) VALUES ('8')"))
        raise LookupError


@scenario
def open_transaction_at_the_end(name: str) -> None:
    global kept
    kept = start(name).connect()
    kept.execute(text("INSERT INTO t (user_id) VALUES ('8')"))


@scenario
def atexit_handler_registered_later(name: str) -> None:
    engine = start(name)
    atexit.register(write, engine)


@scenario
def atexit_handler_registered_earlier(name: str) -> None:
    engine = engine_of(name)
    atexit.register(write, engine)
    start(name)
    write(engine)


@scenario
def thread_that_outlives_the_main_one(name: str) -> None:
    engine = start(name)

    def later() -> None:
        time.sleep(0.3)
        write(engine, 2)

    threading.Thread(target=later).start()


@scenario
def daemon_thread_that_blocks_in_a_transaction(name: str) -> None:
    engine = start(name)
    began = threading.Event()

    def blocks() -> None:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO t (user_id) VALUES ('8')"))
            began.set()
            threading.Event().wait()

    threading.Thread(target=blocks, daemon=True).start()
    began.wait(60)


@scenario
def event_loop_that_ends(name: str) -> None:
    start(name)

    async def work() -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        engine = create_async_engine(f"sqlite+aiosqlite:///{FOLDER}/{name}.db")
        async with engine.begin() as connection:
            await connection.execute(text("INSERT INTO t (user_id) VALUES ('7')"))
        await engine.dispose()

    asyncio.run(work())


# -- signals and os._exit ----------------------------------------------------------------------------------


def write_and_end(name: str, end: Callable[[], None]) -> None:
    """One write that arrives while the process runs, one right before the end."""
    engine = start(name)
    write(engine)
    received(name, 1)
    write(engine)
    end()


@scenario
def sigterm_handled(name: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    write_and_end(name, lambda: os.kill(os.getpid(), signal.SIGTERM))


@scenario
def sigterm_default(name: str) -> None:
    write_and_end(name, lambda: os.kill(os.getpid(), signal.SIGTERM))


@scenario
def sigkill(name: str) -> None:
    write_and_end(name, lambda: os.kill(os.getpid(), signal.SIGKILL))


@scenario
def os_exit(name: str) -> None:
    write_and_end(name, lambda: os._exit(0))


@scenario
def sigkill_in_an_open_transaction(name: str) -> None:
    with start(name).begin() as connection:
        connection.execute(text("INSERT INTO t (user_id) VALUES ('8')"))
        received(name, 1)
        os.kill(os.getpid(), signal.SIGKILL)


# -- transactions that nobody ends -------------------------------------------------------------------------


@scenario
def ends_long_after_it_left_as_open(name: str) -> None:
    engine = start(name, hold=0.2)
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO t (user_id) VALUES ('1')"))
        nested = connection.begin_nested()
        connection.execute(text("INSERT INTO t (user_id) VALUES ('2')"))
        received(name, 2)
        nested.rollback()
        connection.commit()


@scenario
def generator_never_finished(name: str) -> None:
    engine = start(name, hold=0.2)

    def rows() -> Any:
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO t (user_id) VALUES ('8')"))
            yield from connection.execute(text("SELECT id FROM t"))

    global unfinished
    unfinished = rows()
    next(unfinished)
    received(name, 1)


# -- children ----------------------------------------------------------------------------------------------


@scenario
def fork_with_an_open_transaction(name: str) -> None:
    engine = start(name, hold=600)
    with engine.connect() as connection:
        connection.execute(text("INSERT INTO t (user_id) VALUES ('parent')"))
        child = os.fork()
        if child == 0:
            # The parent's transaction locks the table: the child reads.
            with engine_of(name).connect() as own:
                own.execute(text("SELECT id FROM t")).all()
            return  # ends like the script itself, with the parent's connection still in its memory
        assert os.waitpid(child, 0)[1] == 0
        connection.commit()


def forks_under_load(name: str) -> None:
    """Threads of the parent run through every hook while it forks.

    What does not survive that in Python itself is kept out: SQLite's own locks (the server of ENDS_POSTGRESQL
    is used), and import locks (everything is loaded before).
    """
    server = os.environ["ENDS_POSTGRESQL"]
    instrument(name, endpoint=ENDPOINT)
    write(sqlalchemy.create_engine(server, poolclass=NullPool))
    stop = threading.Event()

    def load() -> None:
        engine = sqlalchemy.create_engine(server)
        number = 0
        while not stop.is_set():
            number += 1
            with engine.connect() as connection:
                connection.execute(text(f"SELECT {number} AS a{number}"))  # a plan of its own each time
            time.sleep(0.001)

    threads = [threading.Thread(target=load, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    children = []
    for _ in range(8):
        child = os.fork()
        if child == 0:
            write(sqlalchemy.create_engine(server, poolclass=NullPool))
            return  # only this thread exists in the child: it ends like a script
        children.append(child)
    codes = [os.waitpid(child, 0)[1] for child in children]
    stop.set()
    assert codes == [0] * len(codes), codes


def child_writes(name: str, count: int = 1) -> int:
    write(engine_of(name), count)
    return os.getpid()


def child_starts_and_writes(name: str) -> None:
    write(start(name))


def child_os_exit(name: str) -> None:
    write(engine_of(name))
    os._exit(0)


@scenario
def multiprocessing_fork(name: str) -> None:
    run_process(name, "fork", child_writes)


@scenario
def multiprocessing_fork_switched_on_in_the_child(name: str) -> None:
    run_process(name, "fork", child_starts_and_writes)


@scenario
def multiprocessing_os_exit(name: str) -> None:
    run_process(name, "fork", child_os_exit)


@scenario
def multiprocessing_pool_joined(name: str) -> None:
    import multiprocessing

    start(name)
    pool = multiprocessing.get_context("fork").Pool(2)
    pool.map(child_writes, [name] * 4, chunksize=1)
    pool.close()
    pool.join()


@scenario
def multiprocessing_pool_terminated(name: str) -> None:
    import multiprocessing

    start(name)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.map(child_writes, [name])
        received(name, 1)
        pool.map(child_writes, [name])


@scenario
def process_pool_executor(name: str) -> None:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    start(name)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(child_writes, [name] * 4))


@scenario
def multiprocessing_with_the_applications_provider(name: str) -> None:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{ENDPOINT}/v1/traces")))
    trace.set_tracer_provider(provider)
    run_process(name, "fork", child_writes)


@scenario
def multiprocessing_spawn(name: str) -> None:
    os.environ |= {"ENDS_ENDPOINT": ENDPOINT, "ENDS_FOLDER": str(FOLDER), "ENDS_AT_IMPORT": name}
    run_process(name, "spawn", child_writes)


@scenario
def multiprocessing_forkserver(name: str) -> None:
    os.environ |= {"ENDS_ENDPOINT": ENDPOINT, "ENDS_FOLDER": str(FOLDER)}
    run_process(name, "forkserver", child_starts_and_writes)


def run_process(name: str, method: Any, target: Callable[[str], Any]) -> None:
    import multiprocessing

    engine = start(name)
    process = multiprocessing.get_context(method).Process(target=target, args=(name,))
    process.start()
    process.join()
    assert process.exitcode == 0
    write(engine)


if os.environ.get("ENDS_AT_IMPORT") and __name__ == "__mp_main__":
    # As a service does it: at import time, which a spawned child repeats.
    start(os.environ["ENDS_AT_IMPORT"])


def fork_all(names: list[str], at_once: int = 10) -> str:
    """In each child the name of its scenario; in this process "" when all have ended."""
    children: dict[int, str] = {}
    codes: dict[str, int] = {}
    waiting = list(names)
    while len(codes) < len(names):
        while waiting and len(children) - len(codes) < at_once:
            name = waiting.pop(0)
            child = os.fork()
            if child == 0:
                os.dup2(os.open(FOLDER / f"{name}.err", os.O_WRONLY | os.O_CREAT, 0o600), 2)
                return name
            children[child] = name
        ended, status = os.wait()
        codes[children[ended]] = os.waitstatus_to_exitcode(status)
    print(json.dumps(codes))
    return ""


if __name__ == "__main__":
    # Not in a function: where a scenario returns, its process falls off the end of the file as scripts do.
    assert not setup.is_instrumented()
    chosen = fork_all(sys.argv[3:] or list(SCENARIOS))
    if chosen:
        SCENARIOS.get(chosen, forks_under_load)(chosen)
