"""Spans a second over real sockets into the embedded store: acknowledged, then counted in the store.

    python benchmarks/ingest.py [--seconds 20] [--clients 2] [--spans 1024] [--connections 16]

Client processes post bodies that were encoded before (a recorded service's statement spans, ids of their own:
the ids' bytes are overwritten in place, so that a client costs little). Printed: spans acknowledged a second,
the monitor's CPU time a span by thread, its memory each second, and whether the store holds what it said.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.monitor_process import MonitorProcess

RECORDED = Path(__file__).parents[1] / "tests" / "data" / "otlp" / "own-traces.pb"
TRACE, SPAN = b"\xfeTRACE-ID-HERE\xfd\xfc", b"\xfeSPAN-I\xfd"


def template(spans: int) -> bytes:
    """A request of ``spans`` statement spans with marks where ids go."""
    source = ExportTraceServiceRequest.FromString(RECORDED.read_bytes())
    first = source.resource_spans[0]
    known = [span for scope in first.scope_spans for span in scope.spans if len(span.attributes) > 15]
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    resource.resource.CopyFrom(first.resource)
    scope = resource.scope_spans.add()
    scope.scope.CopyFrom(first.scope_spans[0].scope)
    now = time.time_ns()
    for number in range(spans):
        span = scope.spans.add()
        span.CopyFrom(known[number % len(known)])
        span.trace_id, span.span_id = TRACE, SPAN
        span.start_time_unix_nano, span.end_time_unix_nano = now - 1_000_000, now
    body: bytes = message.SerializeToString()
    return body


def places(body: bytes, mark: bytes) -> list[int]:
    """Where a mark is."""
    found, position = [], body.find(mark)
    while position >= 0:
        found.append(position)
        position = body.find(mark, position + 1)
    return found


def client(port: int, spans: int, seconds: float, connections: int) -> None:
    """Post until the time is up; print the number of acknowledged requests and of each status."""
    body = template(spans)
    traces, span_ids = places(body, TRACE), places(body, SPAN)
    assert len(traces) == len(span_ids) == spans
    statuses: Counter[int] = Counter()
    deadline = time.monotonic() + seconds

    def work() -> None:
        own = bytearray(body)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while time.monotonic() < deadline:
            random = os.urandom(24 * spans)
            for number in range(spans):
                start = number * 24
                own[traces[number] : traces[number] + 16] = random[start : start + 16]
                own[span_ids[number] : span_ids[number] + 8] = random[start + 16 : start + 24]
            connection.request("POST", "/v1/traces", own, {"Content-Type": "application/x-protobuf"})
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] += 1

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(statuses))


def cpu_by_thread(pid: int) -> dict[str, float]:
    """Seconds of CPU of each kind of thread."""
    used: dict[str, float] = defaultdict(float)
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "stat").read_text()
        except OSError:
            continue
        name, _, rest = text.partition("(")[2].rpartition(")")
        fields = rest.split()
        used[name.rstrip("0123456789_-")] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def resident_mib(pid: int) -> int:
    """Memory of the process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def main() -> None:
    """Start monitor and clients, wait, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--connections", type=int, default=16, help="of each client")
    parser.add_argument("--spans", type=int, default=1024, help="in a request")
    parser.add_argument("--child", type=int)
    arguments = parser.parse_args()
    if arguments.child:
        client(arguments.child, arguments.spans, arguments.seconds, arguments.connections)
        return
    with tempfile.TemporaryDirectory() as folder:
        monitor = MonitorProcess(Path(folder) / "data", environment={"TRUELINE_DISK_RESERVE": "0"})
        command = [
            *[sys.executable, __file__, "--child", str(monitor.port), "--seconds", str(arguments.seconds)],
            *["--spans", str(arguments.spans), "--connections", str(arguments.connections)],
        ]
        before, began = cpu_by_thread(monitor.process.pid), time.monotonic()
        clients = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(arguments.clients)
        ]
        memory = []
        while any(process.poll() is None for process in clients):
            memory.append(resident_mib(monitor.process.pid))
            time.sleep(1)
        took = time.monotonic() - began
        statuses: Counter[str] = Counter()
        for process in clients:
            assert process.stdout is not None
            statuses.update(json.loads(process.stdout.read()))
        used = {
            name: seconds - before.get(name, 0.0)
            for name, seconds in cpu_by_thread(monitor.process.pid).items()
        }
        most = sorted(used.items(), key=lambda item: -item[1])[:6]
        spans = statuses["200"] * arguments.spans
        answer = monitor.http.get("/api/v1/status").json()
        metrics = monitor.http.get("/metrics").text
        print(
            f"{spans / took:,.0f} spans/s acknowledged; {spans:,} in {took:.1f} s; statuses {dict(statuses)}"
        )
        print(f"{answer['spans_last_5_minutes']:,} spans in the store")
        print("CPU of the monitor, µs a span: " + ", ".join(
            f"{name} {1e6 * seconds / max(spans, 1):.1f}" for name, seconds in most
        ))  # fmt: skip
        print(f"memory, MiB: {memory[:: max(1, len(memory) // 12)]}")
        for line in metrics.splitlines():
            if line.startswith(
                ("trueline_insert_seconds_sum", "trueline_insert_seconds_count", "trueline_insert_rows")
            ):
                print(line)
        monitor.end()
        assert answer["spans_last_5_minutes"] == spans, "the store does not hold what was acknowledged"


if __name__ == "__main__":
    main()
