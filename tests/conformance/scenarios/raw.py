"""Past SQLAlchemy: what is done on the driver's own connection, as far as it can be seen."""

from __future__ import annotations

from collections.abc import Callable

from conformance.application import App
from conformance.model import COMMITTED, NEVER_SENT, NOT_SEEN, UNKNOWN, scenario
from conformance.observation import Seen, expect


def unseen(**expected: int) -> Callable[[Seen], None]:
    """A check of what setup.status() says about work that was not seen."""

    def check(seen: Seen) -> None:
        found = seen.unseen
        for name, number in expected.items():
            expect(found.get(name, 0) == number, f"{name}: {found.get(name, 0)}, not {number}")

    return check


@scenario(
    "`engine.raw_connection()` writes and commits: not seen, but the checkout is counted.",
    a=NOT_SEEN,
    also=unseen(checkouts=1, transactions=0),
    handling="unseen_work_is_counted",
)
async def raw_connection(app: App) -> None:
    raw = await app.engine.raw_connection()
    await app.call(lambda: raw.cursor().execute(app.plain_insert("a")))
    await app.call(raw.commit)
    await app.call(raw.close)


@scenario(
    "`engine.raw_connection()` writes and is closed: the pool finds a transaction of which nothing was seen.",
    a=NEVER_SENT,
    also=unseen(checkouts=1, transactions=1),
    handling="unseen_work_is_counted",
)
async def raw_connection_closed(app: App) -> None:
    raw = await app.engine.raw_connection()
    await app.call(lambda: raw.cursor().execute(app.plain_insert("a")))
    await app.call(raw.close)


@scenario(
    "A write on the driver's cursor inside a transaction of SQLAlchemy's: itself not seen, the rest right.",
    a=COMMITTED,
    b=NOT_SEEN,
    handling="commit_watched",
)
async def raw_cursor_inside(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await app.on_the_driver(connection, lambda driver: driver.cursor().execute(app.plain_insert("b")))
        await connection.commit()


@scenario(
    "The driver's connection commits past SQLAlchemy, which then rolls back.",
    a=UNKNOWN,
    handling="ends_behind_the_back",
)
async def raw_commit_inside(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await app.on_the_driver(connection, lambda driver: driver.commit())
        await connection.rollback()


@scenario(
    "The driver's connection rolls back past SQLAlchemy, which then commits something else.",
    a=UNKNOWN,
    b=COMMITTED,
    handling="ends_behind_the_back",
)
async def raw_rollback_inside(app: App) -> None:
    async with app.engine.connect() as connection:
        await connection.execute(app.insert("a"))
        await app.on_the_driver(connection, lambda driver: driver.rollback())
        await connection.commit()
    async with app.engine.begin() as connection:
        await connection.execute(app.insert("b"))


@scenario(
    "Ordinary use counts nothing as unseen.",
    a=COMMITTED,
    also=unseen(checkouts=0, transactions=0),
    unproved="the opposite of the rows above",
)
async def nothing_unseen(app: App) -> None:
    engine = app.make_engine(pool_pre_ping=True)
    async with engine.begin() as connection:
        await connection.execute(app.insert("a"))
    async with app.session(engine) as session:
        await session.execute(app.any_query)
