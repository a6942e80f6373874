"""One service for every process model: a WSGI application, an ASGI application and a Celery application.

Each request or task inserts one row. The environment says where: SERVED_ENDPOINT, SERVED_DATABASE,
SERVED_NAME and, for Celery, SERVED_BROKER (a folder).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from trueline.instrumentation import bind_message, instrument

instrument(os.environ["SERVED_NAME"], endpoint=os.environ["SERVED_ENDPOINT"])
engine = create_engine(
    f"sqlite:///{os.environ['SERVED_DATABASE']}", poolclass=NullPool, connect_args={"timeout": 60}
)


def insert(user: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO t (user_id) VALUES (:user)"), {"user": user})


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    insert(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


async def asgi(scope: dict[str, Any], receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    if scope["type"] != "http":
        return
    insert(scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


if "SERVED_BROKER" in os.environ:
    from celery import Celery

    folder = os.environ["SERVED_BROKER"]
    celery = Celery("served", broker="filesystem://")
    celery.conf.update(
        broker_transport_options={
            "data_folder_in": folder,
            "data_folder_out": folder,
            "control_folder": f"{folder}-control",
        },
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
    )

    @celery.task  # type: ignore[untyped-decorator]
    def write(number: int) -> None:
        with bind_message(f"m-{number}", entry="write"):
            insert(str(number))
