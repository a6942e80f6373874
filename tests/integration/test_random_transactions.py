"""Random transaction programs: what each write was tagged with against what the table holds afterwards.

A program is a seeded sequence of what applications do, also badly: errors swallowed, savepoints left
dangling, connections dropped, killed or collected. Each write inserts a row of its own, so that after the
program the table tells which writes are there. Tags and table must agree for every single write.
"""

from __future__ import annotations

import contextlib
import gc
import random
import warnings
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, insert, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session
from support.matrix import Expense
from support.recorder import Recorder

from trueline.instrumentation import semconv
from trueline.instrumentation.identity import IdentityConfig, IdentityExtractor, IdentityHasher

pytestmark = pytest.mark.sqlalchemy_matrix

DUPLICATE = "the one message"


class ApplicationError(Exception):
    """An application error."""


class Program:
    """Runs one random program and remembers which rows it tried to write."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.engine = engine
        self.random = random.Random(seed)
        self.prefix = f"{seed}-"
        self.tried = 0
        #: Rows written on a connection that was killed before its commit.
        self.on_killed: set[str] = set()

    def key(self) -> str:
        self.tried += 1
        return f"{self.prefix}{self.tried}"

    def run(self) -> None:
        styles: list[Callable[[], None]] = [
            self.core,
            self.core,
            self.orm,
            self.orm,
            self.autocommit,
            self.textual,
            self.dropped,
            self.killed,
            self.engine_begin,
        ]
        for _ in range(self.random.randint(1, 4)):
            with contextlib.suppress(ApplicationError, SQLAlchemyError):
                self.random.choice(styles)()

    # -- pieces ------------------------------------------------------------------------------------

    def write(self, execute: Callable[..., Any]) -> None:
        duplicate = self.random.random() < 0.15
        values = {"user_id": self.key(), "message": DUPLICATE if duplicate else None}
        swallow = self.random.random() < 0.5
        try:
            execute(insert(Expense).values(**values))
        except DBAPIError:
            if not swallow:
                raise

    def steps(self, execute: Callable[..., Any], nested: Callable[[], Any], depth: int = 0) -> None:
        for _ in range(self.random.randint(1, 4)):
            choice = self.random.random()
            if choice < 0.55:
                self.write(execute)
            elif choice < 0.7:
                execute(select(Expense.id).limit(1)).all()
            elif choice < 0.9 and depth < 2:
                self.savepoint(execute, nested, depth)
            elif choice < 0.95:
                raise ApplicationError

    def savepoint(self, execute: Callable[..., Any], nested: Callable[[], Any], depth: int) -> None:
        swallow = self.random.random() < 0.7
        try:
            with nested() as savepoint:
                self.steps(execute, nested, depth + 1)
                if self.random.random() < 0.3 and savepoint.is_active:
                    savepoint.rollback()
        except (ApplicationError, DBAPIError):
            if not swallow:
                raise

    # -- styles ------------------------------------------------------------------------------------

    def core(self) -> None:
        with self.engine.connect() as connection:
            self.steps(connection.execute, connection.begin_nested)
            end = self.random.random()
            if end < 0.5:
                connection.commit()
            elif end < 0.75:
                connection.rollback()

    def orm(self) -> None:
        with Session(self.engine) as session:
            self.steps(session.execute, session.begin_nested)
            end = self.random.random()
            if end < 0.5:
                session.commit()
            elif end < 0.75:
                session.rollback()

    def engine_begin(self) -> None:
        with self.engine.begin() as connection:
            self.steps(connection.execute, connection.begin_nested)

    def autocommit(self) -> None:
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for _ in range(self.random.randint(1, 3)):
                self.write(connection.execute)

    def textual(self) -> None:
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                self.write(connection.execute)
            except DBAPIError:
                if self.engine.driver == "psycopg2" or self.random.random() < 0.5:
                    # psycopg2 could not leave autocommit in an aborted transaction.
                    connection.exec_driver_sql("ROLLBACK")
                raise
            connection.exec_driver_sql(self.random.choice(["COMMIT", "ROLLBACK", "COMMIT"]))
            self.write(connection.execute)

    def dropped(self) -> None:
        connection: Connection | None = self.engine.connect()
        assert connection is not None
        with contextlib.suppress(DBAPIError):
            self.write(connection.execute)
        if self.random.random() < 0.5:
            connection.invalidate()
            connection.close()
        connection = None
        gc.collect()

    def killed(self) -> None:
        if self.engine.dialect.name != "postgresql":
            return
        with self.engine.connect() as connection:
            self.write(connection.execute)
            self.on_killed.add(f"{self.prefix}{self.tried}")
            pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            admin = self.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
            with psycopg.connect(admin, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (pid,))
                other.execute("SELECT pg_sleep(0.01)")
            connection.commit()


def agree(engine: Engine, recorder: Recorder, seeds: range) -> int:
    """Run programs and compare; returns how many writes were compared."""
    with engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="first", message=DUPLICATE))
    extractor = IdentityExtractor(IdentityConfig(), IdentityHasher(None))
    compared = 0
    for seed in seeds:
        recorder.clear()
        program = Program(engine, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program.run()
            gc.collect()
        with engine.connect() as connection:
            present = set(
                connection.execute(
                    select(Expense.user_id).where(Expense.user_id.like(f"{program.prefix}%"))
                ).scalars()
            )
        tagged: dict[str, tuple[str, str | None]] = {}
        for statement in recorder.statements("write"):
            (value,) = statement[semconv.IDENTITY_VALUES]
            tagged[value] = (
                statement[semconv.TRANSACTION_OUTCOME],
                statement.get(semconv.TRANSACTION_REASON),
            )
        for number in range(1, program.tried + 1):
            key = f"{program.prefix}{number}"
            tag = tagged.get(extractor.bind(key, "user").value)
            if tag is None:
                # The driver was never reached: SQLAlchemy refused to go on with a broken transaction.
                assert key not in present, f"seed {seed}: write {key} is stored and was never seen"
                continue
            outcome, reason = tag
            if outcome == "unknown":
                assert key in program.on_killed, f"seed {seed}: write {key} was on a healthy connection"
                continue
            compared += 1
            expected = "committed" if key in present else "rolled_back"
            assert outcome == expected, f"seed {seed}: write {key} is {expected}, tagged {tag}"
            assert (reason is not None) == (outcome == "rolled_back"), f"seed {seed}: {tag}"
    return compared


def test_tags_agree_with_the_table(engine: Engine, source: Recorder) -> None:
    assert agree(engine, source, range(25)) > 50


@pytest.mark.nightly
def test_tags_agree_with_the_table_at_length(engine: Engine, source: Recorder) -> None:
    assert agree(engine, source, range(1000, 1800)) > 2000
