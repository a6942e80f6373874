"""Runs many programs against one real database and judges every write of them."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import sqlite3
import time
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psycopg
from sqlalchemy import create_engine, event
from sqlalchemy.pool import NullPool
from support.programs.generate import generate
from support.programs.interpret import Interpreter, Target, current_line
from support.programs.judge import Score, Verdict, judge, tags_of
from support.programs.naive import Naive
from support.programs.oracle import Begins, Transaction
from support.programs.schema import SHARED, TAKEN, Base
from support.programs.steps import Program, describe, numbers, smaller
from support.recorder import Recorder

from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor, IdentityHasher

#: How SQLite and drivers are set up. ``begin event``: SQLAlchemy's recipe for sqlite3, a real BEGIN from the
#: begin event. ``driver autocommit``: the driver's own setting, of which SQLAlchemy knows nothing.
Flavor = Literal["plain", "begin event", "driver autocommit"]
#: The programs of one engine.
BATCH = 20
#: The threads or tasks that share it, in every second batch.
TOGETHER = 3
#: Failing programs that are shrunk and printed in full.
EXPLAINED = 4
_LEFT = "programs.left"
_runs = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Database:
    """A real database with the tables made. ``address`` is a path or a libpq URL."""

    driver: str
    is_async: bool
    url: Any
    address: str

    @property
    def sqlite(self) -> bool:
        """Whether ``address`` is a path."""
        return "sqlite" in self.driver

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.driver} async" if self.driver == "psycopg" and self.is_async else self.driver

    def flavors(self) -> list[Flavor]:
        """What this driver can be set up for."""
        if self.sqlite:
            return ["plain", "begin event", "driver autocommit"]
        return ["plain"] if self.driver == "asyncpg" else ["plain", "driver autocommit"]

    def prepare(self) -> None:
        """Make the tables and the rows that every program counts on."""
        engine = create_engine(self._sync_url(), poolclass=NullPool)
        Base.metadata.create_all(engine)
        engine.dispose()
        self.execute(
            "INSERT INTO entries (user_id, once) VALUES (%s, %s)", [("first", TAKEN), (SHARED, None)]
        )
        if not self.sqlite:
            name = psycopg.conninfo.conninfo_to_dict(self.address)["dbname"]
            self.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off', [()])
            self.execute(f'ALTER DATABASE "{name}" SET lock_timeout = 200', [()])

    def _sync_url(self) -> Any:
        if self.sqlite:
            return f"sqlite:///{self.address}"
        return "postgresql+psycopg://" + self.address.split("://", 1)[1]

    def execute(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each of ``rows``, past SQLAlchemy."""
        with self._connection() as connection:
            cursor = connection.cursor()
            for row in rows:
                cursor.execute(sql.replace("%s", "?") if self.sqlite else sql, row)
            connection.commit()

    def table(self) -> dict[str, str | None]:
        """Every row: user_id and value."""
        with self._connection() as connection:
            return dict(connection.cursor().execute("SELECT user_id, value FROM entries").fetchall())

    def times(self) -> dict[str, float | None]:
        """When each row was written, by the writer's clock: user_id and seconds since the epoch."""
        with self._connection() as connection:
            return dict(connection.cursor().execute("SELECT user_id, written_at FROM entries").fetchall())

    def seed_rows(self, interpreters: Iterable[Interpreter]) -> None:
        """Make the rows that programs will update, delete and rename."""
        self.execute(
            "INSERT INTO entries (user_id) VALUES (%s)",
            [
                (i.key(number) if how != "rename" else f"old-{i.key(number)}",)
                for i in interpreters
                for how in ("update", "delete", "rename")
                for number in numbers(i.program, (how,))
            ],
        )

    def clear(self) -> None:
        """Forget the rows of programs, so that reading the table stays quick."""
        self.execute("DELETE FROM entries WHERE user_id LIKE %s", [("k%",), ("old-k%",)])

    @contextmanager
    def _connection(self) -> Any:
        with closing(
            sqlite3.connect(self.address, timeout=60) if self.sqlite else psycopg.connect(self.address)
        ) as connection:
            yield connection

    def terminate(self, pid: int) -> None:
        """End a server process and wait until it is gone."""
        with psycopg.connect(self.address, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 30000)", (pid,))

    def engine(self, flavor: Flavor) -> Any:
        """An engine, made the way an application makes it, after Trueline was switched on."""
        # Looked up on the module, so that contrib's wrapper of the function is the one that is called.
        import sqlalchemy
        import sqlalchemy.ext.asyncio

        make: Any = sqlalchemy.ext.asyncio.create_async_engine if self.is_async else sqlalchemy.create_engine
        arguments: dict[str, Any] = {"timeout": 0.5} if self.sqlite else {}
        if flavor == "driver autocommit" and self.driver == "psycopg":
            arguments["autocommit"] = True
        if flavor != "plain" and self.sqlite:
            arguments["isolation_level"] = None
        engine = make(self.url, connect_args=arguments, pool_size=TOGETHER + 2, max_overflow=10)
        sync_engine = engine.sync_engine if self.is_async else engine
        if self.sqlite:
            event.listen(sync_engine, "connect", _set_up_sqlite)
        elif flavor == "driver autocommit" and self.driver == "psycopg2":
            event.listen(sync_engine, "connect", _set_up_psycopg2)
        if flavor == "begin event":
            event.listen(sync_engine, "begin", _begin)
        if self.driver == "aiosqlite":
            event.listen(sync_engine, "connect", _watch_aiosqlite)
        return engine

    def target(self, engine: Any, flavor: Flavor) -> Target:
        """What the interpreter needs to know of the engine."""
        begins: Begins = "statement"
        if self.sqlite:
            begins = "first write" if flavor == "plain" else "client"
        elif self.driver in ("asyncpg", "psycopg2"):
            begins = "client"
        autocommit = flavor == "driver autocommit"
        return Target(engine, self.driver, self.is_async, begins, autocommit, self.terminate, _close_dropped)


def _set_up_sqlite(dbapi_connection: Any, record: Any) -> None:
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA synchronous = OFF")
    cursor.close()


def _set_up_psycopg2(dbapi_connection: Any, record: Any) -> None:
    dbapi_connection.autocommit = True


#: aiosqlite's connections with the pool's record of each.
_aiosqlite: list[tuple[Any, Any]] = []


def _watch_aiosqlite(dbapi_connection: Any, record: Any) -> None:
    _aiosqlite.append((record, dbapi_connection.driver_connection))


async def _close_dropped(*, everything: bool = False) -> None:
    """A collected aiosqlite connection lives on in its thread, and would hold SQLite's lock for ever."""
    await asyncio.sleep(0)
    for entry in list(_aiosqlite):
        record, connection = entry
        if everything or getattr(record.dbapi_connection, "driver_connection", None) is not connection:
            _aiosqlite.remove(entry)
            # It is the thread (older aiosqlite) or has one; a closed one would keep close() waiting.
            if getattr(connection, "_thread", connection).is_alive():
                with suppress(Exception):
                    await asyncio.wait_for(connection.close(), 10)


class _Leftovers:
    """Transactions that SQLite keeps open in a pooled connection after a refused COMMIT."""

    def __init__(self, sync_engine: Any) -> None:
        self._all: list[Transaction] = []
        event.listen(sync_engine, "checkout", self._checkout)
        event.listen(sync_engine, "checkin", self._checkin)

    def _checkout(self, dbapi_connection: Any, record: Any, proxy: Any) -> None:
        line = current_line.get()
        # SQLAlchemy empties the dictionary when the record connects anew.
        if line is not None and (left := record.info.pop(_LEFT, None)):
            line.transaction = left
            line.inherited = True

    def _checkin(self, dbapi_connection: Any, record: Any) -> None:
        line = current_line.get()
        if line is None:
            return
        driver: Any = getattr(dbapi_connection, "driver_connection", dbapi_connection)
        left = line.returned(still_open=bool(driver is not None and driver.in_transaction))
        if left is not None:
            record.info[_LEFT] = left
            self._all.append(left)

    def disposed(self) -> None:
        """The engine was disposed of, its connections closed."""
        for transaction in self._all:
            transaction.end = transaction.end or ("rolled_back", "commit_failed")


def _begin(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN")


# -- running -----------------------------------------------------------------------------------------------


def run_batch(
    database: Database,
    recorder: Recorder,
    seeds: Iterable[int],
    flavor: Flavor,
    *,
    together: bool,
) -> list[Verdict]:
    """Run a program of each seed on one engine of its own, and judge them."""
    blueprint = database.target(None, flavor)
    seeds = list(seeds)
    # A transaction left behind by a refused COMMIT and another user's isolation level do not go together: see
    # generate().
    refusals = flavor != "begin event" and (together or seeds[0] // len(seeds) % 4 < 2)
    programs = [generate(seed, blueprint, shared=together, refusals=refusals) for seed in seeds]
    return run_programs(database, recorder, programs, flavor, together=together)


def run_programs(
    database: Database,
    recorder: Recorder,
    programs: Sequence[Program],
    flavor: Flavor,
    *,
    together: bool = False,
) -> list[Verdict]:
    """Run ``programs`` on one new engine and judge them."""
    started = time.perf_counter()
    engine = database.engine(flavor)
    target = database.target(engine, flavor)
    sync_engine = engine.sync_engine if database.is_async else engine
    naive = Naive(sync_engine)
    leftovers = _Leftovers(sync_engine) if database.sqlite else None
    interpreters = [Interpreter(target, program, f"k{next(_runs)}") for program in programs]
    database.seed_rows(interpreters)
    recorder.clear()
    with warnings.catch_warnings():
        # SQLAlchemy warns of connections that are not closed, and logs errors of those that are gone.
        warnings.simplefilter("ignore")
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL + 1)
        if database.is_async:
            asyncio.run(_run_async(engine, interpreters, TOGETHER if together else 1))
        else:
            with ThreadPoolExecutor(TOGETHER if together else 1) as threads:
                started_all = [(i, threads.submit(i.run)) for i in interpreters]
                for interpreter, done in started_all:
                    try:
                        done.result()
                    except Exception as error:
                        error.add_note(describe(interpreter.program))
                        raise
            gc.collect()
            engine.dispose()
        gc.collect()
    if leftovers is not None:
        leftovers.disposed()
    seconds = time.perf_counter() - started
    table = database.table()
    hashed = tags_of(recorder.spans())
    extractor = IdentityExtractor(IdentityConfig(), IdentityHasher(None))
    verdicts = []
    for interpreter in interpreters:
        keys = [interpreter.key(number) for number in numbers(interpreter.program)]
        tags = {key: tag for key in keys if (tag := hashed.get(extractor.bind(key, "user").value))}
        verdict = judge(
            interpreter.program,
            interpreter.prefix,
            interpreter.record,
            interpreter.lines,
            table,
            tags,
            naive.plain,
            naive.with_savepoints,
        )
        verdict.score.seconds = seconds / len(interpreters)
        verdicts.append(verdict)
    database.clear()
    return verdicts


async def _run_async(engine: Any, interpreters: Sequence[Interpreter], width: int) -> None:
    waiting = iter(interpreters)

    async def worker() -> None:
        for interpreter in waiting:
            await interpreter.run_async()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(width):
                group.create_task(worker())
    finally:
        gc.collect()
        await _close_dropped()
        await engine.dispose()
        await _close_dropped(everything=True)


def run_seeds(
    database: Database,
    recorder: Recorder,
    seeds: Sequence[int],
    *,
    batch: int = BATCH,
    flavors: Sequence[Flavor] | None = None,
    explained: int = EXPLAINED,
) -> tuple[Score, list[str]]:
    """Run all ``seeds`` in batches over every flavor, alone and together; the score, and what failed."""
    # Most applications leave drivers as they are.
    order = flavors or ["plain", "plain", "plain", *database.flavors()[1:]]
    score = Score()
    failures: list[str] = []
    for number, start in enumerate(range(0, len(seeds), batch)):
        flavor = order[number % len(order)]
        together = number % 2 == 1
        for verdict in run_batch(database, recorder, seeds[start : start + batch], flavor, together=together):
            score.add(verdict.score)
            if verdict.complaints:
                explain = _explain if len(failures) < explained else _name
                failures.append(explain(database, recorder, verdict, flavor))
    return score, failures


def _name(database: Database, recorder: Recorder, verdict: Verdict, flavor: Flavor) -> str:
    return "\n".join([f"{database.name}, {flavor}, program {verdict.program.seed}", *verdict.complaints])


def _explain(database: Database, recorder: Recorder, verdict: Verdict, flavor: Flavor) -> str:
    small = shrink(database, recorder, verdict.program, flavor)
    if small is None:
        return "\n".join(
            [
                f"{database.name}, {flavor}; runs clean when it runs alone",
                describe(verdict.program),
                *verdict.complaints,
            ]
        )
    return "\n".join([f"{database.name}, {flavor}", describe(small.program), *small.complaints])


def shrink(
    database: Database, recorder: Recorder, program: Program, flavor: Flavor, attempts: int = 30
) -> Verdict | None:
    """The smallest program found that is still wrong when it runs alone; None if this one is not."""

    def judged(candidate: Program) -> Verdict | None:
        try:
            (verdict,) = run_programs(database, recorder, [replace(candidate)], flavor)
        except Exception:  # a program that makes no sense any more
            return None
        return verdict if verdict.complaints else None

    best = judged(program)
    progress = best is not None
    while progress:
        progress = False
        assert best is not None
        for candidate in smaller(best.program):
            attempts -= 1
            if attempts < 0:
                return best
            verdict = judged(candidate)
            if verdict is not None:
                best, progress = verdict, True
                break
    return best


def sqlite_database(driver: str, folder: Path) -> Database:
    """A new SQLite file."""
    path = folder / f"{driver}.db"
    database = Database(driver, driver == "aiosqlite", f"sqlite+{driver}:///{path}", str(path))
    database.prepare()
    return database
