"""What a user would write: each request is bound to the subject of its bearer token.

In the application itself it is a middleware after authentication; here it is added to every FastAPI
application from outside, and the tests' tokens are not verified.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from trueline.instrumentation import bind_identity


class BindTokenSubject:
    """ASGI middleware."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle a request bound to its user, if it names one."""
        user = subject(dict(scope.get("headers") or ()).get(b"authorization", b""))
        if user is None:
            await self._app(scope, receive, send)
            return
        with bind_identity(user):
            await self._app(scope, receive, send)


def subject(authorization: bytes) -> str | None:
    """The token's ``sub``; None where there is no such token."""
    parts = authorization.removeprefix(b"Bearer ").split(b".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + b"=="))
    except ValueError:
        return None
    return claims.get("sub") if isinstance(claims, dict) else None


_init = FastAPI.__init__


def _init_with_middleware(self: Any, *args: Any, **kwargs: Any) -> None:
    kwargs["middleware"] = [*(kwargs.get("middleware") or ()), Middleware(BindTokenSubject)]
    _init(self, *args, **kwargs)


FastAPI.__init__ = _init_with_middleware  # type: ignore[method-assign]
