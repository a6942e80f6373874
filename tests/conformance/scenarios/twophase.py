"""Two-phase transactions: PREPARE, COMMIT PREPARED, ROLLBACK PREPARED."""

from __future__ import annotations

import pytest
from conformance.application import App
from conformance.model import COMMIT_FAILED, COMMITTED, EXCEPTION, EXPLICIT, UNKNOWN, scenario
from sqlalchemy.exc import DBAPIError


@scenario(
    "An ORM session with `twophase=True` commits.",
    a=COMMITTED,
    needs="two_phase",
    handling="two_phase_is_watched two_phase_decides_once",
)
async def two_phase_session(app: App) -> None:
    async with app.session(twophase=True) as session:
        session.add(app.row("a"))
        await session.commit()


@scenario(
    "The same, rolled back before it was prepared.",
    a=EXPLICIT,
    needs="two_phase",
    handling="two_phase_is_watched",
)
async def two_phase_session_rolled_back(app: App) -> None:
    async with app.session(twophase=True) as session:
        session.add(app.row("a"))
        await session.flush()
        await session.rollback()


@scenario(
    "`session.prepare()`, then commit.", a=COMMITTED, needs="two_phase sync", handling="two_phase_is_watched"
)
async def two_phase_prepared_session(app: App) -> None:
    async with app.session(twophase=True) as session:
        session.add(app.row("a"))
        session.prepare()  # type: ignore[attr-defined]
        await session.commit()


@scenario(
    "`begin_twophase()`, prepare, commit.",
    a=COMMITTED,
    needs="two_phase sync",
    handling="two_phase_is_watched",
)
async def two_phase_connection(app: App) -> None:
    async with app.engine.connect() as connection:
        transaction = connection.begin_twophase()  # type: ignore[attr-defined]
        await connection.execute(app.insert("a"))
        transaction.prepare()
        transaction.commit()


@scenario(
    "`begin_twophase()`, prepare, rollback.",
    a=EXPLICIT,
    needs="two_phase sync",
    handling="two_phase_is_watched",
)
async def two_phase_connection_rolled_back(app: App) -> None:
    async with app.engine.connect() as connection:
        transaction = connection.begin_twophase()  # type: ignore[attr-defined]
        await connection.execute(app.insert("a"))
        transaction.prepare()
        transaction.rollback()


@scenario(
    "`begin_twophase()`, commit without prepare.",
    a=COMMITTED,
    needs="two_phase sync",
    handling="two_phase_is_watched",
)
async def two_phase_connection_not_prepared(app: App) -> None:
    async with app.engine.connect() as connection:
        transaction = connection.begin_twophase()  # type: ignore[attr-defined]
        await connection.execute(app.insert("a"))
        transaction.commit()


@scenario(
    "An exception leaves `begin_twophase()` after prepare.",
    a=EXCEPTION,
    needs="two_phase sync",
    handling="two_phase_is_watched",
)
async def two_phase_exception(app: App) -> None:
    with pytest.raises(ValueError, match="no"):
        async with app.engine.connect() as connection:
            with connection.begin_twophase() as transaction:  # type: ignore[attr-defined]
                await connection.execute(app.insert("a"))
                transaction.prepare()
                raise ValueError("no")


@scenario(
    "PREPARE is refused: a deferred foreign key is violated.",
    a=COMMIT_FAILED,
    needs="two_phase sync",
    handling="two_phase_is_watched",
)
async def two_phase_refused(app: App) -> None:
    with pytest.raises(DBAPIError):
        async with app.engine.connect() as connection:
            transaction = connection.begin_twophase()  # type: ignore[attr-defined]
            await connection.execute(app.insert("a", parent_id=1))
            transaction.prepare()


@scenario(
    "Prepared, then the session is lost: the server keeps the transaction, in doubt, for whoever decides.",
    a=UNKNOWN,
    needs="two_phase sync",
    handling="two_phase_is_watched",
)
async def two_phase_in_doubt(app: App) -> None:
    connection = await app.engine.connect()
    session = (await connection.execute(app.session_query)).scalar_one()
    await connection.rollback()
    transaction = connection.begin_twophase()  # type: ignore[attr-defined]
    await connection.execute(app.insert("a"))
    transaction.prepare()
    app.database.end_session(session)
    with pytest.raises(DBAPIError):
        transaction.commit()
    await connection.close()
    app.database.commit_prepared()
