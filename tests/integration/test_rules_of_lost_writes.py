"""Rules over lost writes, fed by the instrumentation on a real database: an incident and twins of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue
from sqlalchemy import Engine, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from support.judged import judge, store_telemetry
from support.matrix import Base, Expense
from support.recorder import Recorder

from trueline.instrumentation import ai_call, bind_identity
from trueline.instrumentation.declarations.reading import load
from trueline.monitor.store.client import Store
from trueline.monitor.store.declarations import StoredDeclarations

LATER = timedelta(seconds=61)
TRUELINE_YAML = """
version: 1
log_events:
  - {event: event_logged, means: write_committed, identity: user_id, table: expenses}
"""


class Service:
    """An application in this process: requests of its own, an SQLite database, all of it recorded."""

    def __init__(self, recorder: Recorder, engine: Engine) -> None:
        self.recorder, self.engine = recorder, engine
        self._tracer = recorder.provider.get_tracer("web")

    @contextmanager
    def request(self, user: str, status: int = 200) -> Iterator[None]:
        """One request of a user, answered with ``status``."""
        attributes: dict[str, AttributeValue] = {
            "http.request.method": "POST",
            "http.response.status_code": status,
        }
        with (
            self._tracer.start_as_current_span("POST /webhook", kind=SpanKind.SERVER, attributes=attributes),
            bind_identity(user),
        ):
            yield

    def store(self, user: str) -> None:
        """A write as it should be."""
        with Session(self.engine) as session, session.begin():
            session.add(Expense(user_id=user, message=f"of {user}"))


@pytest.fixture
def service(record: Callable[..., Recorder], tmp_path: Path) -> Iterator[Service]:
    path = tmp_path / "trueline.yaml"
    path.write_text(TRUELINE_YAML, encoding="utf-8")
    recorder = record(config=str(path))
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/expenses.db")
    Base.metadata.create_all(engine)
    yield Service(recorder, engine)
    engine.dispose()


def declare(store: Store, folder: Path) -> None:
    StoredDeclarations(store).add(load(folder / "trueline.yaml"))


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(rows) == 1, rows
    return rows[0]


def test_a_swallowed_error_is_an_answer_that_is_not_true(service: Service, store: Store) -> None:
    with service.request("101"), Session(service.engine) as session:
        try:
            with session.begin():
                session.add(Expense(user_id="101"))
                session.flush()
                raise KeyError("amount")
        except KeyError:
            pass
    store_telemetry(store, service.recorder)
    row = only(judge(store, "acknowledged_but_lost"))
    assert (row["entry_name"], row["lost_tables"], row["count"]) == ("POST /webhook", "expenses", 1)
    assert row["told_to_callers"] == ["HTTP 200"]
    assert row["reasons"] == ["exception"]
    assert row["identities"] == 1


def test_an_error_that_the_caller_is_told_of_a_retry_and_a_look_up_are_well(
    service: Service, store: Store
) -> None:
    with service.request("102", status=503), Session(service.engine) as session:
        session.add(Expense(user_id="102"))
        session.flush()
        session.rollback()
    with service.request("103"):
        with pytest.raises(KeyError), Session(service.engine) as session, session.begin():
            session.add(Expense(user_id="103"))
            session.flush()
            raise KeyError("once")
        service.store("103")
    service.store("104")
    with service.request("104"), Session(service.engine) as session:
        session.add(Expense(user_id="104", message="of 104"))
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()
        assert session.scalar(sqlalchemy.select(Expense).where(Expense.message == "of 104")) is not None
    with service.request("105"), service.engine.connect() as connection, connection.begin() as dry_run:
        connection.execute(insert(Expense).values(user_id="105"))
        dry_run.rollback()
    store_telemetry(store, service.recorder)
    assert judge(store, "acknowledged_but_lost") == []


def test_what_is_flushed_and_never_committed(service: Service, store: Store) -> None:
    for user in ("201", "202"):
        with service.request(user), Session(service.engine) as session:
            session.add(Expense(user_id=user))
            session.flush()
    with service.request("203"):
        service.store("203")
    store_telemetry(store, service.recorder)
    row = only(judge(store, "uncommitted_write"))
    assert (row["lost_tables"], row["count"], row["ways"]) == ("expenses", 2, ["not_committed"])
    assert row["commits_of_path"] == 1


def test_input_that_is_refused_after_the_first_write_and_reads_are_well(
    service: Service, store: Store
) -> None:
    with service.request("204", status=422), Session(service.engine) as session:
        session.add(Expense(user_id="204"))
        session.flush()
    with service.request("205"), Session(service.engine) as session:
        session.scalars(sqlalchemy.select(Expense)).all()
    store_telemetry(store, service.recorder)
    assert judge(store, "uncommitted_write") == []


def give_up(service: Service, user: str) -> None:
    """A handler that returns early when the model fails."""
    with service.request(user):
        try:
            with ai_call("chat", model="m"):
                raise TimeoutError("no answer")
        except TimeoutError:
            return
        service.store(user)


def test_an_operation_that_returns_early_when_the_model_fails(service: Service, store: Store) -> None:
    for number in range(20):
        with service.request(f"30{number}"):
            service.store(f"30{number}")
    store_telemetry(store, service.recorder)
    assert judge(store, "expected_write_missing") == []
    for number in range(3):
        give_up(service, f"31{number}")
    store_telemetry(store, service.recorder)
    row = only(judge(store, "expected_write_missing"))
    assert (row["entry_name"], row["table"], row["count"]) == ("POST /webhook", "expenses", 3)
    assert row["causes"] == ["3 x AI error TimeoutError"]
    assert row["identities"] == 3


def test_an_operation_that_writes_in_spite_of_it_is_well(service: Service, store: Store) -> None:
    for number in range(23):
        with service.request(f"32{number}"):
            if number >= 20:
                with pytest.raises(TimeoutError), ai_call("chat", model="m"):
                    raise TimeoutError("no answer")
            service.store(f"32{number}")
    store_telemetry(store, service.recorder)
    assert judge(store, "expected_write_missing") == []


def test_a_log_line_that_came_before_the_rollback(service: Service, store: Store, tmp_path: Path) -> None:
    declare(store, tmp_path)
    with service.request("401"), pytest.raises(KeyError), Session(service.engine) as session, session.begin():
        session.add(Expense(user_id="401"))
        session.flush()
        logging.getLogger("web").warning("event_logged", extra={"user_id": "401"})
        raise KeyError("amount")
    store_telemetry(store, service.recorder)
    row = only(judge(store, "log_claims_write"))
    assert (row["event"], row["table"], row["count"]) == ("event_logged", "expenses", 1)
    assert row["proofs"] == ["rolled_back"]
    assert row["identities"] == 1


def test_a_log_line_that_came_before_the_commit_is_well(
    service: Service, store: Store, tmp_path: Path
) -> None:
    declare(store, tmp_path)
    with service.request("402"), Session(service.engine) as session, session.begin():
        session.add(Expense(user_id="402"))
        session.flush()
        logging.getLogger("web").warning("event_logged", extra={"user_id": "402"})
    store_telemetry(store, service.recorder)
    assert judge(store, "log_claims_write") == []
    assert judge(store, "log_claims_write", LATER) == []
