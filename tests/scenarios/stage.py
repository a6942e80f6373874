"""What a play is given: databases, deployed applications, users. Its own, apart from all other scenarios'."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import sys
import time
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from scenarios.databases import Database, Postgres, SqliteFiles
from scenarios.processes import PATIENCE, Process, Starter, Trouble, free_port
from scenarios.scenario import Scenario

#: What services hash identities with, and the monitor, which is asked about raw values.
SECRET = "the scenario lab's secret"
#: The style of an application: its module, and what kind of process it is.
STYLES = {
    "flask": ("scenarios.applications.flask_web", "web"),
    "fastapi": ("scenarios.applications.fastapi_web", "web"),
    "zero_code": ("scenarios.applications.flask_web", "web"),
    "worker": ("scenarios.applications.worker", "worker"),
    "script": ("scenarios.applications.script", "script"),
    "logs_only": ("scenarios.applications.logs_only", "script"),
}


@dataclass(frozen=True, slots=True)
class House:
    """What all scenarios of a run share. ``endpoint`` says where an application sends its telemetry."""

    folder: Path
    starter: Starter
    postgres: Postgres
    sqlite: SqliteFiles
    model_url: str
    endpoint: Callable[[Scenario, float], str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an application answered."""

    status: int
    body: Any


class Application(ABC):
    """A deployed application. Called like a function it does an operation, and must answer 200."""

    def __init__(self, process: Process, port: int | None) -> None:
        self.process = process
        self.port = port

    def __call__(self, operation: str, **body: Any) -> Any:
        answer = self.ask(operation, **body)
        if answer.status != 200:
            raise self.process.trouble(f"answered {answer.status} to {operation}")
        return answer.body

    @abstractmethod
    def ask(self, operation: str, **body: Any) -> Answer:
        """Let it do an operation; whatever it answers."""

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def end(self) -> None:
        """End it in an orderly way, as a deploy does."""
        self.process.stop()

    def kill(self) -> None:
        """End it by SIGKILL, as the kernel does where memory runs out."""
        self.process.send(signal.SIGKILL)
        self.process.wait()


class Web(Application):
    """A process that is asked over HTTP."""

    def ask(self, operation: str, **body: Any) -> Answer:
        try:
            response = httpx.post(f"http://{self.address}/{operation}", json=body, timeout=PATIENCE)
        except httpx.TransportError as error:
            self.process.check()
            raise self.process.trouble(f"did not answer {operation} ({error!r})") from error
        return Answer(response.status_code, response.json() if response.status_code == 200 else response.text)


class Worker(Application):
    """A process that takes jobs from its queue."""

    def ask(self, operation: str, **body: Any) -> Answer:
        job = {
            "operation": operation,
            "body": body,
            "message": body.get("message"),
            "headers": {},
            "wait": True,
        }
        with socket.create_connection(("127.0.0.1", self.port or 0), timeout=PATIENCE) as queue:
            queue.sendall(json.dumps(job).encode() + b"\n")
            line = queue.makefile().readline()
        if not line:
            raise self.process.trouble(f"did not answer {operation}")
        said = json.loads(line)
        return Answer(said["status"], said["body"])


class Script(Application):
    """A program that is run anew for each operation; its exit status takes the place of an answer's."""

    def __init__(self, run: Callable[[str, Mapping[str, Any]], Process]) -> None:
        self._run = run

    def ask(self, operation: str, **body: Any) -> Answer:
        self.process = self._run(operation, body)
        status = self.process.wait()
        if status != 0:
            return Answer(500, f"exit status {status}")
        return Answer(200, json.loads(self.process.out.read_text().splitlines()[-1]))


class Stage:
    """One scenario's. Leaving it ends its applications."""

    def __init__(self, scenario: Scenario, house: House) -> None:
        self._scenario, self._house = scenario, house
        self._folder = house.folder / scenario.application
        self._folder.mkdir()
        self._databases: dict[str, Database] = {}
        self._processes: list[Process] = []
        self._runs = 0
        self._declared = ""
        if scenario.declares:
            self.declare(scenario.declarations)
        # Ids as a chat platform hands them out: other ones in each scenario, the same in each run.
        self._next_user = 4_000_000_000_000_000 + zlib.crc32(scenario.name.encode()) * 10_000

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.ask_to_end()
        for process in self._processes:
            process.stop()

    @property
    def application(self) -> str:
        """The service.namespace of what is deployed."""
        return self._scenario.application

    # -- databases -----------------------------------------------------------------------------------------

    def database(self, name: str = "main") -> Database:
        """The database of this name, with all tables, of the kind that the scenario runs on."""
        if name not in self._databases:
            if self._scenario.database == "sqlite":
                self._databases[name] = self._house.sqlite.create(self._folder / f"{name}.db")
            else:
                full = f"{self.application}.{name}".replace(".", "_").replace("-", "_")
                # PostgreSQL cuts names at 63 bytes.
                short = full if len(full) < 60 else f"{full[:50]}_{zlib.crc32(full.encode()):08x}"
                self._databases[name] = self._house.postgres.create(short)
        return self._databases[name]

    def replica(self, name: str = "main") -> Database:
        """A physical replica of it."""
        return self._house.postgres.replica_of(self.database(name))

    def sql(self, database: Database, *statements: str) -> str:
        """Run statements as an administrator does, out of sight of any telemetry; what psql printed."""
        if database.kind == "postgresql":
            return self._house.postgres.execute(database.name, *statements)
        with closing(sqlite3.connect(database.address)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        return ""

    def role(self, database: Database, name: str, *statements: str) -> Database:
        """The database entered by a role of its own, after statements such as ALTER ROLE {role} SET ...."""
        role = f"{name}_{zlib.crc32(database.name.encode()):08x}"
        grants = (
            f"CREATE ROLE {role} LOGIN",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}",
        )
        self.sql(database, *grants, *(one.format(role=role) for one in statements))
        return database.as_user(role)

    # -- applications --------------------------------------------------------------------------------------

    def declare(self, declarations: str) -> None:
        """Give a trueline.yaml to all that is deployed from now on."""
        path = self._folder / "trueline.yaml"
        path.write_text(declarations)
        self._declared = str(path)

    def deploy(
        self,
        style: str,
        database: Database | None = None,
        *,
        service: str = "",
        version: str = "1.0",
        environment: str = "",
        days_ago: float = 0.0,
        settings: Mapping[str, str | Database] | None = None,
        **more: str | Database,
    ) -> Application:
        """Start an application of a style and wait until it works.

        ``service`` is by default what kind of process it is (web, worker, script). ``environment`` is added
        to the scenario's own, except for ``ci`` and ``test``, which are taken as they are. With
        ``days_ago`` all that it tells happened then. ``settings``, and what else is given by name, are
        environment variables; see ``applications.work``.
        """
        module, kind = STYLES[style]
        name = service or kind
        self._runs += 1
        port = free_port() if kind in ("web", "worker") else None
        told = {**(settings or {}), **more, **({"DATABASE_URL": database} if database else {})}
        values = {
            key: value.url(style) if isinstance(value, Database) else value for key, value in told.items()
        }
        variables = {
            "PORT": str(port),
            "MODEL_URL": self._house.model_url,
            "TRUELINE_AI_HOSTS": self._house.model_url.partition("//")[2],
            "OTEL_SERVICE_NAME": name,
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._house.endpoint(self._scenario, days_ago),
            "OTEL_RESOURCE_ATTRIBUTES": ",".join(
                f"{key}={value}"
                for key, value in {
                    "service.namespace": self.application,
                    "service.version": version,
                    "deployment.environment.name": self.environment(environment),
                }.items()
            ),
            "TRUELINE_HASH_SECRET": SECRET,
            # Silence has to mean something: what a process says last has to arrive on a busy machine too.
            "TRUELINE_EXIT_WAIT": "60",
            "TRUELINE_PROCESS_KIND": kind,
            "AI_CLIENT": "openai",
            **({"TRUELINE_CONFIG": self._declared} if self._declared else {}),
            **values,
        }
        label = f"{name}-{self._runs}"
        if kind == "script":
            return Script(
                lambda operation, body: self._run(label, module, [operation, json.dumps(body)], variables)
            )
        if style == "zero_code":
            process = self._zero_code(label, module, variables)
        else:
            process = self._house.starter.fork(label, module, [], variables, self._folder)
        self._processes.append(process)
        assert port is not None
        process.wait_for_port(port)
        return (Web if kind == "web" else Worker)(process, port)

    def environment(self, name: str = "") -> str:
        """What deployment.environment.name is for an environment of the scenario."""
        if name in ("ci", "test"):
            return name
        return f"{self.application}.{name}" if name else self.application

    def _run(self, label: str, module: str, arguments: list[str], variables: Mapping[str, str]) -> Process:
        self._runs += 1
        process = self._house.starter.fork(
            f"{label}.{self._runs}", module, arguments, variables, self._folder
        )
        self._processes.append(process)
        return process

    def _zero_code(self, label: str, module: str, variables: Mapping[str, str]) -> Process:
        program = Path(sys.executable).with_name("opentelemetry-instrument")
        others = "openai,anthropic,asyncpg,psycopg,psycopg2,sqlite3,celery,fastapi,genai_openai,openai_v2"
        more = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": others,
            "OTEL_BSP_SCHEDULE_DELAY": "1000",
            **variables,
        }
        return self._house.starter.start(
            label, [str(program), sys.executable, "-m", module], more, self._folder
        )

    # -- playing -------------------------------------------------------------------------------------------

    def user(self) -> str:
        """A new user."""
        self._next_user += 7
        return str(self._next_user)

    def expect(self, holds: bool, what: str) -> None:
        """The application must really behave as the scenario says, or there is nothing to find."""
        if not holds:
            raise Trouble(f"{self._scenario.name}: the application did not behave as planned: {what}")

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def eventually(self, holds: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        """The same for what takes a moment."""
        deadline = time.monotonic() + seconds
        while not holds():
            self.expect(time.monotonic() < deadline, what)
            time.sleep(0.05)
