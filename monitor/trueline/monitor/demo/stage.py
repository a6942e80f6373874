"""The stage on which scenarios are played: databases, deployed services, the model provider, users."""

from __future__ import annotations

import itertools
import secrets
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
from sqlalchemy import create_engine

from trueline.monitor.demo.postgres import DemoPostgres
from trueline.monitor.demo.processes import Child, Children, DemoError, free_ports
from trueline.monitor.demo.service.tables import Base
from trueline.monitor.demo.sites import DEPLOYMENTS, STRICT_CONSTRAINT, STRICT_DATABASES

SERVICE_PACKAGE = "trueline.monitor.demo.service"
#: The database with empty tables that all others are made from.
TEMPLATE = "expenses_empty"
#: The name of the model provider's process.
MODEL = "model"
#: Seconds that a process may take to start on a slow machine.
START_SECONDS = 90.0
#: Seconds that the expense service waits for the model.
MODEL_TIMEOUT = 0.4
#: Seconds until a replica has what its primary committed.
REPLICA_SECONDS = 10.0


class Web:
    """The chat platform's and the users' view of a web process."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=20)

    def say(self, psid: str, text: str, message_id: str | None = None) -> int:
        """Deliver a chat message; the status of the answer."""
        message = {"message_id": message_id or f"m-{uuid.uuid4().hex}", "psid": psid, "text": text}
        return self._http.post("/webhook", json=message).status_code

    def summary(self, psid: str) -> int:
        """How many expenses the user is shown."""
        return int(self._http.post("/summary", json={"psid": psid}).raise_for_status().json()["count"])

    def set_budget(self, psid: str, limit_cents: int) -> None:
        """Set the user's monthly limit."""
        self._http.post("/budget", json={"psid": psid, "limit_cents": limit_cents}).raise_for_status()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class Worker:
    """The queue's view of a worker process."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def summary(self, psid: str) -> dict[str, Any]:
        """Let it compute a user's summary: count, total_cents, left_cents."""
        return self._child.ask({"job": "summary", "psid": psid})

    def import_receipts(self, receipts: Iterable[tuple[str, str, int]]) -> list[bool]:
        """Let it import (merchant, number, cents); which of them it stored."""
        listed = [
            {"merchant": merchant, "number": number, "amount_cents": cents}
            for merchant, number, cents in receipts
        ]
        stored: list[bool] = self._child.ask({"job": "receipts", "receipts": listed})["stored"]
        return stored

    def receipt(self, merchant: str, number: str) -> int | None:
        """Let it look a receipt up; its amount in cents."""
        amount: int | None = self._child.ask({"job": "receipt", "merchant": merchant, "number": number})[
            "amount_cents"
        ]
        return amount


class Stage:
    """Everything of the demo but the monitor. ``secret`` is what the services hash identities with."""

    def __init__(self, folder: Path, children: Children, secret: str) -> None:
        self._folder = folder
        self._children = children
        self._secret = secret
        self._postgres = DemoPostgres(folder / "postgres")
        self._running: dict[str, Child] = {}
        self._webs: dict[str, Web] = {}
        self._ports: dict[str, int] = {}
        self._model: httpx.Client | None = None
        # Page-scoped ids as a chat platform hands them out; other ones in each run.
        start = 4_000_000_000_000_000 + secrets.randbelow(10**15)
        self._users = itertools.count(start, 7)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for web in self._webs.values():
            web.close()
        if self._model is not None:
            self._model.close()
        # Services first: PostgreSQL waits for its clients, and they have telemetry to get rid of.
        self._children.stop(self._running.values())
        self._postgres.stop()

    # -- building ------------------------------------------------------------------------------------------

    def start_postgres(self, databases: set[str], *, replica: bool) -> None:
        """Start PostgreSQL with these databases, their tables in place as a migration leaves them."""
        (self._folder / "postgres").mkdir()
        self._postgres.start()
        if replica:
            # While there is little to copy; what follows reaches it as a stream.
            self._postgres.start_replica()
        self._postgres.execute("postgres", f"CREATE DATABASE {TEMPLATE}")
        engine = create_engine(self._postgres.url(TEMPLATE))
        Base.metadata.create_all(engine)
        engine.dispose()
        names = sorted(databases)
        self._postgres.execute("postgres", *(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}" for name in names))
        for name in names:
            if name in STRICT_DATABASES:
                self._postgres.execute(name, STRICT_CONSTRAINT)

    def start_model(self) -> None:
        """Start the stand-in for the model provider."""
        self._ports[MODEL] = free_ports(1)[0]
        self._python(MODEL, "model", {"PORT": str(self._ports[MODEL])})

    def deploy(self, names: Sequence[str], *, telemetry_to: str) -> None:
        """Start deployments side by side, with PostgreSQL and the model; ``ready`` waits for them."""
        for name, port in zip(names, free_ports(len(names)), strict=True):
            deployment = DEPLOYMENTS[name]
            resource = {
                "service.namespace": deployment.application,
                "service.version": deployment.version,
                "deployment.environment.name": deployment.environment,
            }
            settings = {key: self._resolve(value) for key, value in deployment.settings.items()}
            self._ports[name] = port
            self._python(
                name,
                deployment.process,
                {
                    "PORT": str(port),
                    "MODEL_URL": f"http://127.0.0.1:{self._ports[MODEL]}",
                    "MODEL_KEY": deployment.city,
                    "MODEL_TIMEOUT": str(MODEL_TIMEOUT),
                    "OTEL_EXPORTER_OTLP_ENDPOINT": telemetry_to,
                    "TRUELINE_HASH_SECRET": self._secret,
                    "TRUELINE_PROCESS_KIND": deployment.process,
                    "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{key}={value}" for key, value in resource.items()),
                    **settings,
                },
            )

    def ready(self, names: Sequence[str]) -> None:
        """Wait until the model and these deployments work."""
        self._running[MODEL].wait_for_port(self._ports[MODEL], START_SECONDS)
        self._model = httpx.Client(base_url=f"http://127.0.0.1:{self._ports[MODEL]}", timeout=20)
        for name in names:
            if DEPLOYMENTS[name].process == "web":
                self._running[name].wait_for_port(self._ports[name], START_SECONDS)
                self._webs[name] = Web(f"http://127.0.0.1:{self._ports[name]}")
            else:
                self._running[name].line(START_SECONDS)

    def _python(self, name: str, module: str, settings: dict[str, str]) -> None:
        command = [sys.executable, "-m", f"{SERVICE_PACKAGE}.{module}"]
        self._running[name] = self._children.start(name, command, settings)

    def _resolve(self, setting: str) -> str:
        def url(word: str) -> str:
            where, _, name = word.partition(":")
            if where not in ("db", "replica"):
                return word
            return self._postgres.url(name, replica=where == "replica")

        return " ".join(url(word) for word in setting.split())

    # -- playing -------------------------------------------------------------------------------------------

    def web(self, name: str) -> Web:
        """The web process of a deployment."""
        self._running[name].check()
        return self._webs[name]

    def worker(self, name: str) -> Worker:
        """The worker process of a deployment."""
        return Worker(self._running[name])

    def user(self) -> str:
        """A new user."""
        return str(next(self._users))

    def outage(self, city: str, kind: str | None) -> None:
        """How the model provider serves a city from now on: `error`, `timeout`, or None for well."""
        assert self._model is not None
        self._model.put(f"/outages/{city}", json={"kind": kind}).raise_for_status()


def expect(holds: bool, what: str) -> None:
    """The application must really behave as the scenario says, or there is nothing to find."""
    if not holds:
        raise DemoError(f"the demo's application did not behave as planned: {what}")


def eventually(holds: Callable[[], bool], what: str, seconds: float = REPLICA_SECONDS) -> None:
    """The same for what takes a moment."""
    deadline = time.monotonic() + seconds
    while not holds():
        expect(time.monotonic() < deadline, what)
        time.sleep(0.05)
