"""WSGI middleware: the request's entry, whom it is for, its answer, and whether the client was still there.

app.wsgi_app = TruelineMiddleware(app.wsgi_app, identity=lambda request: request.headers.get("x-user"))
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from trueline.instrumentation import runtime, semconv
from trueline.instrumentation.frameworks.entry import Entry
from trueline.instrumentation.frameworks.request import BODY_LIMIT, RequestView, Teller, body_length, told
from trueline.instrumentation.guard import guarded

#: Where a request's environment has its entry.
ENTRY: Final = "trueline.entry"


class TruelineMiddleware:
    """Wraps a WSGI application; arguments as those of the ASGI middleware.

    The entry ends with the body: what runs while it is sent belongs to the request.
    """

    def __init__(
        self,
        app: Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]],
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

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request."""
        if runtime.active is None:
            return self.app(environ, start_response)
        exchange = _begun(environ)
        if exchange is None:
            return self.app(environ, start_response)
        self._bind(exchange)

        def started(status: str, *rest: Any) -> Any:
            exchange.answered(status)
            return start_response(status, *rest)

        try:
            body = self.app(environ, started)
            if _is_sent_by_server(body, environ):
                exchange.finish(None)
                return body
            watched = (_SizedBody if hasattr(body, "__len__") else _Body)(body, exchange)
        except BaseException as error:
            exchange.finish(error)
            raise
        exchange.entry.pause()
        return watched

    @guarded("wsgi.bind")
    def _bind(self, exchange: Exchange) -> None:
        if self._identity is None and self._message is None:
            return
        request = exchange.view(body=self._body)
        exchange.entry.bind(told(self._identity, request), self._domain)
        exchange.entry.bind(told(self._message, request), "message")


@guarded("wsgi.begin")
def _begun(environ: dict[str, Any]) -> Exchange | None:
    exchange = Exchange(environ)
    exchange.begin()
    return exchange


@guarded("wsgi.file", default=False)
def _is_sent_by_server(body: Any, environ: dict[str, Any]) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    # Some servers have a function there: what it makes cannot be told from others.
    return isinstance(wrapper, type) and isinstance(body, wrapper)


class Exchange:
    """One request and its answer."""

    def __init__(self, environ: dict[str, Any]) -> None:
        self.entry = Entry()
        self._environ = environ
        self._status = 0
        self._method = str(environ.get("REQUEST_METHOD", ""))
        self._headers = {
            name[5:].replace("_", "-").lower(): str(value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        self._headers["content-length"] = str(environ.get("CONTENT_LENGTH") or "")
        self._headers["content-type"] = str(environ.get("CONTENT_TYPE") or "")

    def begin(self) -> None:
        """The request is there."""
        # For who learns the route before the answer: what leaves until then is to tell of it.
        self._environ[ENTRY] = self.entry
        self.entry.begin(
            self._method,
            "request",
            carrier=self._headers,
            attributes={semconv.HTTP_REQUEST_METHOD: self._method},
        )

    def view(self, *, body: bool) -> RequestView:
        """What the application's functions get to see; the body is put back for the application."""
        content: bytes | None = None
        length = body_length(self._headers)
        if body and 0 < length <= BODY_LIMIT:
            content = self._environ["wsgi.input"].read(length)
            self._environ["wsgi.input"] = io.BytesIO(content)
        return RequestView(
            method=self._method,
            path=str(self._environ.get("PATH_INFO", "")),
            headers=self._headers,
            query_string=str(self._environ.get("QUERY_STRING", "")),
            body=content,
        )

    @guarded("wsgi.answered")
    def answered(self, status: str) -> None:
        """The application told the status: ``"200 OK"``."""
        self._status = int(status[:3])

    @guarded("wsgi.finish")
    def finish(self, error: BaseException | None, *, gone: bool = False) -> None:
        """The answer is sent, or will never be."""
        said: dict[str, Any] = {}
        route = self._environ.get("trueline.route")
        if isinstance(route, str):
            said[semconv.HTTP_ROUTE] = route
            self.entry.rename(f"{self._method} {route}")
        if self._status:
            said[semconv.HTTP_RESPONSE_STATUS_CODE] = self._status
        if gone:
            said[semconv.CLIENT_GONE] = True
        self._environ.pop(ENTRY, None)
        self.entry.say(**said)
        self.entry.end(error, failed=self._status >= 500)


class _Body:
    """The application's body, as the server reads it."""

    def __init__(self, body: Iterable[bytes], exchange: Exchange) -> None:
        self._body = body
        self._iterator: Iterator[bytes] = iter(body)
        self._exchange: Exchange | None = exchange

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        exchange = self._exchange
        if exchange is None:
            return next(self._iterator)
        exchange.entry.resume()
        try:
            part = next(self._iterator)
        except StopIteration:
            self._finish(None, gone=False)
            raise
        except BaseException as error:
            self._finish(error, gone=False)
            raise
        exchange.entry.pause()
        return part

    def close(self) -> None:
        """The server is done; where it has not read to the end, nobody was there to send it to."""
        if self._exchange is not None:
            self._exchange.entry.resume()
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._finish(None, gone=True)

    @guarded("wsgi.finish")
    def _finish(self, error: BaseException | None, *, gone: bool) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.finish(error, gone=gone)


class _SizedBody(_Body):
    """A list, mostly: servers send a body of one piece with its length."""

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]
