"""Who may talk to the monitor: loopback only unless a token is set, known host names only.

The Host header is checked because a page on the web can make a browser on this machine send requests to
127.0.0.1 under a name of the page's own (DNS rebinding); such a request carries that name.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from trueline.monitor.errors import ServeError
from trueline.monitor.problem import problem
from trueline.monitor.settings import Settings

#: Answered without a token: whoever runs the process must be able to ask whether it lives.
OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
#: google.rpc.Code of the HTTP statuses used here: OTLP wants it in the body.
_RPC_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12}


def require_safe_binding(settings: Settings) -> None:
    """Raise ServeError if other machines could reach the monitor and no token protects it."""
    if not is_loopback(settings.host) and settings.token is None:
        raise ServeError(
            f"Listening on {settings.host!r} would let other machines in: set TRUELINE_TOKEN, or listen on "
            "127.0.0.1 only."
        )


def is_loopback(host: str) -> bool:
    """True if only this machine can reach a server that listens on ``host``."""
    if host.lower() == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def refusal(path: str, status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer that refuses a request, in the form that the path's clients expect."""
    if path.startswith("/v1/"):
        return JSONResponse({"code": _RPC_CODES.get(status, 2), "message": message}, status, headers)
    return problem(path, status, message, headers)


class Guard:
    """ASGI middleware that checks the Host header and the bearer token of every request."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._token = settings.token.get_secret_value().encode() if settings.token else None
        names = {"localhost", settings.host.lower(), *settings.allowed_hosts}
        if settings.external_url:
            names.add((urlsplit(settings.external_url).hostname or "").lower())
        self._names = names - {""}
        listening = _address(settings.host)
        self._any_address = listening is not None and listening.is_unspecified

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            headers, path = Headers(scope=scope), scope["path"]
            hosts = headers.getlist("host")
            if len(hosts) != 1 or not self._is_known(_name(hosts[0])):
                shown = hosts[0][:100] if hosts else ""
                answer = refusal(
                    path,
                    403,
                    f"The monitor does not answer under the name {shown!r}: add it to TRUELINE_ALLOWED_HOSTS "
                    "if it is right.",
                )
                await answer(scope, receive, send)
                return
            if self._token and path not in OPEN_PATHS and not self._is_authorized(headers):
                answer = refusal(
                    path,
                    401,
                    "A token is needed: send the header 'Authorization: Bearer ...' with the monitor's "
                    "TRUELINE_TOKEN (services: OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20...).",
                    {"WWW-Authenticate": "Bearer"},
                )
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_known(self, name: str) -> bool:
        if name in self._names:
            return True
        # Rebinding needs a name: an address in the header is the address that was really called.
        address = _address(name)
        return address is not None and (address.is_loopback or self._any_address)

    def _is_authorized(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        assert self._token is not None
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)


def _name(host: str) -> str:
    """The Host header without its port, lower-cased."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
