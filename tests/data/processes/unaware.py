"""A service that knows nothing of Trueline, for every process model: Flask, FastAPI, Celery and a script.

Each request, task or run inserts one row and logs one line. The environment says where: UNAWARE_DATABASE
and, for Celery, UNAWARE_BROKER (a folder).
"""

from __future__ import annotations

import logging
import os
import signal

# What uvicorn's own processes need where zero-code does not reach them; see docs/guide/zero-code.md.
if "UNAWARE_LINE" in os.environ:
    import trueline.instrumentation.auto  # noqa: F401

from fastapi import FastAPI
from flask import Flask
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

logging.basicConfig(level=logging.INFO)
logger = logging.getLogger("unaware")
engine = create_engine(
    f"sqlite:///{os.environ['UNAWARE_DATABASE']}", poolclass=NullPool, connect_args={"timeout": 60}
)


def insert(user: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO t (user_id) VALUES (:user)"), {"user": user})
    logger.info("stored for %s", user)


wsgi = Flask(__name__)
asgi = FastAPI()


@wsgi.get("/rows/<user>")
def store(user: str) -> str:
    insert(user)
    return str(os.getpid())


@asgi.get("/rows/{user}")
def store_too(user: str) -> int:
    insert(user)
    return os.getpid()


if "UNAWARE_BROKER" in os.environ:
    from celery import Celery

    folder = os.environ["UNAWARE_BROKER"]
    celery = Celery("unaware", broker="filesystem://")
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
        insert(str(number))


if __name__ == "__main__":
    insert("script")
    ending = os.environ.get("UNAWARE_ENDING", "")
    if ending == "os._exit":
        os._exit(0)
    if ending in ("term", "kill"):
        os.kill(os.getpid(), signal.SIGTERM if ending == "term" else signal.SIGKILL)
