"""Own spans carry what contrib's carry under the stable semantic conventions: each name, each value."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.postgres import Postgres

pytestmark = pytest.mark.sqlalchemy_matrix

SCRIPT = """
import json, sys
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import sqlalchemy
source, url = sys.argv[1:]
memory, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(memory))
if source == "contrib":
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    SQLAlchemyInstrumentor().instrument(tracer_provider=provider, skip_dep_check=True)
else:
    from trueline.instrumentation import instrument
    instrument(tracer_provider=provider, logs=False)
engine = sqlalchemy.create_engine(url)
with engine.begin() as connection:
    for statement in (
        "CREATE TABLE parity (user_id TEXT)",
        "SELECT user_id FROM parity",
        "DELETE FROM parity WHERE user_id = 'literal-4711'",
        "SELECT nothing FROM nowhere",
    ):
        try:
            connection.execute(sqlalchemy.text(statement))
        except sqlalchemy.exc.DBAPIError:
            break
provider.force_flush()
print(json.dumps([
    {"kind": s.kind.name, "status": s.status.status_code.name, "attributes": dict(s.attributes)}
    for s in sorted(memory.get_finished_spans(), key=lambda s: s.start_time)
    if "db.query.text" in s.attributes
], default=list))
"""


class Forwarder:
    """A TCP port before the server's Unix socket: contrib tells an address only where the URL has one."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._path)
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/a.db"
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    base = postgres.base
    forwarder = Forwarder(f"{base.query['host']}/.s.PGSQL.{base.port or 5432}")
    yield f"postgresql+psycopg://{base.username}@127.0.0.1:{forwarder.port}/{base.database}"
    forwarder.close()


def spans(source: str, url: str) -> list[dict[str, Any]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TRUELINE_"))}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, source, url],
        capture_output=True,
        text=True,
        timeout=120,
        env={**kept, "OTEL_SEMCONV_STABILITY_OPT_IN": "database,http"},
    )
    assert result.returncode == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_own_spans_say_everything_that_contribs_say(url: str) -> None:
    theirs = spans("contrib", url)
    if url.startswith("postgresql"):
        # The first run's failed statement made PostgreSQL roll the table back; SQLite's stays.
        assert [span["status"] for span in theirs] == ["UNSET", "UNSET", "UNSET", "ERROR"]
    else:
        Path(url.removeprefix("sqlite:///")).unlink()
    ours = spans("own", url)
    assert len(ours) == len(theirs) == 4
    for own, contrib in zip(ours, theirs, strict=True):
        assert (own["kind"], own["status"]) == (contrib["kind"], contrib["status"])
        said = dict(contrib["attributes"])
        # Literals leave with contrib's text, and not with ours.
        assert "literal" not in own["attributes"]["db.query.text"]
        said["db.query.text"] = said["db.query.text"].replace("'literal-4711'", "?")
        # Contrib puts its whole span name there ("SELECT appdb"); the conventions ask for the operation.
        operation = said.pop("db.operation.name")
        assert own["attributes"]["db.operation.name"].lower() == operation.split(" ")[0].lower()
        if url.startswith("sqlite"):
            # Contrib says the path of the file, ours the name of the file: a path tells of the machine.
            assert said.pop("db.namespace").endswith(own["attributes"]["db.namespace"])
        assert {name: own["attributes"].get(name) for name in said} == said
