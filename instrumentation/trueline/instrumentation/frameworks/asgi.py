"""ASGI middleware: the request's entry, whom it is for, its answer, and whether the client was still there.

app.add_middleware(TruelineMiddleware, identity=lambda request: request.headers.get("x-user"))
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from trueline.instrumentation import runtime, semconv
from trueline.instrumentation.frameworks.entry import Entry
from trueline.instrumentation.frameworks.request import BODY_LIMIT, RequestView, Teller, body_length, told
from trueline.instrumentation.guard import guarded

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


#: Wrappers of other middlewares around the server's ``receive`` that are looked through.
_MAX_WRAPPERS: Final = 8


class TruelineMiddleware:
    """Wraps an ASGI application.

    Args:
        app: the application.
        identity: a function of a :class:`RequestView` that tells whose request it is.
        domain: the domain of that identity.
        message: likewise for the id of a delivery, for webhooks.
        body: read the body before, so that the functions can see it (up to 64 KiB, and only where its length
            is announced). The application gets it all the same.

    An OpenTelemetry instrumentation of the framework may stand around it: its span is then the entry.
    Otherwise one is opened, which goes on with the caller's trace.
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        *,
        identity: Teller | None = None,
        domain: str = "user",
        message: Teller | None = None,
        body: bool = False,
    ) -> None:
        self.app = app
        self._identity = identity
        self._domain = domain
        self._message = message
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, websocket or lifespan."""
        exchange = _begun(scope, receive, send)
        if exchange is None:
            await self.app(scope, receive, send)
            return
        try:
            if self._body and exchange.announces_body():
                await exchange.read_body()
            self._bind(exchange)
            await self.app(scope, exchange.receive, exchange.send)
        except BaseException as error:
            exchange.finish(error)
            raise
        exchange.finish(None)

    @guarded("asgi.bind")
    def _bind(self, exchange: _Exchange) -> None:
        if self._identity is None and self._message is None:
            return
        scope = exchange.scope
        request = RequestView(
            method=exchange.method,
            path=scope.get("path", ""),
            headers=exchange.headers,
            query_string=bytes(scope.get("query_string", b"")).decode("latin-1"),
            path_params=scope.get("path_params") or {},
            session=scope.get("session") or {},
            body=exchange.body,
        )
        exchange.entry.bind(told(self._identity, request), self._domain)
        exchange.entry.bind(told(self._message, request), "message")


@guarded("asgi.begin")
def _begun(scope: Scope, receive: Receive, send: Send) -> _Exchange | None:
    if scope["type"] not in ("http", "websocket") or runtime.current() is None:
        return None
    exchange = _Exchange(scope, receive, send)
    exchange.entry.begin(
        exchange.method,
        "request",
        carrier=exchange.headers,
        attributes={semconv.HTTP_REQUEST_METHOD: exchange.method},
    )
    return exchange


class _Exchange:
    """What goes to and fro between server and application, as it was, and looked at."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.entry = Entry()
        self.body: bytes | None = None
        self.method = str(scope.get("method", "WEBSOCKET"))
        self.headers = _headers(scope) or {}
        self._receive = receive
        self._send = send
        self._kept: deque[Message] = deque()
        self._status = 0
        self._answered = False
        self._gone = False
        self._body_seen = False
        #: Of what the server said last we could make nothing: it is not waited for more.
        self._puzzled = False

    @guarded("asgi.body", default=False)
    def announces_body(self) -> bool:
        """Whether the request has a body that is short enough to be read before."""
        # A websocket has none, whatever length its handshake announces.
        return self.scope["type"] == "http" and 0 < body_length(self.headers) <= BODY_LIMIT

    async def read_body(self) -> None:
        """Read the whole body; the application will get the same messages."""
        while not (self._body_seen or self._gone or self._puzzled):
            self._kept.append(await self._next())
        self._join()

    @guarded("asgi.body")
    def _join(self) -> None:
        self.body = b"".join([message.get("body") or b"" for message in self._kept])

    async def receive(self) -> Message:
        """For the application."""
        # Whoever asks for the body has been chosen by the router: what leaves from now on is to tell of it.
        self._route()
        return self._kept.popleft() if self._kept else await self._next()

    async def send(self, message: Message) -> None:
        """For the application."""
        self._said(message)
        await self._send(message)

    async def _next(self) -> Message:
        message = await self._receive()
        self._puzzled = not self._heard(message)
        return message

    @guarded("asgi.send")
    def _said(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._status = int(message["status"])
            self._gone = self._gone or _has_left(self._receive)
        elif kind == "http.response.body" and not message.get("more_body", False):
            self._answered = True

    @guarded("asgi.receive", default=False)
    def _heard(self, message: Message) -> bool:
        kind = message["type"]
        if kind == "http.disconnect":
            self._gone = self._gone or not self._answered
        elif kind == "http.request":
            self._body_seen = not message.get("more_body", False)
        return True

    @guarded("asgi.route")
    def _route(self) -> str | None:
        """Name the entry by its route, if that is known already."""
        route = getattr(self.scope.get("route"), "path", None)
        if not isinstance(route, str):
            return None
        self.entry.rename(f"{self.method} {route}")
        return route

    @guarded("asgi.finish")
    def finish(self, error: BaseException | None) -> None:
        """The application has done its part."""
        said: dict[str, Any] = {}
        route = self._route()
        if route is not None:
            said[semconv.HTTP_ROUTE] = route
        if self._status:
            said[semconv.HTTP_RESPONSE_STATUS_CODE] = self._status
        if self._gone:
            said[semconv.CLIENT_GONE] = True
        self.entry.say(**said)
        self.entry.end(error, failed=self._status >= 500)


def _has_left(receive: Any) -> bool:
    """Whether the server knows already that the client went away; most applications never ask.

    Looked up where uvicorn and hypercorn (on asyncio) keep it, and nowhere else: to call ``receive`` would
    take what the application waits for, or stop another middleware's in the middle.
    """
    for _ in range(_MAX_WRAPPERS):
        around = getattr(receive, "__wrapped__", None)
        if around is None:
            break
        receive = around
    server = getattr(receive, "__self__", None)
    module = type(server).__module__
    if module.startswith("uvicorn."):
        return getattr(server, "disconnected", False) is True
    if module == "asyncio.queues":
        return any(message.get("type") == "http.disconnect" for message in getattr(server, "_queue", ()))
    return False


@guarded("asgi.headers")
def _headers(scope: Scope) -> dict[str, str]:
    return {
        bytes(name).decode("latin-1").lower(): bytes(value).decode("latin-1")
        for name, value in scope.get("headers", ())
    }
