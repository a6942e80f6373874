"""Requests: an entry with the answer's status, bound to whom the application says, whatever the framework."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import fastapi
import flask
import httpx
import pytest
import uvicorn
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode
from sqlalchemy import Engine, create_engine, insert
from starlette.requests import Request
from support.matrix import Base, Expense
from support.recorder import Recorder

from trueline.instrumentation import ai_call, guard, runtime, semconv
from trueline.instrumentation.frameworks import asgi, wsgi
from trueline.instrumentation.frameworks.entry import Entry
from trueline.instrumentation.frameworks.fastapi import bound_to
from trueline.instrumentation.frameworks.flask import init_app
from trueline.instrumentation.frameworks.request import RequestView

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


@pytest.fixture
def engine(recorder: Recorder, sqlite_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{sqlite_path}")
    Base.metadata.create_all(engine)
    recorder.clear()
    yield engine
    engine.dispose()


def store(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(Expense).values(user_id="kept elsewhere"))


def entry(recorder: Recorder) -> ReadableSpan:
    (span,) = [s for s in recorder.spans() if semconv.ENTRY_KIND in (s.attributes or {})]
    return span


def exported(value: str, domain: str = "user") -> str:
    current = runtime.current()
    assert current is not None
    return current.extractor.bind(value, domain).exported


def bound_of(recorder: Recorder) -> tuple[str, ...]:
    (write,) = recorder.statements("write")
    found: Any = write.get(semconv.IDENTITY_BOUND, ())
    return tuple(found)


# -- ASGI ------------------------------------------------------------------------------------------------


def call(app: Any, method: str, url: str, **options: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://shop"
        ) as client:
            return await client.request(method, url, **options)

    return asyncio.run(ask())


def shop(engine: Engine, **options: Any) -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    @app.post("/users/{user_id}/expenses")
    def add(user_id: str, body: dict[str, Any]) -> dict[str, Any]:
        store(engine)
        return body

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("no")

    app.add_middleware(asgi.TruelineMiddleware, **options)
    return app


TELLERS: dict[str, Callable[[RequestView], Any]] = {
    "header": lambda request: request.headers["x-user"],
    "query": lambda request: request.query["user"],
    "body": lambda request: request.json()["sender"],
}


@pytest.mark.parametrize("where", TELLERS)
def test_asgi_binds_by_what_the_request_says(engine: Engine, recorder: Recorder, where: str) -> None:
    app = shop(
        engine, identity=TELLERS[where], message=lambda request: request.headers.get("x-mid"), body=True
    )
    answer = call(
        app,
        "POST",
        "/users/9/expenses?user=12345",
        json={"sender": "12345"},
        headers={"x-user": "12345", "x-mid": "m-1", **PARENT},
    )
    assert (answer.status_code, answer.json()) == (200, {"sender": "12345"})
    assert bound_of(recorder) == (exported("12345"), exported("m-1", "message"))
    span = entry(recorder)
    attributes = span.attributes or {}
    assert span.name == "POST /users/{user_id}/expenses"
    assert span.kind is SpanKind.SERVER
    assert f"{span.context.trace_id:032x}" == TRACE
    assert attributes[semconv.HTTP_RESPONSE_STATUS_CODE] == 200
    assert attributes[semconv.HTTP_ROUTE] == "/users/{user_id}/expenses"
    assert attributes[semconv.MESSAGING_MESSAGE_ID] == exported("m-1", "message").partition(":")[2]
    (write,) = recorder.statements("write")
    assert write[semconv.ENTRY_SPAN_ID] == f"{span.context.span_id:016x}"


@pytest.mark.parametrize("teller", [lambda request: request.headers["absent"], lambda request: 1 / 0, None])
def test_asgi_a_teller_that_fails_binds_nobody(
    engine: Engine, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, teller: Any
) -> None:
    monkeypatch.setattr(guard, "raise_internal_errors", False)
    answer = call(shop(engine, identity=teller), "POST", "/users/9/expenses", json={"a": 1})
    assert (answer.status_code, answer.json()) == (200, {"a": 1})
    assert bound_of(recorder) == ()
    assert (guard.internal_errors["request.identity"] == 1) == (teller is not None)
    guard.internal_errors.clear()


def test_asgi_a_failing_request_is_told(engine: Engine, recorder: Recorder) -> None:
    assert call(shop(engine), "GET", "/broken").status_code == 500
    span = entry(recorder)
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})[semconv.ERROR_TYPE] == "RuntimeError"


def test_asgi_takes_the_span_of_another_instrumentation(engine: Engine, recorder: Recorder) -> None:
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

    app = shop(engine, identity=TELLERS["header"])
    FastAPIInstrumentor.instrument_app(app, tracer_provider=recorder.provider)
    call(app, "POST", "/users/9/expenses", json={}, headers={"x-user": "12345"})
    assert not [s for s in recorder.spans() if semconv.ENTRY_KIND in (s.attributes or {})]
    (server,) = [s for s in recorder.spans() if s.kind is SpanKind.SERVER]
    assert (server.attributes or {})[semconv.IDENTITY_BOUND] == (exported("12345"),)
    assert bound_of(recorder) == (exported("12345"),)


def test_fastapi_binds_by_the_path(engine: Engine, recorder: Recorder) -> None:
    app = fastapi.FastAPI()

    async def sender(request: Request) -> Any:
        return (await request.json())["sender"]

    @app.post(
        "/users/{user_id}",
        dependencies=[bound_to(lambda request: request.path_params["user_id"]), bound_to(sender)],
    )
    async def add(body: dict[str, Any]) -> dict[str, Any]:
        await asyncio.to_thread(store, engine)
        return body

    assert call(app, "POST", "/users/12345", json={"sender": "6"}).json() == {"sender": "6"}
    assert bound_of(recorder) == (exported("12345"), exported("6"))


class Served:
    """uvicorn in a thread."""

    def __init__(self, app: Any) -> None:
        self.server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> int:
        self.thread.start()
        deadline = time.monotonic() + 60
        while not self.server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        port: int = self.server.servers[0].sockets[0].getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()


@pytest.mark.parametrize("goes", [True, False])
def test_asgi_a_client_that_went_away(engine: Engine, recorder: Recorder, goes: bool) -> None:
    went, stored = threading.Event(), threading.Event()
    app = fastapi.FastAPI()

    @app.post("/slow")
    async def slow() -> str:
        await asyncio.to_thread(went.wait, 60)
        await asyncio.sleep(0.2)  # the server reads of it on its loop
        await asyncio.to_thread(store, engine)
        stored.set()
        return "done"

    app.add_middleware(asgi.TruelineMiddleware)
    with Served(app) as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST /slow HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\n{}")
        if goes:
            client.close()
        went.set()
        assert stored.wait(60)
        if not goes:
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
    assert (entry(recorder).attributes or {}).get(semconv.CLIENT_GONE) == (True if goes else None)


def test_asgi_a_websocket_s_handshake_announces_a_body(engine: Engine, recorder: Recorder) -> None:
    """Whatever a client sends: the application is called, and gets what the server says."""
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append((await receive())["type"])
        heard.append((await receive())["type"])

    async def main() -> None:
        messages: asyncio.Queue[Any] = asyncio.Queue()
        messages.put_nowait({"type": "websocket.connect"})
        messages.put_nowait({"type": "websocket.disconnect", "code": 1000})
        scope = {"type": "websocket", "path": "/", "headers": [(b"content-length", b"5")]}
        wrapped = asgi.TruelineMiddleware(app, identity=lambda request: "12345", body=True)

        async def send(message: Any) -> None:
            """Nobody listens."""

        await asyncio.wait_for(wrapped(scope, messages.get, send), 60)

    asyncio.run(main())
    assert heard == ["websocket.connect", "websocket.disconnect"]
    assert entry(recorder).name == "WEBSOCKET"


def test_asgi_nothing_is_taken_of_what_the_application_waits_for(recorder: Recorder) -> None:
    """A ``receive`` that takes a message and then waits would lose it if it were tried and given up."""
    steps: list[str] = []

    async def receive() -> Any:
        steps.append("taken")
        await asyncio.sleep(0)
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        """Sent."""

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(asgi.TruelineMiddleware(app)(scope, receive, send))
    assert steps == []
    assert semconv.CLIENT_GONE not in (entry(recorder).attributes or {})


def test_asgi_a_client_that_left_hypercorn(recorder: Recorder) -> None:
    """It hands messages over in a queue of asyncio's."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert (await receive())["type"] == "http.request", "nothing is taken"

    async def send(message: Any) -> None:
        """Nobody listens."""

    async def main() -> None:
        messages: asyncio.Queue[Any] = asyncio.Queue()
        messages.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        messages.put_nowait({"type": "http.disconnect"})
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        await asgi.TruelineMiddleware(app)(scope, messages.get, send)

    asyncio.run(main())
    assert (entry(recorder).attributes or {})[semconv.CLIENT_GONE] is True


@pytest.mark.parametrize(
    "broken", [(asgi, "_headers"), (asgi, "_has_left"), (Entry, "begin"), (Entry, "say"), (Entry, "end")]
)
def test_asgi_a_fault_of_ours_stays_ours(
    engine: Engine, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, broken: tuple[Any, str]
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(guard, "raise_internal_errors", False)
    owner, name = broken
    before = getattr(owner, name)
    # What is behind the function's own guard fails.
    monkeypatch.setattr(owner, name, guard.guarded("test")(fails))
    answer = call(shop(engine, identity=TELLERS["header"]), "POST", "/users/9/expenses", json={"a": 1})
    assert (answer.status_code, answer.json()) == (200, {"a": 1})
    assert hasattr(before, "__wrapped__") or name == "_has_left", "it has to have a guard"
    assert guard.internal_errors["test"]
    guard.internal_errors.clear()


def test_asgi_lifespan_is_none_of_ours(engine: Engine, recorder: Recorder) -> None:
    started: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        started.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        """Never called."""

    asyncio.run(asgi.TruelineMiddleware(app)({"type": "lifespan"}, nothing, nothing))
    assert started == ["lifespan"]
    assert recorder.spans() == ()


# -- WSGI ------------------------------------------------------------------------------------------------


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def ask_wsgi(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        try:
            return httpx.request(method, f"http://127.0.0.1:{server.server_port}{path}", **options)
        finally:
            thread.join()


def test_wsgi(engine: Engine, recorder: Recorder) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        store(engine)
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("201 Created", [("Content-Type", "text/plain")])
        return [body]

    wrapped = wsgi.TruelineMiddleware(app, identity=TELLERS["body"], body=True)
    answer = ask_wsgi(wrapped, "POST", "/private/12345", content=b'{"sender": "12345"}', headers=PARENT)
    assert (answer.status_code, answer.content) == (201, b'{"sender": "12345"}')
    assert bound_of(recorder) == (exported("12345"),)
    span = entry(recorder)
    assert span.name == "POST", "a path can hold an identity"
    assert (span.attributes or {})[semconv.HTTP_RESPONSE_STATUS_CODE] == 201
    assert semconv.CLIENT_GONE not in (span.attributes or {})
    assert f"{span.context.trace_id:032x}" == TRACE


def test_wsgi_a_body_that_nobody_read_to_its_end(recorder: Recorder) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        yield b"b"

    body: Any = wsgi.TruelineMiddleware(app)({"REQUEST_METHOD": "GET"}, lambda *_: None)
    assert next(iter(body)) == b"a"
    body.close()
    assert (entry(recorder).attributes or {})[semconv.CLIENT_GONE] is True


def test_wsgi_a_body_has_a_length_where_the_application_s_has(recorder: Recorder) -> None:
    def of(body: Any, **environ: Any) -> Any:
        wrapped = wsgi.TruelineMiddleware(lambda environ, start_response: body)
        return wrapped({"REQUEST_METHOD": "GET", **environ}, lambda *_: None)

    listed, generated = of([b"a", b"b"]), of(part for part in (b"a",))
    assert len(listed) == 2
    assert not hasattr(generated, "__len__")
    for body in (listed, generated):
        assert list(body)
        body.close()
    # A function, in some servers.
    assert list(of([b"a"], **{"wsgi.file_wrapper": lambda file: file})) == [b"a"]


def test_wsgi_what_is_no_body_ends_the_entry(recorder: Recorder) -> None:
    nothing: Any = wsgi.TruelineMiddleware(lambda environ, start_response: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError):
        nothing({"REQUEST_METHOD": "GET"}, lambda *_: None)
    assert entry(recorder).status.status_code is StatusCode.ERROR
    assert not trace.get_current_span().is_recording()


def flask_app(engine: Engine) -> flask.Flask:
    app = flask.Flask("shop")

    @app.post("/users/<user_id>")
    def add(user_id: str) -> tuple[dict[str, str], int]:
        store(engine)
        return {"user": user_id}, 201

    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("no")

    init_app(app, identity=lambda request: (request.view_args or {}).get("user_id"))
    return app


def test_flask(engine: Engine, recorder: Recorder) -> None:
    client = flask_app(engine).test_client()
    assert client.post("/users/12345", buffered=True).status_code == 201
    assert bound_of(recorder) == (exported("12345"),)
    span = entry(recorder)
    assert span.name == "POST /users/<user_id>"
    assert (span.attributes or {})[semconv.HTTP_RESPONSE_STATUS_CODE] == 201
    recorder.clear()
    assert client.get("/broken", buffered=True).status_code == 500
    assert entry(recorder).status.status_code is StatusCode.ERROR


def test_flask_under_another_instrumentation_has_one_entry(engine: Engine, recorder: Recorder) -> None:
    from opentelemetry.instrumentation.flask import FlaskInstrumentor

    app = flask_app(engine)
    instrumentor: Any = FlaskInstrumentor()
    instrumentor.instrument_app(app, tracer_provider=recorder.provider)
    assert app.test_client().post("/users/12345", buffered=True).status_code == 201
    entries = [s for s in recorder.spans() if s.kind is SpanKind.SERVER]
    assert len(entries) == 1
    assert not [s for s in recorder.spans() if s.parent is None and s is not entries[0]]
    assert bound_of(recorder) == (exported("12345"),)


def test_requests_do_not_stay_bound(engine: Engine, recorder: Recorder) -> None:
    client = flask_app(engine).test_client()
    client.post("/users/12345")
    recorder.clear()
    store(engine)
    assert bound_of(recorder) == ()


def test_wsgi_servers_whose_file_wrapper_is_a_function(recorder: Recorder) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"sent"]

    app = wsgi.TruelineMiddleware(application)
    environ = {"REQUEST_METHOD": "GET", "wsgi.file_wrapper": lambda file: file}
    body: Any = app(environ, lambda *answer: None)
    assert list(body) == [b"sent"]
    body.close()
    assert (entry(recorder).attributes or {})[semconv.HTTP_RESPONSE_STATUS_CODE] == 200


def entry_of_call(recorder: Recorder) -> Any:
    (said,) = [s.attributes or {} for s in recorder.spans() if semconv.AI_ROLE in (s.attributes or {})]
    return said[semconv.ENTRY_NAME]


def test_flask_a_call_of_a_model_tells_of_the_route(recorder: Recorder) -> None:
    app = flask.Flask("shop")

    @app.post("/users/<user_id>/expenses")
    def add(user_id: str) -> str:
        with ai_call("chat"):
            return user_id

    init_app(app)
    with app.test_client().post("/users/9/expenses") as answer:
        assert answer.status_code == 200
    assert entry_of_call(recorder) == entry(recorder).name == "POST /users/<user_id>/expenses"


def test_asgi_a_call_of_a_model_tells_of_the_route(recorder: Recorder) -> None:
    app = fastapi.FastAPI()

    @app.post("/users/{user_id}/expenses")
    async def add(user_id: str, body: dict[str, Any]) -> str:
        with ai_call("chat"):
            return user_id

    app.add_middleware(asgi.TruelineMiddleware)
    assert call(app, "POST", "/users/9/expenses", json={}).status_code == 200
    assert entry_of_call(recorder) == entry(recorder).name == "POST /users/{user_id}/expenses"
