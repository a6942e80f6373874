"""Switching on loads little. What sends is made when there is something to send.

What is wrong in its settings is said at once all the same.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.span_receiver import SpanReceiver

from trueline.instrumentation import late
from trueline.instrumentation.exporter import OtlpExporter
from trueline.instrumentation.log_exporter import OtlpLogExporter
from trueline.instrumentation.losses import Losses

#: Loaded for sending, for parsing, or for asyncio; none of them by importing and switching on.
HEAVY = (
    "requests",
    "urllib3",
    "google.protobuf",
    "sqlglot",
    "sqlalchemy.ext.asyncio",
    "wrapt",
    "sqlite3",
    "yaml",
)

_SWITCH_ON = f"""
import json, os, sys
import sqlalchemy.orm
before = set(sys.modules)
from trueline.instrumentation import instrument
instrument(service_name="start", endpoint=sys.argv[1])
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules and name not in before]), flush=True)
if len(sys.argv) > 2:
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (user_id TEXT)"))
        connection.execute(sqlalchemy.text("INSERT INTO t VALUES ('1')"))
"""


def switch_on(*arguments: str, **variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _SWITCH_ON, *arguments],
        env={**os.environ, "TRUELINE_HASH_SECRET": "start", **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    loaded: list[str] = json.loads(done.stdout.splitlines()[0])
    return loaded


def test_switching_on_loads_nothing_heavy(tmp_path: Path) -> None:
    assert switch_on("http://127.0.0.1:9") == []


def test_a_process_of_a_moment_still_sends_all() -> None:
    with SpanReceiver() as receiver:
        assert switch_on(receiver.url, "work") == []
        names = [name for name, _, _ in receiver.spans()]
    assert any(name.startswith("INSERT") for name in names), names
    assert any(name.startswith("TRANSACTION") for name in names), names


_FORKED = """
import os, sys
import sqlalchemy
from trueline.instrumentation import instrument
instrument(service_name="start", endpoint="http://127.0.0.1:9")
assert "requests" not in sys.modules
child = os.fork()
if not child:
    os._exit(0 if "requests" in sys.modules and "google.protobuf" in sys.modules else 7)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_children_share_what_their_parent_loads_before_it_forks() -> None:
    assert subprocess.run([sys.executable, "-c", _FORKED], timeout=120).returncode == 0


def test_variables_count_as_they_were_when_it_was_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20canary")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "3")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/traces")
    exporter = OtlpExporter(Losses())
    for name in ("HEADERS", "TRACES_TIMEOUT", "COMPRESSION", "TRACES_ENDPOINT"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}")
    inner = exporter._late.get()
    assert inner is not None
    assert inner._endpoint == "http://127.0.0.1:9/traces"
    assert inner._client._headers["authorization"] == "Bearer canary"
    assert inner._client._headers["Content-Encoding"] == "gzip"
    assert inner._client._timeout == 3
    exporter.shutdown()


@pytest.mark.parametrize("make", [lambda: OtlpExporter(Losses()), OtlpLogExporter])
@pytest.mark.parametrize(
    ("name", "value"), [("TIMEOUT", "soon"), ("COMPRESSION", "brotli"), ("HEADERS", "no equals sign")]
)
def test_what_is_wrong_is_said_at_once(
    make: type[OtlpLogExporter],
    name: str,
    value: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", value)
    with caplog.at_level(logging.WARNING):
        make()
    assert value in caplog.text


def test_a_credential_provider_that_is_not_there_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "nobody")
    with pytest.raises(RuntimeError, match="nobody"):
        OtlpExporter(Losses(), "http://127.0.0.1:9/v1/traces")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_waits_until_an_import_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trueline_slow_module.py").write_text("import time\ntime.sleep(0.5)\nDONE = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    begun = threading.Event()

    def load() -> bool:
        begun.set()
        import trueline_slow_module  # type: ignore[import-not-found]

        return bool(trueline_slow_module.DONE)

    slow = late.Late("test", load)
    thread = threading.Thread(target=slow.get)
    thread.start()
    assert begun.wait(30)
    time.sleep(0.05)  # into the import
    child = os.fork()
    if not child:
        # Without the wait the child hangs here, for a thread that it does not have.
        os._exit(0 if slow.get() else 1)
    deadline = time.monotonic() + 60
    status = 0
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
        time.sleep(0.02)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child waits for an import of its parent's thread")
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_does_not_wait_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "_FORK_PATIENCE", 0.1)
    holding, over = threading.Event(), threading.Event()

    def hold() -> None:
        with late.importing():
            holding.set()
            over.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert holding.wait(30)
    child = os.fork()
    if not child:
        with late.importing():  # the child's own
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    over.set()
    thread.join()
    with late.importing():  # and it is free again here
        pass
