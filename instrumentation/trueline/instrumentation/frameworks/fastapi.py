"""FastAPI and Starlette: whose request it is, once the router knows path, body and session.

    @app.post("/users/{user_id}/expenses", dependencies=[bound_to(lambda request:
    request.path_params["user_id"])])
    def add(...): ...

Status, client and trace are the middleware's (``asgi``), or those of OpenTelemetry's instrumentation.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import Depends
from starlette.requests import Request

from trueline.instrumentation.binding import bind_identity, bind_message
from trueline.instrumentation.guard import report


def bound_to(teller: Callable[[Request], Any], *, domain: str = "user", message: bool = False) -> Any:
    """A dependency under which the endpoint works for whom ``teller`` names; it may be a coroutine function.

    With ``message=True`` it tells the id of a delivery instead. None, or an exception in it, binds nobody.
    """

    async def dependency(request: Request) -> AsyncIterator[None]:
        value = None
        try:
            value = teller(request)
            if inspect.isawaitable(value):
                value = await value
        except Exception as error:
            report("fastapi.bound_to", error)
        if value is None:
            yield
            return
        with bind_message(value) if message else bind_identity(value, domain=domain):
            yield

    # FastAPI reads annotations as objects of this module.
    dependency.__annotations__ = {"request": Request}
    return Depends(dependency)
