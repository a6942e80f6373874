"""Which constraint refused a row: the same on every driver, however the row got there, without its values."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from support.postgres import Postgres
from support.recorder import Recorder

from trueline.instrumentation import semconv
from trueline.instrumentation.semconv import Outcome, Reason

pytestmark = pytest.mark.sqlalchemy_matrix

DRIVERS = ("pysqlite", "aiosqlite", "psycopg", "psycopg2", "psycopg_async", "asyncpg")
CANARY = "qxzvk@jwq.example"
#: What of it must not be found anywhere.
PIECES = ("qxzvk", "jwq")


class Base(DeclarativeBase):
    pass


class Owner(Base):
    __tablename__ = "owners"
    id: Mapped[int] = mapped_column(primary_key=True)


class Row(Base):
    """Each column is there for one constraint."""

    __tablename__ = "expenses"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    note: Mapped[str] = mapped_column(sa.String(64))
    email: Mapped[str | None] = mapped_column(sa.String(64), unique=True)
    tenant: Mapped[str | None] = mapped_column(sa.String(64))
    number: Mapped[str | None] = mapped_column(sa.String(64))
    amount: Mapped[int | None] = mapped_column()
    slot: Mapped[str | None] = mapped_column(sa.String(64))
    lowered: Mapped[str | None] = mapped_column(sa.String(64))
    room: Mapped[str | None] = mapped_column(sa.String(64))
    now_id: Mapped[int | None] = mapped_column(sa.ForeignKey("owners.id", name="fk_now"))
    late_id: Mapped[int | None] = mapped_column(
        sa.ForeignKey("owners.id", name="fk_late", deferrable=True, initially="DEFERRED")
    )
    __table_args__ = (
        sa.UniqueConstraint("tenant", "number", name="one_number"),
        sa.CheckConstraint("amount > 0", name="positive"),
        sa.Index(
            "one_slot",
            "slot",
            unique=True,
            postgresql_where=sa.text("slot <> ''"),
            sqlite_where=sa.text("slot <> ''"),
        ),
        sa.Index("one_lowered", sa.text("lower(lowered)"), unique=True),
        ExcludeConstraint((sa.column("room"), "="), name="one_room", using="hash").ddl_if("postgresql"),
    )


TABLE = Base.metadata.tables["expenses"]
GOOD = {
    "id": 1,
    "email": CANARY,
    "tenant": CANARY,
    "number": CANARY,
    "slot": CANARY,
    "lowered": CANARY,
    "amount": 1,
    "note": CANARY,
}
#: The bad row; then name, kind and columns on PostgreSQL; then name, table and columns on SQLite.
CASES: dict[
    str, tuple[dict[str, Any], tuple[str, str, tuple[str, ...]], tuple[str, str, tuple[str, ...]]]
] = {
    "unique": (
        {"email": CANARY},
        ("expenses_email_key", "unique", ("email",)),
        ("", "expenses", ("email",)),
    ),
    "several columns": (
        {"tenant": CANARY, "number": CANARY},
        ("one_number", "unique", ("tenant", "number")),
        ("", "expenses", ("tenant", "number")),
    ),
    "partial index": ({"slot": CANARY}, ("one_slot", "unique", ("slot",)), ("", "expenses", ("slot",))),
    "expression index": (
        {"lowered": CANARY.upper()},
        ("one_lowered", "unique", ()),
        ("one_lowered", "", ()),
    ),
    "primary key": ({"id": 1}, ("expenses_pkey", "unique", ("id",)), ("", "expenses", ("id",))),
    "foreign key": ({"now_id": 7731}, ("fk_now", "foreign_key", ("now_id",)), ("", "", ())),
    "not null": ({"note": None}, ("", "not_null", ("note",)), ("", "expenses", ("note",))),
    "check": ({"amount": -7731}, ("positive", "check", ()), ("positive", "", ())),
}
WAYS = ("core", "orm", "executemany", "insertmanyvalues")


def insert(connection: sa.Connection, way: str, rows: list[dict[str, Any]]) -> None:
    table = TABLE
    if way == "core":
        for row in rows:
            connection.execute(sa.insert(table), row)
    elif way == "orm":
        with Session(connection) as session:
            session.add_all([Row(**row) for row in rows])
            session.flush()
    elif way == "executemany":
        connection.execute(sa.insert(table), rows)
    else:
        connection.execute(sa.insert(table).returning(table.c.id, sort_by_parameter_order=True), rows)


def work(driver: str, url: sa.URL, *failing: Callable[[sa.Connection], None]) -> None:
    """Tables, the good row, and then what fails, each in a transaction of its own."""

    def begin(dbapi: Any, record: Any) -> None:
        cursor = dbapi.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    def prepare(connection: sa.Connection) -> None:
        Base.metadata.create_all(connection)
        connection.execute(sa.insert(TABLE), GOOD)

    if driver in ("aiosqlite", "psycopg_async", "asyncpg"):

        async def main() -> None:
            engine = create_async_engine(url)
            if driver == "aiosqlite":
                sa.event.listen(engine.sync_engine, "connect", begin)
            async with engine.begin() as connection:
                await connection.run_sync(prepare)
            for one in failing:
                with pytest.raises(sa.exc.IntegrityError):
                    async with engine.begin() as connection:
                        await connection.run_sync(one)
            await engine.dispose()

        asyncio.run(main())
        return
    engine = sa.create_engine(url)
    if driver == "pysqlite":
        sa.event.listen(engine, "connect", begin)
    with engine.begin() as connection:
        prepare(connection)
    for one in failing:
        with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
            one(connection)
    engine.dispose()


def url_of(driver: str, request: pytest.FixtureRequest, tmp_path: Path) -> sa.URL:
    if driver in ("pysqlite", "aiosqlite"):
        return sa.make_url(f"sqlite+{driver}:///{tmp_path}/a.db")
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.url(driver.removesuffix("_async"))


def without_values(recorder: Recorder) -> None:
    sent = "".join(span.to_json() for span in recorder.spans())
    sent += "".join(log.to_json() for log in recorder.log_exporter.get_finished_logs())
    assert "expenses" in sent
    for piece in PIECES:
        assert piece not in sent.lower()
    assert "7731" not in "".join(_texts(recorder))


def _texts(recorder: Recorder) -> list[str]:
    """Descriptions, events and attributes, without ids, whose digits are any."""
    found = []
    for span in recorder.spans():
        found.append(span.status.description or "")
        found += [str(event.attributes) for event in span.events]
        found += [
            str(value)
            for name, value in (span.attributes or {}).items()
            if not name.endswith((".id", "_id", ".fingerprint", ".fingerprints", ".row", ".values"))
        ]
    return found


def constraint(found: Mapping[str, Any]) -> tuple[str, str, str, tuple[str, ...]]:
    return (
        found.get(semconv.CONSTRAINT_NAME, ""),
        found.get(semconv.CONSTRAINT_KIND, ""),
        found.get(semconv.CONSTRAINT_TABLE, ""),
        tuple(found.get(semconv.CONSTRAINT_COLUMNS, ())),
    )


def expected(driver: str, case: str) -> tuple[str, str, str, tuple[str, ...]]:
    _, (name, kind, columns), (lite_name, lite_table, lite_columns) = CASES[case]
    if driver in ("pysqlite", "aiosqlite"):
        return lite_name, kind, lite_table, lite_columns
    return name, kind, "expenses", columns


SQLITE_CONSTRAINT = 19
SQLSTATES = {"unique": "23505", "foreign_key": "23503", "not_null": "23502", "check": "23514"}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("way", WAYS)
def test_every_constraint(
    recorder: Recorder, request: pytest.FixtureRequest, tmp_path: Path, driver: str, way: str
) -> None:
    failing = []
    for number, (bad, _, _) in enumerate(CASES.values()):
        rows = [{"id": 10 + number, "note": "fine"}, {"id": 50 + number, "note": CANARY, **bad}]
        if way in ("executemany", "insertmanyvalues"):
            columns = {name for row in rows for name in row}
            rows = [{name: row.get(name) for name in sorted(columns)} for row in rows]
        failing.append(functools.partial(insert, way=way, rows=rows))
    work(driver, url_of(driver, request, tmp_path), *failing)

    refused = [s for s in recorder.statements("write") if semconv.ERROR_TYPE in s]
    assert [constraint(one) for one in refused] == [expected(driver, case) for case in CASES]
    for one, (_, (_, kind, _), _) in zip(refused, CASES.values(), strict=True):
        code = one[semconv.DB_RESPONSE_STATUS_CODE]
        assert code == one[semconv.ERROR_TYPE]
        if driver in ("pysqlite", "aiosqlite"):
            assert int(code) & 0xFF == SQLITE_CONSTRAINT
        else:
            assert code == SQLSTATES[kind]
    without_values(recorder)


@pytest.mark.parametrize("driver", [driver for driver in DRIVERS if "sqlite" not in driver])
def test_exclusion(recorder: Recorder, request: pytest.FixtureRequest, tmp_path: Path, driver: str) -> None:
    def failing(connection: sa.Connection) -> None:
        for number in (2, 3):
            connection.execute(sa.insert(TABLE), {"id": number, "note": "-", "room": CANARY})

    work(driver, url_of(driver, request, tmp_path), failing)
    (refused,) = [s for s in recorder.statements("write") if semconv.ERROR_TYPE in s]
    assert constraint(refused) == ("one_room", "exclusion", "expenses", ("room",))
    assert refused[semconv.ERROR_TYPE] == "23P01"
    without_values(recorder)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_deferred_constraint_is_violated_by_the_commit(
    recorder: Recorder, request: pytest.FixtureRequest, tmp_path: Path, driver: str
) -> None:
    def failing(connection: sa.Connection) -> None:
        connection.execute(sa.insert(TABLE), {"id": 2, "late_id": 7731, "note": CANARY})

    work(driver, url_of(driver, request, tmp_path), failing)
    transaction = recorder.transactions()[-1]
    lite = driver in ("pysqlite", "aiosqlite")
    assert constraint(transaction) == (
        ("", "foreign_key", "", ()) if lite else ("fk_late", "foreign_key", "expenses", ("late_id",))
    )
    assert transaction[semconv.TRANSACTION_OUTCOME] == Outcome.ROLLED_BACK
    assert transaction[semconv.TRANSACTION_REASON] == Reason.COMMIT_FAILED
    assert recorder.writes()[-1] == (Outcome.ROLLED_BACK, Reason.COMMIT_FAILED)
    without_values(recorder)


@pytest.mark.parametrize("driver", ["pysqlite", "psycopg"])
def test_contribs_spans_say_the_same_and_no_more(
    record: Callable[..., Recorder], request: pytest.FixtureRequest, tmp_path: Path, driver: str
) -> None:
    """Contrib describes an error by its whole text, which on PostgreSQL quotes the row."""
    recorder = record(logs=False, spans="contrib")

    def failing(connection: sa.Connection) -> None:
        insert(connection, "core", [{"id": 2, "note": "-", "email": CANARY}])

    work(driver, url_of(driver, request, tmp_path), failing)
    (refused,) = [s for s in recorder.statements("write") if semconv.ERROR_TYPE in s]
    assert constraint(refused) == expected(driver, "unique")
    without_values(recorder)
