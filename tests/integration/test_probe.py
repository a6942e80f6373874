"""The question "which database is this?" as a guest on the application's connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, Pool, QueuePool
from support.clusters import Cluster, cluster_folder, new_cluster
from support.postgres import Postgres
from support.recorder import Recorder
from support.tcp_proxy import proxy_to

from trueline.instrumentation import guard, instrument, recollection, semconv, uninstrument
from trueline.instrumentation.database import DatabaseFacts
from trueline.instrumentation.drivers import DriverStatus, transaction_status
from trueline.instrumentation.semconv import Rung

pytestmark = pytest.mark.sqlalchemy_matrix

DRIVERS = ("psycopg", "psycopg2", "psycopg_async", "asyncpg")
#: Stands once in what a PostgreSQL is asked.
MARK = "pg_relation_filepath"


class App:
    """What an application does, the same on sync and async drivers."""

    def __init__(self, url: URL, driver: str, **options: Any) -> None:
        self.driver = driver
        self.is_async = driver in ("psycopg_async", "asyncpg")
        drivername = f"postgresql+{driver.removesuffix('_async')}"
        maker: Any = create_async_engine if self.is_async else create_engine
        self.engine: Any = maker(url.set(drivername=drivername), **options)
        self.sync: sa.Engine = self.engine.sync_engine if self.is_async else self.engine

    def run(self, *work: Callable[[sa.Connection], Any]) -> list[Any]:
        """Each piece of work on a connection of its own, one after the other."""
        if not self.is_async:
            try:
                return [self._with(one) for one in work]
            finally:
                self.engine.dispose()

        async def main(engine: AsyncEngine) -> list[Any]:
            try:
                found = []
                for one in work:
                    async with engine.connect() as connection:
                        found.append(await connection.run_sync(one))
                return found
            finally:
                await engine.dispose()

        return asyncio.run(main(self.engine))

    def _with(self, work: Callable[[sa.Connection], Any]) -> Any:
        with self.engine.connect() as connection:
            return work(connection)


def scalar(statement: str) -> Callable[[sa.Connection], Any]:
    return lambda connection: connection.execute(text(statement)).scalar()


def driver_state(connection: sa.Connection) -> tuple[bool, str]:
    """Autocommit and transaction status of the driver's connection, once it was asked and rolled back."""
    connection.execute(text("SELECT 1"))
    connection.rollback()
    dbapi: Any = connection.connection.dbapi_connection
    driver = connection.dialect.driver
    if driver == "psycopg" and connection.dialect.is_async:
        driver = "psycopg_async"
    return bool(dbapi.autocommit), str(transaction_status(driver, dbapi))


def schemas(recorder: Recorder) -> list[Any]:
    return [statement.get(semconv.DATABASE_SCHEMA) for statement in recorder.statements()]


def identified(recorder: Recorder) -> list[bool]:
    return [Rung.SYSTEM_IDENTIFIER in str(s[semconv.DATABASE_FINGERPRINTS]) for s in recorder.statements()]


@pytest.fixture(scope="module")
def cluster(postgres_server: URL) -> Iterator[Cluster]:
    """A server of this module's own that logs every statement."""
    with cluster_folder() as folder:
        cluster = new_cluster(folder, "logged")
        cluster.initdb()
        cluster.start(log_statement="all")
        try:
            yield cluster
        finally:
            cluster.stop("immediate")


@pytest.mark.parametrize("driver", DRIVERS)
def test_it_is_one_statement_outside_of_any_transaction(
    recorder: Recorder, cluster: Cluster, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recollection, "FRESH_SECONDS", 0.0)
    before = len(cluster.log.read_text())
    # Two connections: what the dialect asks of a new engine's first one is not ours.
    app = App(cluster.tcp, driver, poolclass=NullPool)
    app.run(scalar("SELECT 'one'"), scalar("SELECT 'two'"))
    log = cluster.log.read_text()[before:]
    lines = [line for line in log[log.index("'one'") :].splitlines() if "LOG:" in line]
    said = [line.partition("LOG:")[2].strip() for line in lines]
    (asked,) = [place for place, line in enumerate(said) if "current_database" in line]
    assert log.count(MARK) == 2, "once a connection"
    after_close = said[1:asked]
    assert not [line for line in after_close if "BEGIN" in line], said
    # What follows is the application's own transaction, not the end of ours.
    assert "BEGIN" in said[asked + 1], said
    assert "'two'" in said[asked + 2], said
    assert not cluster.errors


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_connection_is_as_it_was(recorder: Recorder, postgres: Postgres, driver: str) -> None:
    assert App(postgres.url(), driver).run(driver_state) == [(False, str(DriverStatus.IDLE))]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("level", ["AUTOCOMMIT", "SERIALIZABLE"])
def test_isolation_levels_stay(recorder: Recorder, postgres: Postgres, driver: str, level: str) -> None:
    app = App(postgres.url(), driver, isolation_level=level)
    shown = "read committed" if level == "AUTOCOMMIT" else "serializable"
    state, isolation, later = app.run(
        driver_state,
        scalar("SHOW transaction_isolation"),
        lambda connection: (
            connection.execution_options(isolation_level="REPEATABLE READ")
            .execute(text("SHOW transaction_isolation"))
            .scalar()
        ),
    )
    assert (state[0], isolation, later) == (level == "AUTOCOMMIT", shown, "repeatable read")
    assert identified(recorder) == [True] * 3


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("first", ["streaming", "savepoint", "driver_sql", "listener"])
def test_whatever_the_first_statement_is(
    recorder: Recorder, postgres: Postgres, driver: str, first: str
) -> None:
    """The question stands right before it: cursors, savepoints and begin listeners are not disturbed."""

    def work(connection: sa.Connection) -> Any:
        if first == "streaming":
            streaming = connection.execution_options(stream_results=True)
            return list(streaming.execute(text("SELECT generate_series(1, 3)")).scalars())
        if first == "savepoint":
            with connection.begin_nested():
                return list(connection.execute(text("SELECT generate_series(1, 3)")).scalars())
        return list(connection.exec_driver_sql("SELECT generate_series(1, 3)").scalars())

    app = App(postgres.url(), driver)
    if first == "listener":
        event.listen(app.sync, "begin", lambda connection: connection.exec_driver_sql("SELECT 1"))
    assert app.run(work) == [[1, 2, 3]]
    assert set(identified(recorder)) == {True}


def test_autocommit_of_the_driver_stays(recorder: Recorder, postgres: Postgres) -> None:
    app = App(postgres.url(), "psycopg", connect_args={"autocommit": True})
    assert app.run(driver_state) == [(True, str(DriverStatus.IDLE))]


# -- with the application's own listeners ----------------------------------------------------------------


def leaves_a_transaction_open(connection: Any, record: Any) -> None:
    """A common mistake: the setting lasts only if the first transaction is committed."""
    cursor = connection.cursor()
    cursor.execute("SET search_path = tenant")
    cursor.close()


def with_schema(postgres: Postgres) -> None:
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA tenant")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_transaction_of_a_listener_is_left_alone(
    record: Callable[..., Recorder], postgres: Postgres, driver: str
) -> None:
    with_schema(postgres)

    def search_path(connection: sa.Connection) -> Any:
        found = connection.execute(text("SHOW search_path")).scalar()
        connection.commit()
        return found

    def run() -> list[Any]:
        app = App(postgres.url(), driver, poolclass=None)
        event.listen(app.sync, "connect", leaves_a_transaction_open)
        return app.run(search_path, search_path)

    without = run()
    recorder = record(logs=False)
    assert run() == without == ["tenant", "tenant"]
    # Nothing was asked inside of that transaction; once the connection comes back from the pool it is.
    assert identified(recorder) == [False, True]
    assert schemas(recorder) == [None, "tenant"]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_listener_on_the_class_that_runs_before_or_after_ours(
    record: Callable[..., Recorder], postgres: Postgres, driver: str, order: str
) -> None:
    with_schema(postgres)

    def set_search_path(connection: Any, record: Any) -> None:
        leaves_a_transaction_open(connection, record)
        connection.commit()

    if order == "before":
        event.listen(Pool, "connect", set_search_path)
    recorder = record(logs=False)
    if order == "after":
        event.listen(Pool, "connect", set_search_path)
    try:
        found = App(postgres.url(), driver).run(scalar("SHOW search_path"))
    finally:
        event.remove(Pool, "connect", set_search_path)
    assert found == ["tenant"]
    assert schemas(recorder) == ["tenant"]


# -- pools -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", DRIVERS)
def test_pools_ask_once_a_connection_also_with_pre_ping(
    recorder: Recorder, cluster: Cluster, driver: str
) -> None:
    before = cluster.log.read_text().count(MARK)
    app = App(cluster.tcp, driver, pool_pre_ping=True)
    app.run(scalar("SELECT 1"), scalar("SELECT 2"), scalar("SELECT 3"))
    assert cluster.log.read_text().count(MARK) - before == 1
    assert identified(recorder) == [True] * 3


@pytest.mark.parametrize("driver", DRIVERS)
def test_without_a_pool_the_last_answer_is_taken_again_for_a_moment(
    recorder: Recorder, cluster: Cluster, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recollection, "FRESH_SECONDS", 3600.0)
    before = cluster.log.read_text().count(MARK)
    app = App(cluster.tcp, driver, poolclass=NullPool)
    path = iter(["public", "public", "elsewhere", "public"])

    def connects(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET search_path = {next(path)}")
        cursor.close()
        connection.commit()

    event.listen(app.sync, "connect", connects)
    app.run(scalar("SELECT 1"), scalar("SELECT 2"), scalar("SELECT 3"), scalar("SELECT 4"))
    assert schemas(recorder) == ["public", "public", None, "public"]
    assert len({str(s[semconv.DATABASE_FINGERPRINT]) for s in recorder.statements()}) == 1
    assert cluster.log.read_text().count(MARK) - before == 2, "once a search path"

    monkeypatch.setattr(recollection, "FRESH_SECONDS", 0.0)
    App(cluster.tcp, driver, poolclass=NullPool).run(scalar("SELECT 1"), scalar("SELECT 2"))
    assert cluster.log.read_text().count(MARK) - before == 4


def test_what_cannot_be_told_apart_is_always_asked(recorder: Recorder, cluster: Cluster) -> None:
    """A server that does not report its search path, as those before 18, and every other pool."""
    with psycopg.connect(cluster.dsn) as connection:
        null, queue = (create_engine(cluster.tcp, poolclass=pool).pool for pool in (NullPool, QueuePool))
        told = recollection.reported(null, connection)
        assert told is not None
        assert "off" in told, "in_hot_standby"
        assert recollection.reported(queue, connection) is None
    assert recollection.reported(null, object()) is None
    recollection.remember(null, None, DatabaseFacts("postgresql"))
    assert recollection.recall(null, None) is None


def test_connections_older_than_trueline_are_asked_when_there_is_time(
    record: Callable[..., Recorder], postgres: Postgres
) -> None:
    engine = create_engine(postgres.url(), poolclass=QueuePool)
    connection = engine.connect()
    connection.execute(text("SELECT 1"))
    recorder = record(logs=False)
    connection.execute(text("SELECT 2"))  # in the middle of a transaction: not now
    assert connection.connection.dbapi_connection is not None
    connection.commit()
    connection.close()
    with engine.connect() as connection:
        connection.execute(text("SELECT 3"))
    engine.dispose()
    assert identified(recorder) == [False, True]


def test_a_connection_made_anew_is_asked_anew(recorder: Recorder, cluster: Cluster) -> None:
    engine = create_engine(cluster.tcp)
    before = cluster.log.read_text().count(MARK)
    for _ in range(2):
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            connection.invalidate()
    engine.dispose()
    assert cluster.log.read_text().count(MARK) - before == 2


# -- servers that refuse, hang and die -------------------------------------------------------------------


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_error_of_the_server_reaches_nobody(
    record: Callable[..., Recorder], postgres: Postgres, driver: str
) -> None:
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE refused LOGIN")
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_is_in_recovery() FROM PUBLIC")
    recorder = record(logs=False)
    try:
        app = App(postgres.url().set(username="refused"), driver)
        assert app.run(driver_state, scalar("SELECT 7")) == [(False, str(DriverStatus.IDLE)), 7]
    finally:
        with psycopg.connect(postgres.dsn, autocommit=True) as connection:
            connection.execute("GRANT EXECUTE ON FUNCTION pg_is_in_recovery() TO PUBLIC")
            connection.execute("DROP ROLE refused")
    assert identified(recorder) == [False, False]
    # Once, not at every checkout of a connection that will be refused again.
    assert guard.internal_errors.pop("fingerprint.probe") == 1


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("pre_ping", [False, True])
def test_a_connection_that_dies_of_the_question_fails_as_it_would_have_and_no_other_is_asked(
    record: Callable[..., Recorder], cluster: Cluster, driver: str, pre_ping: bool
) -> None:
    def run(trigger: str) -> tuple[type, type, str, bool, Any]:
        """How the first statement fails, and what the next connection answers."""
        with proxy_to("127.0.0.1", cluster.port, trigger.encode(), "kill") as proxy:
            app = App(
                cluster.tcp.set(port=proxy.port), driver, connect_args=NO_TLS[driver], pool_pre_ping=pre_ping
            )
            failures: list[sa.exc.DBAPIError] = []

            def failing(connection: sa.Connection) -> None:
                with pytest.raises(sa.exc.DBAPIError) as caught:
                    connection.execute(text("SELECT 'application'"))
                failures.append(caught.value)

            _, answer = app.run(failing, scalar("SELECT 'next'"))
            assert proxy.triggered == 1
        (error,) = failures
        return type(error), type(error.orig), str(error.statement), error.connection_invalidated, answer

    without = run("'application'")
    assert without[3:] == (True, "next")
    recorder = record(logs=False)
    assert run(MARK) == without
    # It is on a connection that was not asked: the rung of last resort comes from the URL.
    assert identified(recorder) == [False]
    assert guard.internal_errors.pop("fingerprint.probe") == 1
    guard.internal_errors.pop("fingerprint.restore", None)


NO_TLS: dict[str, dict[str, Any]] = {
    "psycopg": {"sslmode": "disable"},
    "psycopg2": {"sslmode": "disable"},
    "psycopg_async": {"sslmode": "disable"},
    "asyncpg": {"ssl": False},
}


@pytest.mark.parametrize("driver", ["psycopg_async", "asyncpg"])
def test_a_request_that_gives_up_during_the_probe_gives_its_connection_back(
    recorder: Recorder, cluster: Cluster, driver: str
) -> None:
    """A server that hangs: the application's own time-out ends the wait, as at its first statement."""

    async def main() -> Any:
        with proxy_to("127.0.0.1", cluster.port, MARK.encode(), "hang") as proxy:
            app = App(
                cluster.tcp.set(port=proxy.port),
                driver,
                pool_size=1,
                max_overflow=0,
                pool_timeout=30,
                connect_args=NO_TLS[driver],
            )
            engine = app.engine

            async def request() -> None:
                async with engine.connect() as connection:
                    await connection.execute(text("SELECT 1"))

            waiting = asyncio.create_task(request())
            assert await asyncio.to_thread(proxy.seen.wait, 30)
            waiting.cancel()
            # psycopg waits for what it has asked to cancel; the server must be heard for that.
            proxy.release.set()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            async with engine.connect() as connection:  # the pool's only place is free again
                found = (await connection.execute(text("SELECT 7"))).scalar()
            await engine.dispose()
            return found

    assert asyncio.run(asyncio.wait_for(main(), 60)) == 7


def test_a_slow_server_makes_nobody_fail(recorder: Recorder, cluster: Cluster) -> None:
    import threading

    with proxy_to("127.0.0.1", cluster.port, MARK.encode(), "hang") as proxy:
        threading.Timer(0.3, proxy.release.set).start()
        app = App(cluster.tcp.set(port=proxy.port), "psycopg", connect_args=NO_TLS["psycopg"])
        assert app.run(scalar("SELECT 7")) == [7]
        assert proxy.triggered
    assert identified(recorder) == [True]


# -- SQLite ----------------------------------------------------------------------------------------------


def test_sqlite_is_asked_without_a_transaction_also_in_the_hands_of_others(
    recorder: Recorder, tmp_path: Path
) -> None:
    """A row factory and a text factory of the application do not mislead, and stay."""
    import sqlite3

    def factories(connection: Any, record: Any) -> None:
        connection.row_factory = sqlite3.Row
        connection.text_factory = bytes

    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    event.listen(engine, "connect", factories)
    with engine.connect() as connection:
        dbapi: Any = connection.connection.dbapi_connection
        assert not dbapi.in_transaction
        assert dbapi.text_factory is bytes
        assert connection.execute(text("SELECT 'a'")).scalar() == b"a"
    engine.dispose()
    (statement,) = recorder.statements()
    assert str(statement[semconv.DATABASE_FINGERPRINTS]).count(Rung.FILE) == 1


def test_aiosqlite_is_asked(recorder: Recorder, tmp_path: Path) -> None:
    async def main() -> None:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/a.db")
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        await engine.dispose()

    asyncio.run(main())
    (statement,) = recorder.statements()
    assert str(statement[semconv.DATABASE_FINGERPRINTS]).count(Rung.FILE) == 1


def test_a_forked_child_asks_nothing_of_its_parents_connection(
    record: Callable[..., Recorder], tmp_path: Path
) -> None:
    """What the parent was told holds for the child too, so its statements still say which database."""
    import os

    from sqlalchemy.pool import StaticPool

    recorder = record(logs=False)
    engine = create_engine(f"sqlite:///{tmp_path}/a.db", poolclass=StaticPool)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    (parent,) = recorder.statements()
    recorder.clear()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        from trueline.instrumentation import listeners

        answer = b"failed"
        try:
            listeners.__dict__["probe"] = None  # asking now would raise
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            (statement,) = recorder.statements()
            answer = str(statement[semconv.DATABASE_FINGERPRINT]).encode()
        finally:
            os.write(writing, answer)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    assert answer.decode() == parent[semconv.DATABASE_FINGERPRINT]


def test_switching_off_and_on_asks_again(record: Callable[..., Recorder], postgres: Postgres) -> None:
    record(logs=False)
    engine = create_engine(postgres.url())
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    uninstrument()
    recorder = Recorder()
    instrument(
        tracer_provider=recorder.provider,
        logger_provider=recorder.loggers,
        logs=False,
        database_name="renamed",
    )
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()
    (statement,) = recorder.statements()
    assert str(statement[semconv.DATABASE_FINGERPRINTS]).count(Rung.CONFIGURED) == 1
