"""From the 200 for the last span that a finding needs to the finding, on a real ``trueline serve``."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from statistics import median

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.monitor_process import MonitorProcess
from support.otlp import PROTOBUF, trace_request

#: A finding that takes longer is none.
PATIENCE = 120.0


def measure(rounds: int) -> None:
    """Print how long it takes at the monitor's default settings; each round is a table of its own."""
    with tempfile.TemporaryDirectory() as folder:
        monitor = MonitorProcess(Path(folder) / "data")
        try:
            # Rules that have not run yet are slow ones: what comes with a start is not what is measured.
            _found(monitor, "warm_up")
            times = [_found(monitor, f"table_{number}") for number in range(rounds)]
        finally:
            monitor.end(signal.SIGKILL)
    print(
        f"from the 200 to GET /api/v1/findings, env_split: median {median(times):.2f} s, worst "
        f"{max(times):.2f} s of {rounds} (goal: 5 s), load {os.getloadavg()[0]:.1f}"
    )


def _found(monitor: MonitorProcess, table: str) -> float:
    """A write ten minutes ago and a read now, in two databases; seconds until the finding."""
    now = time.time_ns()
    for kind, database, at in (("write", "main", now - 600 * 10**9), ("read", "old", now - 10**9)):
        request = _statement(kind, table, database, at)
        answer = monitor.http.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)
        answer.raise_for_status()
    began = time.monotonic()
    while not any(
        item["group"].get("table") == table
        for item in monitor.http.get("/api/v1/findings").raise_for_status().json()["items"]
    ):
        if time.monotonic() - began > PATIENCE:
            raise SystemExit(f"no finding for {table} after {PATIENCE:.0f} s")
        time.sleep(0.05)
    return time.monotonic() - began


def _statement(kind: str, table: str, database: str, at: int) -> ExportTraceServiceRequest:
    request = trace_request(os.urandom(16), service="web" if kind == "write" else "worker", name=table)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.kind = span.SPAN_KIND_CLIENT
    span.start_time_unix_nano, span.end_time_unix_nano = at, at + 1_000_000
    texts = {
        "db.system.name": "postgresql",
        "db.operation.name": "INSERT" if kind == "write" else "SELECT",
        "trueline.statement.kind": kind,
        "trueline.database.fingerprint": database,
        "trueline.database.schema": "public",
        "trueline.transaction.outcome": "committed",
        "trueline.transaction.id": os.urandom(8).hex(),
        "trueline.hash.key_id": "unkeyed",
    }
    lists = {
        "trueline.statement.tables": table,
        "trueline.database.fingerprints": f"system_identifier:{database}",
        "trueline.identity.columns": f"{table}.user_id",
        "trueline.identity.clauses": "set" if kind == "write" else "where",
        "trueline.identity.encodings": "integer",
        "trueline.identity.values": "u1",
        "trueline.identity.domains": "user",
    }
    for name, text in texts.items():
        span.attributes.add(key=name).value.string_value = text
    for name, text in lists.items():
        span.attributes.add(key=name).value.array_value.values.add().string_value = text
    span.attributes.add(key="trueline.statement.rows").value.int_value = 1
    return request
