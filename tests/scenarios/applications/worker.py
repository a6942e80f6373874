"""A worker process: jobs come as lines of JSON over TCP into a queue, and are done one after the other."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import sys
import threading
import traceback
from typing import Any

from scenarios.applications import operations, telemetry
from scenarios.applications.work import OPERATIONS, Refused, Work

Job = tuple[dict[str, Any], socket.socket]


def _receive(connection: socket.socket, jobs: queue.Queue[Job]) -> None:
    for line in connection.makefile():
        job = json.loads(line)
        if not job["wait"]:
            connection.sendall(b'{"status": 202}\n')
        jobs.put((job, connection))


def _accept(listening: socket.socket, jobs: queue.Queue[Job]) -> None:
    while True:
        connection, _ = listening.accept()
        threading.Thread(target=_receive, args=(connection, jobs), daemon=True).start()


def perform(work: Work, job: dict[str, Any]) -> dict[str, Any]:
    """Do a job under what it brought along; its answer as a web process would give it."""
    from trueline.instrumentation import Ticket, bind_identity

    name, body = job["operation"], job["body"]
    try:
        with (
            Ticket.from_headers(job["headers"]).job(name, message=job["message"]),
            bind_identity(body.get("user")),
        ):
            return {"status": 200, "body": OPERATIONS[name](work, body)}
    except Refused as refused:
        return {"status": refused.status, "body": {"error": refused.why}}
    except Exception:
        traceback.print_exc()
        return {"status": 500, "body": {}}


def main() -> None:
    """Run it."""
    from trueline.instrumentation import carry

    telemetry.start()
    operations.load()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    work, jobs = Work(lambda: carry().headers()), queue.Queue[Job]()
    listening = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
    threading.Thread(target=_accept, args=(listening, jobs), daemon=True).start()
    while True:
        job, connection = jobs.get()
        answer = perform(work, job)
        if job["wait"]:
            connection.sendall(json.dumps(answer).encode() + b"\n")
