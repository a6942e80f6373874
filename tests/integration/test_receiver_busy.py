"""The receiver when the store cannot take rows: a later try is asked for, and nothing is acknowledged."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from support.otlp import PROTOBUF, trace_request

from trueline.monitor.errors import DataRefusedError, QueryError, StoreUnavailableError
from trueline.monitor.otlp.receive import Receiver
from trueline.monitor.store.client import Store
from trueline.monitor.store.writer import Writer

PATIENCE = 30


def fresh_body() -> bytes:
    body: bytes = trace_request(bytes(range(16))).SerializeToString()
    return body


class Switch:
    """The real store, which can be made to fail or to hang as a full disk or a dead server does."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.failure: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    def insert(self, table: str, columns: Mapping[str, Sequence[Any]], *, token: str = "") -> None:
        self.entered.set()
        assert self.open.wait(PATIENCE)
        if self.failure:
            raise self.failure
        self._store.insert(table, columns, token=token)


@pytest.fixture
def switch(store: Store) -> Switch:
    return Switch(store)


@pytest.fixture
def writer(switch: Switch) -> Iterator[Writer]:
    writer = Writer(switch, max_waiting_rows=5)
    writer.start()
    yield writer
    switch.open.set()
    assert writer.stop(PATIENCE)


@pytest.fixture
def client(writer: Writer) -> Iterator[httpx.AsyncClient]:
    receiver = Receiver(writer)
    app = Starlette(routes=[Route("/v1/traces", receiver.traces, methods=["POST"])])
    yield httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=PATIENCE)
    receiver.close()


async def post(client: httpx.AsyncClient) -> httpx.Response:
    return await client.post("/v1/traces", content=fresh_body(), headers=PROTOBUF)


@pytest.mark.parametrize(
    "failure",
    [
        StoreUnavailableError("no space left on device"),
        QueryError("the table was dropped"),
        RuntimeError("nobody thought of this"),
    ],
)
def test_a_failing_store_asks_for_another_try(
    client: httpx.AsyncClient, switch: Switch, failure: Exception
) -> None:
    switch.failure = failure
    response = asyncio.run(post(client))
    assert response.status_code == 503
    assert 1 <= int(response.headers["retry-after"]) <= 5
    assert str(failure).encode() in response.content


def test_rows_that_the_store_refuses_are_not_asked_for_again(
    client: httpx.AsyncClient, switch: Switch
) -> None:
    switch.failure = DataRefusedError("The rows cannot be stored: too odd")
    response = asyncio.run(post(client))
    assert response.status_code == 400
    assert "retry-after" not in response.headers


def test_a_full_queue_asks_for_another_try_and_what_waited_is_stored(
    client: httpx.AsyncClient, switch: Switch, store: Store
) -> None:
    async def play() -> tuple[list[httpx.Response], httpx.Response]:
        switch.open.clear()
        stuck = asyncio.create_task(post(client))
        await asyncio.to_thread(switch.entered.wait, PATIENCE)
        waiting = [asyncio.create_task(post(client)) for _ in range(8)]
        refused, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert not stuck.done()
        switch.open.set()
        return [await stuck, *[await task for task in waiting]], refused.pop().result()

    responses, refusal = asyncio.run(play())
    assert refusal.status_code == 503
    assert 1 <= int(refusal.headers["retry-after"]) <= 5
    statuses = sorted(response.status_code for response in responses)
    assert statuses == [200] * 6 + [503] * 3
    assert store.query("SELECT uniqExact(SpanId) > 0 FROM otel_traces").scalar() == 1


def test_a_stopping_writer_asks_for_another_try(client: httpx.AsyncClient, writer: Writer) -> None:
    assert writer.stop(PATIENCE)
    response = asyncio.run(post(client))
    assert response.status_code == 503
    assert "stopping" in response.content.decode(errors="replace")
