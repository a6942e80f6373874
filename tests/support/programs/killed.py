"""Programs in a process that is killed with SIGKILL while it writes and exports; what then is true?

As a script it is that process: it prints the number of each program before running it, for ever.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from support.programs.generate import generate
from support.programs.harness import Database
from support.programs.interpret import Interpreter
from support.programs.judge import landed, tags_in
from support.programs.steps import Program, numbers
from support.span_receiver import SpanReceiver

from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor, IdentityHasher

_PATIENCE = 60.0


@dataclass(slots=True)
class Aftermath:
    """What a killed process left behind; counts are of writes."""

    exported: int = 0
    still_open: int = 0
    unknown: int = 0
    #: In the table and not exported, and how many seconds before the kill the oldest of them was written.
    lost: int = 0
    lost_seconds: float = 0.0
    #: In words: tags that the table contradicts, and writes lost though later ones were exported.
    contradictions: tuple[str, ...] = ()


def run_and_kill(database: Database, source: str, seed: int, run_for: float) -> Aftermath:
    """Start a process, let it run for ``run_for`` seconds after its first export, kill it and compare."""
    before = _clients(database)
    with SpanReceiver() as receiver:
        url = database.url if isinstance(database.url, str) else database.url.render_as_string(False)
        given = [database.driver, database.is_async, url, database.address, receiver.url, source, seed]
        process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(given)], stdout=subprocess.PIPE, env=_environment()
        )
        printed: list[bytes] = []
        assert process.stdout is not None
        reader = threading.Thread(target=printed.extend, args=(process.stdout,), daemon=True)
        reader.start()
        try:
            assert receiver.wait(_PATIENCE), "the process exported nothing"
            time.sleep(run_for)
            assert process.poll() is None, "the process ended by itself"
        finally:
            killed_at = time.time()
            process.send_signal(signal.SIGKILL)
            process.wait(_PATIENCE)
            reader.join(_PATIENCE)
            process.stdout.close()
        _wait_for_server(database, before)
        return _compare(database, receiver, seed, int(printed[-1]), killed_at)


def _environment() -> dict[str, str]:
    roots = [str(Path(__file__).parents[2])]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TRUELINE_"))}
    return {**kept, "PYTHONPATH": os.pathsep.join([*roots, kept.get("PYTHONPATH", "")])}


def _clients(database: Database) -> set[int]:
    """Processes of the server that serve other connections: pools of this process may hold some."""
    if database.sqlite:
        return set()
    others = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    with psycopg.connect(database.address, autocommit=True) as connection:
        return {int(row[0]) for row in connection.execute(others).fetchall()}


def _wait_for_server(database: Database, before: set[int]) -> None:
    """Until PostgreSQL has noticed that its client is gone, and rolled back."""
    deadline = time.monotonic() + _PATIENCE
    while _clients(database) - before:
        assert time.monotonic() < deadline, "the server keeps connections of a killed process"
        time.sleep(0.05)


def _programs(database: Database, seed: int, last: int | None) -> Iterator[tuple[int, Program]]:
    blueprint = database.target(None, "plain")
    for number in itertools.count(seed) if last is None else range(seed, last + 1):
        yield number, generate(number, blueprint, shared=False)


def _compare(database: Database, receiver: SpanReceiver, seed: int, last: int, killed_at: float) -> Aftermath:
    found = Aftermath()
    table = database.table()
    written_at = database.times()
    hashed = tags_in(receiver.spans())
    extractor = IdentityExtractor(IdentityConfig(), IdentityHasher(None))
    lost: list[tuple[int, str]] = []
    newest = seed
    wrong: list[str] = []
    for number, program in _programs(database, seed, last):
        for row in numbers(program):
            key = f"k{number}-{row}"
            there = landed(program, row, key, table)
            tag = hashed.get(extractor.bind(key, "user").value)
            if tag is None:
                # A row to delete that is not there may never have been made.
                if there and row not in set(numbers(program, ("delete",))):
                    lost.append((number, key))
                continue
            found.exported += 1
            if tag[0] == "open":
                found.still_open += 1
                continue
            if tag[0] == "unknown":
                found.unknown += 1
                continue
            newest = number
            if there != (tag[0] == "committed"):
                wrong.append(f"{key} is {'there' if there else 'not there'}, exported as {tag}")
    found.lost = len(lost)
    ages = [killed_at - at for _, key in lost if (at := written_at.get(key))]
    found.lost_seconds = max(ages, default=0.0)
    # One program at a time, and spans leave in the order in which transactions ended.
    wrong += [f"{key} was lost; program {newest} was exported" for number, key in lost if number < newest]
    found.contradictions = tuple(wrong)
    return found


# -- the process that is killed ------------------------------------------------------------------------------


def main(driver: str, is_async: bool, url: str, address: str, endpoint: str, source: str, seed: int) -> None:
    """Run programs for ever."""
    from trueline.instrumentation import instrument

    instrument("killed", endpoint=endpoint, spans=source, logs=False)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    database = Database(driver, is_async, url, address)
    engine = database.engine("plain")
    target = database.target(engine, "plain")

    def interpreters() -> Iterator[Interpreter]:
        for number, program in _programs(database, seed, None):
            interpreter = Interpreter(target, program, f"k{number}")
            database.seed_rows([interpreter])
            print(number, flush=True)
            yield interpreter
            gc.collect()

    async def run_async() -> None:
        for interpreter in interpreters():
            await interpreter.run_async()

    if is_async:
        asyncio.run(run_async())
    for interpreter in interpreters():
        interpreter.run()


if __name__ == "__main__":
    main(*json.loads(sys.argv[1]))
