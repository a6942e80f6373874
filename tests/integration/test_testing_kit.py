"""The kit for tests of applications: what it sees, what it asserts, and what a failure says."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import pytest
import sqlalchemy
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from sqlalchemy import Engine, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from support.matrix import Base, Expense

from trueline.instrumentation import Domain, IdentityConfig, ai_call, bind_identity, bind_message
from trueline.instrumentation.identity import IdentityExtractor
from trueline.instrumentation.testing import Telemetry, TelemetryAssertionError, TelemetryWarning, recorded

pytestmark = pytest.mark.sqlalchemy_rest


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/application.db")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def webhook(engine: Engine, user: str, *, model_answers: bool = True) -> None:
    """A handler with the classical mistake: it asks a model before it commits."""
    with bind_identity(user, entry="webhook"), Session(engine) as session, session.begin():
        session.scalars(select(Expense).where(Expense.user_id == user)).all()
        session.add(Expense(user_id=user))
        session.flush()
        with ai_call("chat", model="small-1", provider="acme"):
            if not model_answers:
                raise TimeoutError("the model did not answer 12345")


# -- what is seen ----------------------------------------------------------------------------------------


def test_what_a_recording_holds(engine: Engine) -> None:
    with recorded() as telemetry:
        webhook(engine, "12345")
        logging.getLogger("application").warning("stored %s", "12345", extra={"user_id": "12345"})

    (transaction,) = telemetry.transactions
    (read,), (write,) = telemetry.reads, telemetry.writes
    (call,), (entry,), (log,) = telemetry.ai_calls, telemetry.entries, telemetry.logs
    assert (transaction.outcome, transaction.reason, transaction.fate) == ("committed", None, "committed")
    assert transaction.statements == [read, write]
    assert transaction.ai_calls == [call]
    assert (write.kind, write.operation, write.tables, write.rows) == ("write", "INSERT", ("expenses",), 1)
    assert write.text == "INSERT INTO expenses (user_id, message) VALUES (?, ?)"
    assert (write.outcome, write.reason, write.error, write.entry) == ("committed", None, "", "webhook")
    (identity,) = write.identities
    assert (identity.column, identity.clause, identity.encoding) == ("expenses.user_id", "set", "raw")
    assert identity.of("12345") and identity.of(12345) and identity.of(" 12345 ") and not identity.of("1234")
    assert identity.value == telemetry.identity("12345") == write.bound[0].removeprefix("user:")
    assert (call.operation, call.model, call.provider, call.failed) == ("chat", "small-1", "acme", False)
    assert call.inside == [transaction]
    assert (entry.name, entry.statements) == ("webhook", [read, write])
    assert (log.severity, log.body, log.logger) == ("WARN", "stored %s", "application")
    assert log.attributes["user_id"] == identity.value
    assert [event.event for event in telemetry.events] == [
        "trueline.database.connected",
        "trueline.ai.completed",
        "trueline.write.committed",
    ]
    assert {span.name for span in telemetry.spans} >= {"webhook", "INSERT expenses", "chat small-1"}


def test_the_timeline(engine: Engine) -> None:
    with recorded() as telemetry:
        webhook(engine, "12345")
        with pytest.raises(TimeoutError):
            webhook(engine, "777", model_answers=False)
        with engine.connect() as connection:
            connection.execute(update(Expense).values(message="m-1").where(Expense.id == 1))
            with pytest.raises(sqlalchemy.exc.IntegrityError):
                connection.execute(insert(Expense).values(user_id="12345", message="m-1"))
            with ai_call("embeddings"):
                pass
            connection.commit()

    assert telemetry.find(identity="12345")
    assert str(telemetry) == dedent(
        """\
        3 transactions, 6 statements, 3 AI calls
        in webhook:
          transaction 1: committed
            read  SELECT expenses; where expenses.user_id = 12345 (raw)
            write INSERT expenses; sets expenses.user_id = 12345 (raw); 1 row
            AI    chat small-1
        in webhook:
          transaction 2: rolled back, by an exception (TimeoutError, from an AI call)
            read  SELECT expenses; where expenses.user_id = #3c6e004d (raw)
            write INSERT expenses; sets expenses.user_id = #3c6e004d (raw); 1 row
            AI    chat small-1; FAILED: TimeoutError
        outside of any entry:
          transaction 3: committed
            write UPDATE expenses; 1 row
            write INSERT expenses; sets expenses.user_id = 12345 (raw); FAILED: 2067 (unique constraint)
            AI    embeddings"""
    )
    assert max(map(len, str(telemetry).splitlines())) <= 100


def program(engine: Engine, *, nap: float) -> Telemetry:
    with recorded() as telemetry:
        for user in ("1", "2"):
            with bind_message(f"m-{user}"):
                webhook(engine, user)
            # Time for Trueline's own thread to look at its clock and to build spans.
            time.sleep(nap)
        with pytest.raises(TimeoutError):
            webhook(engine, "3", model_answers=False)
    return telemetry


def test_two_runs_record_the_same(tmp_path: Path) -> None:
    raw, data, texts = [], [], []
    for run, nap in enumerate((0.0, 0.2)):
        (tmp_path / str(run)).mkdir()
        engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/{run}/application.db")
        Base.metadata.create_all(engine)
        telemetry = program(engine, nap=nap)
        engine.dispose()
        spans = telemetry.spans
        raw.append([(s.name, s.get_span_context(), s.parent, s.start_time, s.end_time) for s in spans])
        data.append(telemetry.as_json())
        texts.append(telemetry.timeline())

    assert len(raw[0]) > 10
    assert raw[0] == raw[1]
    assert data[0] == data[1]
    assert texts[0] == texts[1]
    assert json.loads(data[0])["transactions"][2]["error_from_ai"] is True
    assert str(tmp_path) not in data[0]


def test_a_look_takes_in_what_happened_until_then_and_clear_forgets_it(engine: Engine) -> None:
    with recorded() as telemetry:
        assert str(telemetry) == "0 transactions, 0 statements, 0 AI calls"
        with Session(engine) as session:
            session.add(Expense(user_id="1"))
            session.flush()
            assert [write.outcome for write in telemetry.writes] == ["open"]
            session.commit()
            assert [write.outcome for write in telemetry.writes] == ["committed"]
        telemetry.clear()
        assert telemetry.statements == []
        webhook(engine, "2")
        telemetry.assert_committed("expenses", times=1)


def test_a_transaction_that_began_before_clear_is_settled_all_the_same(engine: Engine) -> None:
    with recorded() as telemetry, engine.connect() as connection:
        connection.execute(insert(Expense).values(user_id="1"))
        telemetry.clear()
        connection.execute(insert(Expense).values(user_id="2"))
        assert [write.outcome for write in telemetry.writes] == ["open"]
        connection.rollback()
        assert [write.outcome for write in telemetry.writes] == ["rolled_back"]


def test_more_statements_than_are_held_back(engine: Engine) -> None:
    with recorded() as telemetry, engine.connect() as connection:
        for number in range(700):
            if number == 650:
                connection.execute(text("SAVEPOINT s"))
            connection.execute(insert(Expense).values(user_id=str(number)))
        connection.execute(text("ROLLBACK TO SAVEPOINT s"))
        connection.commit()

    telemetry.assert_committed("expenses", times=650)
    telemetry.assert_rolled_back("expenses", times=50)


def test_threads(engine: Engine) -> None:
    def work(user: int) -> None:
        for _ in range(5):
            webhook(engine, str(user))

    with recorded() as telemetry:
        threads = [threading.Thread(target=work, args=(user,)) for user in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    for user in range(4):
        telemetry.assert_committed("expenses", identity=user, times=5)
    assert [len(transaction.ai_calls) for transaction in telemetry.transactions] == [1] * 20
    ids = [span.context.span_id for span in telemetry.spans if span.context is not None]
    assert len(set(ids)) == len(ids)


def test_async_code(request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("postgres").url("asyncpg")

    async def scenario() -> Telemetry:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)

        async def handle(user: str) -> None:
            async with AsyncSession(engine) as session, session.begin():
                session.add(Expense(user_id=user))
                await session.flush()
                async with ai_call("chat"):
                    await asyncio.sleep(0)
                    if user == "2":
                        raise TimeoutError

        with recorded() as telemetry:
            await asyncio.gather(*map(handle, "123"), return_exceptions=True)
        await engine.dispose()
        return telemetry

    telemetry = asyncio.run(scenario())
    telemetry.assert_committed("expenses", times=2)
    (lost,) = telemetry.assert_rolled_back("expenses", identity="2", times=1)
    assert (lost.transaction.error_type, lost.transaction.error_from_ai) == ("TimeoutError", True)
    assert [len(transaction.ai_calls) for transaction in telemetry.transactions] == [1, 1, 1]


# -- an application --------------------------------------------------------------------------------------


def post(app: FastAPI, path: str) -> int:
    async def request() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post(path)

    return asyncio.run(request()).status_code


@pytest.fixture
def app(engine: Engine) -> Iterator[FastAPI]:
    """A small service; OpenTelemetry's FastAPI instrumentation opens its entry spans."""
    app = FastAPI()

    @app.post("/expenses/{user}")
    def add(user: str, careless: bool = False) -> dict[str, str]:
        if careless:
            webhook(engine, user)
        else:
            with Session(engine) as session, session.begin():
                session.add(Expense(user_id=user))
            with ai_call("chat", model="small-1"):
                pass
        return {"status": "stored"}

    FastAPIInstrumentor.instrument_app(app)
    yield app
    FastAPIInstrumentor.uninstrument_app(app)


def test_a_service_that_asks_the_model_after_its_commit(app: FastAPI) -> None:
    with recorded() as telemetry:
        assert post(app, "/expenses/12345") == 200

    telemetry.assert_committed("expenses", column="expenses.user_id", identity="12345", times=1)
    telemetry.assert_one_transaction()
    telemetry.assert_no_ai_call_inside_a_transaction()
    telemetry.assert_nothing_rolled_back()
    telemetry.assert_no_open_transactions()
    assert [entry.name for entry in telemetry.entries] == ["POST /expenses/{user}"]
    assert [statement.entry for statement in telemetry.writes] == ["POST /expenses/{user}"]


def test_a_service_that_asks_the_model_inside_its_transaction(app: FastAPI) -> None:
    with recorded() as telemetry:
        post(app, "/expenses/12345?careless=true")

    with pytest.raises(TelemetryAssertionError) as caught:
        telemetry.assert_no_ai_call_inside_a_transaction()
    assert str(caught.value) == dedent(
        """\
        expected no AI call inside a transaction
          - chat small-1 inside transaction 1

        Recorded: 1 transaction, 2 statements, 1 AI call
        in POST /expenses/{user}:
          transaction 1: committed
            read  SELECT expenses; where expenses.user_id = #f8846582 (raw)
            write INSERT expenses; sets expenses.user_id = #f8846582 (raw); 1 row
            AI    chat small-1"""
    )


def test_ai_calls_of_a_genai_instrumentation(engine: Engine) -> None:
    """It asks OpenTelemetry for a tracer, with no provider set anywhere, long before the recording."""
    tracer = trace.get_tracer("opentelemetry.instrumentation.genai")
    with recorded() as telemetry, engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="1"))
        with tracer.start_as_current_span("chat large", attributes={"gen_ai.system": "acme"}) as span:
            # Some instrumentations name the operation when the answer is there.
            span.set_attribute("gen_ai.operation.name", "chat")

    assert [(call.operation, call.provider) for call in telemetry.ai_calls] == [("chat", "acme")]
    with pytest.raises(TelemetryAssertionError, match="chat inside transaction 1"):
        telemetry.assert_no_ai_call_inside_a_transaction()


# -- assertions ------------------------------------------------------------------------------------------


def test_a_write_that_is_missing(engine: Engine) -> None:
    with recorded() as telemetry:
        webhook(engine, "12345")
        with pytest.raises(TimeoutError):
            webhook(engine, "777", model_answers=False)

    with pytest.raises(TelemetryAssertionError) as caught:
        telemetry.assert_committed("expenses", column="user_id", identity="777", times=1)
    assert str(caught.value).splitlines()[:4] == [
        "expected 1 committed write of expenses under user_id of identity 777, found none",
        "  - INSERT expenses in transaction 2 (sets expenses.user_id = 777 (raw)): rolled back, by an",
        "      exception (TimeoutError, from an AI call)",
        "  - INSERT expenses in transaction 1 "
        "(sets expenses.user_id = #f8846582 (raw)): has no such identity",
    ]
    telemetry.assert_committed("expenses", identity="777", times=0)
    telemetry.assert_rolled_back("expenses", operation="insert", encoding="raw", identity=777, times=1)
    with pytest.raises(TelemetryAssertionError, match="expected no committed write of expenses, found 1"):
        telemetry.assert_committed("expenses", times=0)
    with pytest.raises(TelemetryAssertionError, match="expected 2 committed writes of expenses, found 1"):
        telemetry.assert_committed("expenses", times=2)
    with pytest.raises(
        TelemetryAssertionError, match="at least one committed UPDATE statement of expenses, found none"
    ):
        telemetry.assert_committed("expenses", operation="UPDATE")
    with pytest.raises(TelemetryAssertionError, match=r"amount is not among .*: expenses\.user_id;"):
        telemetry.assert_committed("expenses", column="amount")


def test_a_write_that_was_refused(engine: Engine) -> None:
    with recorded() as telemetry, engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="1", message="m-1"))
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            connection.execute(insert(Expense).values(user_id="2", message="m-1"))

    with pytest.raises(TelemetryAssertionError, match=r"failed with 2067\s+\(unique constraint\)"):
        telemetry.assert_nothing_rolled_back()
    telemetry.assert_committed("expenses", times=1)
    assert [transaction.fate for transaction in telemetry.transactions] == ["committed"]


def test_a_look_in_between_changes_no_outcome(engine: Engine) -> None:
    with recorded() as telemetry, engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="1", message="m-1"))
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            connection.execute(insert(Expense).values(user_id="2", message="m-1"))
        # What failed has failed already; the other waits for the end of its transaction.
        assert [write.outcome for write in telemetry.writes] == ["open", "rolled_back"]

    assert [(write.outcome, write.reason) for write in telemetry.writes] == [
        ("committed", None),
        ("rolled_back", "exception"),
    ]


def test_a_commit_that_postgresql_answers_with_a_rollback(request: pytest.FixtureRequest) -> None:
    engine = sqlalchemy.create_engine(request.getfixturevalue("postgres").url())
    Base.metadata.create_all(engine)
    with recorded() as telemetry, engine.connect() as connection:
        connection.execute(insert(Expense).values(user_id="1", message="m-1"))
        with pytest.raises(sqlalchemy.exc.IntegrityError):
            connection.execute(insert(Expense).values(user_id="2", message="m-1"))
        connection.commit()

    with pytest.raises(TelemetryAssertionError, match="committed after an error, and the server rolled back"):
        telemetry.assert_committed("expenses")
    telemetry.assert_rolled_back("expenses", times=2)
    engine.dispose()


def test_a_session_left_open(engine: Engine) -> None:
    with recorded() as telemetry, Session(engine) as session:
        session.scalars(select(Expense)).all()
        with pytest.raises(TelemetryAssertionError, match="transaction 1 is open after SELECT expenses"):
            telemetry.assert_no_open_transactions()
        session.close()
        telemetry.assert_no_open_transactions()


def test_writes_in_several_transactions(engine: Engine) -> None:
    with recorded() as telemetry:
        with pytest.raises(TelemetryAssertionError, match="in one transaction, found none that wrote"):
            telemetry.assert_one_transaction()
        with engine.begin() as connection:
            connection.execute(insert(Expense).values(user_id="1"))
        with engine.connect() as connection:
            connection.execute(select(Expense))
        assert telemetry.assert_one_transaction("expenses").tables == ("expenses",)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE other (id INTEGER)"))
            connection.execute(text("INSERT INTO other VALUES (1)"))
        telemetry.assert_one_transaction("expenses")
        with pytest.raises(TelemetryAssertionError, match="found 2 that wrote"):
            telemetry.assert_one_transaction("expenses", "other")


def test_reads_that_look_where_nothing_was_written(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("web", "worker")]
    web, worker = map(sqlalchemy.create_engine, urls)
    for engine in (web, worker):
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE notes (user_id TEXT, user_id_hash TEXT)"))

    def read(engine: Engine, **where: str) -> None:
        condition = " OR ".join(f"{column} = :{column}" for column in where)
        with engine.connect() as connection:
            connection.execute(text(f"SELECT * FROM notes WHERE {condition}"), where)

    digest = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5"
    with recorded() as telemetry:
        with web.begin() as connection:
            connection.execute(text("INSERT INTO notes (user_id) VALUES (:user)"), {"user": "12345"})
        with pytest.raises(TelemetryAssertionError, match="it was not read"):
            telemetry.assert_reads_what_it_writes("notes")
        read(web, user_id="12345")
        telemetry.assert_reads_what_it_writes("notes")
        read(web, user_id="12345", user_id_hash=digest)
        telemetry.assert_reads_what_it_writes("notes")

        read(web, user_id_hash=digest)
        with pytest.raises(TelemetryAssertionError) as caught:
            telemetry.assert_reads_what_it_writes()
        assert str(caught.value).splitlines()[:3] == [
            "expected reads to look for what was written",
            "  - notes is read by notes.user_id_hash as sha256, but written under notes.user_id as raw",
            "",
        ]

        telemetry.clear()
        with web.begin() as connection:
            connection.execute(text("INSERT INTO notes (user_id) VALUES (:user)"), {"user": "12345"})
        read(worker, user_id="12345")
        with pytest.raises(TelemetryAssertionError, match="read from database 2, but written to database 1"):
            telemetry.assert_reads_what_it_writes()
        assert "SELECT notes; where notes.user_id = #f8846582 (raw); database 2" in str(telemetry)
    for engine in (web, worker):
        engine.dispose()


def test_identities_of_the_users_own() -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    identities = IdentityConfig(
        columns={"jobs.owner": "user", "jobs.drop": "drop"}, domains={"drop": Domain(plain=True)}
    )
    with recorded(identities=identities) as telemetry, engine.begin() as connection:
        connection.execute(text('CREATE TABLE jobs (owner TEXT, "drop" TEXT)'))
        job = {"owner": "a", "drop": "2026-11"}
        connection.execute(text('INSERT INTO jobs (owner, "drop") VALUES (:owner, :drop)'), job)

    telemetry.assert_committed("jobs", column="owner", identity="a")
    telemetry.assert_committed("jobs", column="drop", identity="2026-11")
    assert "sets jobs.owner = #" not in str(telemetry).replace("= a ", "")
    assert "sets jobs.drop = 2026-11 (raw)" in str(telemetry)


# -- when something goes wrong ---------------------------------------------------------------------------


def test_an_error_of_our_own_is_a_warning_and_no_failure(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise ZeroDivisionError("of our own")

    monkeypatch.setattr(IdentityExtractor, "extract", broken)
    warned = pytest.warns(TelemetryWarning, match=r"1 in \w+")
    with warned, recorded(logs=False), engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="1"))


def test_an_exception_of_the_code_under_test_passes_unchanged(engine: Engine) -> None:
    error = TimeoutError("12345")
    with pytest.raises(TimeoutError) as caught, recorded() as telemetry:
        webhook(engine, "12345")
        raise error
    assert caught.value is error
    telemetry.assert_committed("expenses", times=1)


def test_no_raw_identity_is_printed_that_the_test_did_not_name(engine: Engine) -> None:
    with recorded() as telemetry, pytest.raises(TimeoutError):
        webhook(engine, "12345", model_answers=False)

    everything = telemetry.timeline() + telemetry.as_json() + repr(telemetry.statements)
    assert "12345" not in everything
    with pytest.raises(TelemetryAssertionError) as caught:
        telemetry.assert_committed("expenses")
    assert "12345" not in str(caught.value)
