"""``trueline serve`` as a process: a stock SDK, clean stops, sudden ends, restarts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.monitor_process import PATIENCE, MonitorProcess, clean_environment, run_trueline
from support.otlp import PROTOBUF, trace_request

#: Requests that must have been acknowledged before the monitor is ended amid further ones.
ENOUGH = 20
STOCK_SERVICE = """
import logging, sys
from opentelemetry import trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

traces = TracerProvider()
traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(traces)
logs = LoggerProvider()
logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
set_logger_provider(logs)
logging.getLogger().addHandler(LoggingHandler(logger_provider=logs))
with trace.get_tracer("stock").start_as_current_span("GET /expenses", kind=trace.SpanKind.SERVER) as span:
    span.set_attribute("http.response.status_code", 200)
    span.set_attribute("tags", ["a", "b"])
    with trace.get_tracer("stock").start_as_current_span("SELECT expenses"):
        logging.getLogger("stock").warning("nothing found")
assert traces.force_flush() and logs.force_flush()
traces.shutdown()
logs.shutdown()
assert not any(name.split(".")[0] == "trueline" for name in sys.modules), "Trueline must not be needed"
print(format(span.get_span_context().trace_id, "032x"))
"""


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitorProcess]:
    process = MonitorProcess(tmp_path_factory.mktemp("serve") / "data")
    yield process
    assert process.end() == 0
    assert process.log.read_text() == ""


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_stock_sdk_is_accepted_and_found_by_trace_id(monitor: MonitorProcess, compression: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", STOCK_SERVICE],
        env=clean_environment(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": monitor.url,
                "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
                "OTEL_SERVICE_NAME": "expenses-web",
            }
        ),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    items = monitor.trace(done.stdout.strip())
    assert {item["service"] for item in items} == {"expenses-web"}
    assert {item["name"] for item in items} >= {"GET /expenses", "SELECT expenses"}
    assert len(items) == 3
    assert "nothing found" in str(items)


def test_it_tells_where_it_is_what_it_keeps_and_how_to_send(monitor: MonitorProcess) -> None:
    lines = [monitor.next_line() for _ in range(3)]
    assert str(monitor.data_dir) in lines[0]
    assert "rules" in lines[1]
    assert f"OTEL_EXPORTER_OTLP_ENDPOINT={monitor.url} " in lines[2]
    assert monitor.data_dir.stat().st_mode & 0o777 == 0o700


def test_health(monitor: MonitorProcess) -> None:
    assert monitor.http.get("/healthz").json()["status"] == "ok"
    ready = monitor.http.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


def test_its_folder_is_its_own(monitor: MonitorProcess) -> None:
    for command in (["serve", "--port", "0"], ["migrate"]):
        done = run_trueline(*command, "--data-dir", str(monitor.data_dir))
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert line.startswith(f"trueline: The data folder {monitor.data_dir} is in use by process ")
        assert f" {monitor.process.pid} (" in line
        assert "--data-dir" in line


@pytest.mark.nightly
def test_what_was_acknowledged_survives_a_stop_and_a_kill(tmp_path: Path) -> None:
    first = MonitorProcess(tmp_path / "data")
    acknowledged = _post_until_the_end(first, signal.SIGTERM)
    assert first.process.returncode == 0

    second = MonitorProcess(tmp_path / "data")
    assert _missing(second, acknowledged) == []
    later = _post_until_the_end(second, signal.SIGKILL)
    assert second.process.returncode == -signal.SIGKILL

    third = MonitorProcess(tmp_path / "data")
    assert _missing(third, acknowledged + later) == []
    assert third.end(signal.SIGINT) == 0
    # Whether an insert was under way at the kill is chance.
    assert [line for line in third.log.read_text().splitlines() if "broke off" not in line] == []


def _missing(monitor: MonitorProcess, trace_ids: list[str]) -> list[str]:
    """Those traces of which the monitor does not have its one span."""
    assert len(trace_ids) >= ENOUGH
    return [trace_id for trace_id in trace_ids if len(monitor.trace(trace_id)) != 1]


def _post_until_the_end(monitor: MonitorProcess, number: signal.Signals) -> list[str]:
    """Post spans from two threads, end the monitor amid them, return the trace ids that got a 200."""
    acknowledged: list[str] = []
    enough = threading.Event()

    def work() -> None:
        with httpx.Client(base_url=monitor.url, timeout=PATIENCE) as http:
            while True:
                trace_id = os.urandom(16)
                body = trace_request(trace_id).SerializeToString()
                try:
                    response = http.post("/v1/traces", content=body, headers=PROTOBUF)
                except httpx.TransportError:
                    return
                if response.status_code == 200:
                    acknowledged.append(trace_id.hex())
                else:
                    assert response.status_code == 503
                if len(acknowledged) >= ENOUGH:
                    enough.set()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert enough.wait(PATIENCE)
    monitor.end(number)
    for thread in threads:
        thread.join(PATIENCE)
    return acknowledged


def test_a_signal_during_the_start_ends_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "trueline.monitor.main", "serve", "--port", "0", "--data-dir"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "data")],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lock = tmp_path / "data" / "trueline.lock"
    while not lock.exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert errors == ""
