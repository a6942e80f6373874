"""An application's way in: requests over ASGI and WSGI, jobs, log lines. It tells all that it saw."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import celery
import fastapi
import flask
import rq
import structlog
from celery.app.trace import build_tracer
from fakeredis import FakeStrictRedis
from loguru import logger as loguru_logger
from sqlalchemy import Engine, insert
from starlette.requests import Request
from support.matrix import Expense

from trueline.instrumentation import Ticket, ai_call, bind_identity, bind_message, carry
from trueline.instrumentation.frameworks import asgi, wsgi
from trueline.instrumentation.frameworks.fastapi import bound_to
from trueline.instrumentation.frameworks.flask import init_app
from trueline.instrumentation.frameworks.propagator import BoundPropagator
from trueline.instrumentation.imported import when_imported

_BODY = json.dumps({"sender": "7"}).encode()
_HEADERS = {"content-length": str(len(_BODY)), "content-type": "application/json", "x-user": "7"}


#: As databases say it, where an application logs the text of an error and not the error.
_REFUSED = (
    'duplicate key value violates unique constraint "expenses_pkey"\nDETAIL:  Key (id)=(7) already exists.',
    "UNIQUE constraint failed: expenses.message",
    "(1062, \"Duplicate entry '7' for key 'expenses.PRIMARY'\")",
    "SQLSTATE: 23505",
)


class IngressError(Exception):
    """The application's own."""


def ingress(engine: Engine, seen: Any) -> None:
    """One of everything; ``seen`` is a :class:`support.guest_work.Seen`."""

    def store(user: str) -> None:
        with engine.begin() as connection:
            connection.execute(insert(Expense).values(user_id=user))

    with bind_identity("7"), bind_message("m-3"):
        _asgi(store, seen)
    _asgi(store, seen)
    _fastapi(store, seen)
    _wsgi(store, seen)
    _flask(store, seen)
    _tickets(store, seen)
    _celery(store, seen)
    _rq(store, seen)
    _models(engine, seen)
    _lines(seen)
    _imports(seen)


# -- requests --------------------------------------------------------------------------------------------


def _asgi(store: Callable[[str], None], seen: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        store("asgi")
        if scope["path"] == "/broken":
            raise IngressError("broken")
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": body[:4], "more_body": True})
        await send({"type": "http.response.body", "body": body[4:]})
        seen.append((await receive())["type"])

    wrapped = asgi.TruelineMiddleware(
        app,
        identity=lambda request: (request.headers.get("x-user"), request.query, request.json())[0],
        message=lambda request: request.headers.get("x-mid"),
        body=True,
    )
    plain = asgi.TruelineMiddleware(app)
    for middleware, path in ((wrapped, "/"), (wrapped, "/broken"), (plain, "/"), (plain, "/broken")):
        seen.append(_asked(middleware, path, seen))
    for kind in ("lifespan", "websocket"):
        asyncio.run(wrapped({"type": kind, "path": "/", "headers": []}, _never, _never))


def _asked(app: Any, path: str, seen: Any) -> list[Any]:
    """One request as a server makes it; the client goes away after it."""
    messages = [
        {"type": "http.request", "body": _BODY[:5], "more_body": True},
        {"type": "http.request", "body": _BODY[5:]},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(0)
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"user=7",
        "headers": [(name.encode(), value.encode()) for name, value in _HEADERS.items()],
    }
    try:
        asyncio.run(app(scope, receive, send))
    except IngressError as error:
        seen.error(error)
    return sent


async def _never(*_: Any) -> Any:
    raise AssertionError


def _fastapi(store: Callable[[str], None], seen: Any) -> None:
    app = fastapi.FastAPI()

    async def unknown(request: Request) -> None:
        await asyncio.sleep(0)

    @app.post("/", dependencies=[bound_to(lambda request: request.headers["x-user"])])
    def add() -> None:
        store("fastapi")

    @app.post("/nobody", dependencies=[bound_to(unknown), bound_to(lambda request: None, message=True)])
    def nobody() -> None:
        store("fastapi for nobody")

    app.add_middleware(asgi.TruelineMiddleware)
    for path in ("/", "/nobody"):
        seen.append([(one["type"], one.get("status")) for one in _asked(app, path, seen)])


def _wsgi(store: Callable[[str], None], seen: Any) -> None:
    class Sent:
        """What a server sends by itself."""

        def __iter__(self) -> Iterator[bytes]:
            return iter((b"a file",))

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        seen.append(environ["wsgi.input"].read())
        store("wsgi")
        if path == "/broken":
            raise IngressError("broken")
        start_response("200 OK", [])
        if path == "/file":
            return Sent()
        return _parts(store) if path == "/stream" else [b"once"]

    wrapped = wsgi.TruelineMiddleware(
        app,
        identity=lambda request: request.headers["x-user"],
        message=lambda request: request.json()["sender"],
        body=True,
    )
    for path in ("/", "/stream", "/stream?close", "/broken", "/file"):
        environ = _environ(path.partition("?")[0]) | {"wsgi.file_wrapper": Sent}
        try:
            body: Any = wrapped(environ, lambda *answer: seen.append(answer))
        except IngressError as error:
            seen.error(error)
            continue
        if path.endswith("close"):
            seen.append(next(iter(body)))
            body.close()
        else:
            seen.append(list(body))
            getattr(body, "close", str)()


def _parts(store: Callable[[str], None]) -> Iterator[bytes]:
    for part in (b"a", b"b"):
        store("streamed")
        yield part


def _environ(path: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "HTTP_X_USER": "7",
        "CONTENT_LENGTH": str(len(_BODY)),
        "CONTENT_TYPE": "application/json",
        "wsgi.input": io.BytesIO(_BODY),
    }


def _flask(store: Callable[[str], None], seen: Any) -> None:
    app = flask.Flask(__name__)

    @app.post("/<user>")
    def add(user: str) -> dict[str, str]:
        store(user)
        return {"user": user}

    @app.get("/broken")
    def broken() -> str:
        raise IngressError("broken")

    init_app(
        app,
        identity=lambda request: (request.view_args or {}).get("user"),
        message=lambda request: request.headers.get("x-user"),
    )
    client = app.test_client()
    for answer in (client.post("/7"), client.get("/broken"), client.get("/nowhere")):
        seen.append((answer.status, answer.get_data()))


# -- jobs ------------------------------------------------------------------------------------------------


def _tickets(store: Callable[[str], None], seen: Any) -> None:
    with bind_identity("7", entry="webhook"):
        headers = json.loads(json.dumps(carry().headers()))
        passed: dict[str, str] = {}
        propagator = BoundPropagator()
        propagator.inject(passed)
    propagator.extract(passed)
    seen.append(sorted(propagator.fields))
    with Ticket.from_headers(headers).job("store", message="m-1"):
        store("ticket")
    try:
        with Ticket.from_headers(headers).job("break"):
            raise IngressError("broken")
    except IngressError as error:
        seen.error(error)

    async def job() -> None:
        async with Ticket.from_headers(None).job("store"):
            store("async ticket")

    asyncio.run(job())


def _celery(store: Callable[[str], None], seen: Any) -> None:
    with celery.Celery("guest", broker="memory://", backend="cache+memory://", set_as_current=False) as app:

        @app.task(name="guest.add")  # type: ignore[untyped-decorator]
        def add(user: str) -> str:
            if user == "broken":
                raise IngressError(user)
            store(user)
            return user

        for user in ("celery", "broken"):
            with bind_identity("7", entry="webhook"):
                result = add.delay(user)
            with app.connection_for_read() as connection:
                queue = connection.SimpleQueue("celery")
                message = queue.get(timeout=10)
                (args, kwargs, _), info = message.payload, message.headers
                request = {**info, "delivery_info": {}, "args": args, "hostname": "here", "is_eager": False}
                request["called_directly"] = False
                build_tracer(add.name, add, app=app)(info["id"], args, kwargs, request)
                message.ack()
                queue.close()
            seen.append((result.state, str(result.result)))


def add_for_rq(user: str) -> str:
    """A job of RQ."""
    if user == "broken":
        raise IngressError(user)
    return user


def _rq(store: Callable[[str], None], seen: Any) -> None:
    queue = rq.Queue(connection=FakeStrictRedis(), is_async=False)
    for user in ("rq", "broken"):
        with bind_identity("7", entry="webhook"):
            job = queue.enqueue(add_for_rq, user)
        seen.append((job.func_name, job.get_status(), job.return_value()))


# -- models ----------------------------------------------------------------------------------------------


def _models(engine: Engine, seen: Any) -> None:
    @ai_call("chat", model="small-1")
    def ask(question: str) -> str:
        return question

    @ai_call("chat")
    def stream(words: list[str]) -> Iterator[str]:
        yield from words

    @ai_call("chat")
    async def ask_later(question: str) -> str:
        await asyncio.sleep(0)
        raise IngressError(question)

    seen.append((ask("why"), list(stream(["a", "b"]))))
    try:
        asyncio.run(ask_later("when"))
    except IngressError as error:
        seen.error(error)
    with engine.begin() as connection, ai_call("chat") as call:
        connection.execute(insert(Expense).values(user_id="asked"))
        with ai_call("chat", model="attempt"):
            call.retrying()
        call.output_tokens(3)
        call.failed("Refused")
        call.fell_back("rules")


# -- log lines and imports -------------------------------------------------------------------------------


def _lines(seen: Any) -> None:
    said: list[Any] = []
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, lambda _, name, event: str((name, event))],
        logger_factory=lambda *_: _Printer(said),
        cache_logger_on_first_use=False,
    )
    try:
        structlog.get_logger().bind(amount=3).info("stored", user_id="7")
        try:
            raise IngressError("no")
        except IngressError:
            structlog.get_logger().exception("not stored")
    finally:
        structlog.reset_defaults()
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = _Kept(said)
    logger = logging.getLogger("guest.ingress")
    logger.addHandler(handler)
    number = loguru_logger.add(lambda message: said.append(_told(message.record)), level="INFO")
    try:
        structlog.get_logger("guest.ingress").warning("full", user_id="7")
        logger.warning({"event": "stored", "user_id": "7"})
        logger.warning('{"event": "stored", "user_id": "7"}')
        for text in _REFUSED:
            logger.error("not stored: %s", text)
        logging.getLogger("py.warnings").warning("%s", "guest.py:1: UserWarning: guest")
        loguru_logger.bind(user_id="7").warning("stored {} of {}", 1, "7")
        try:
            raise IngressError("no")
        except IngressError:
            loguru_logger.exception("not stored")
    finally:
        loguru_logger.remove(number)
        logger.removeHandler(handler)
        structlog.reset_defaults()
    seen.append(said)


def _told(record: Any) -> Any:
    return record["message"], record["function"], str(record["exception"] and record["exception"].type)


class _Printer:
    def __init__(self, said: list[Any]) -> None:
        self._said = said

    def info(self, message: str) -> None:
        self._said.append(message)

    error = exception = info


class _Kept(logging.Handler):
    def __init__(self, said: list[Any]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append((record.getMessage(), record.funcName))


def _imports(seen: Any) -> None:
    """A module that somebody waits for is found and run as ever."""
    sys.modules.pop("colorsys", None)
    when_imported("colorsys", lambda module: None)
    module = importlib.import_module("colorsys")
    seen.append((module.__name__, type(module.__loader__).__name__, module.hsv_to_rgb(0, 0, 1)))
