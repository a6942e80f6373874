"""What telemetry costs in all: hooks, encoding and sending, CPU time a statement.

    python benchmarks/total.py [--drivers pysqlite,asyncpg] [--rounds 5] [--statements 6000]

Compared are contrib with the stock OTLP/HTTP exporter, and Trueline as `instrument()` sets it
up, both sending to a real HTTP server in its own process. After each run that server's bodies are decoded:
every statement must have arrived with the attributes it should have: a broken exporter would look fast.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import subprocess
import sys
import threading
import time

from variants import print_added, take_turns
from workload import STATEMENTS_PER_TRANSACTION, database, work_on

VARIANTS = ("bare", "contrib", "own", "adopted")
#: Attributes that must have arrived with each statement; contrib's under its default names.
EXPECTED = {
    "contrib": {"db.statement", "db.system"},
    "own": {
        "db.query.text",
        "db.system.name",
        "trueline.database.fingerprint",
        "trueline.identity.values",
        "trueline.transaction.id",
        "trueline.transaction.outcome",
    },
}
EXPECTED["adopted"] = EXPECTED["own"] | EXPECTED["contrib"]


def receive() -> None:
    """The receiver's process: prints its port; on a line of input, what it received since the last one."""
    bodies: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                bodies.append(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    for line in sys.stdin:
        print(json.dumps(count(bodies, set(json.loads(line)))), flush=True)
        bodies.clear()


def count(bodies: list[bytes], expected: set[str]) -> dict[str, int]:
    """Spans in ``bodies``, and how many of them carry all ``expected`` attributes."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    found = {"spans": 0, "complete": 0, "bytes": sum(map(len, bodies))}
    for body in bodies:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    found["spans"] += 1
                    found["complete"] += expected <= {attribute.key for attribute in span.attributes}
    return found


def child(variant: str, driver: str, url: str, statements: int) -> None:
    """Run one variant and print seconds of wall and CPU time a statement."""
    receiver = subprocess.Popen(
        [sys.executable, __file__, "--child", "receiver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert receiver.stdout is not None
    assert receiver.stdin is not None
    endpoint = f"http://127.0.0.1:{receiver.stdout.readline().strip()}"
    flush = start(variant, endpoint)
    work = work_on(driver, url)
    work(200)
    # What is loaded once, in the background, is no statement's price: benchmarks/startup.py counts it.
    time.sleep(0.5)
    flush()
    expected = json.dumps(sorted(EXPECTED.get(variant, ()))) + "\n"
    receiver.stdin.write(expected)
    receiver.stdin.flush()
    receiver.stdout.readline()
    wall, cpu = time.perf_counter(), time.process_time()
    work(statements // STATEMENTS_PER_TRANSACTION)
    wall = time.perf_counter() - wall
    flush()
    cpu = time.process_time() - cpu
    receiver.stdin.write(expected)
    receiver.stdin.flush()
    arrived = json.loads(receiver.stdout.readline())
    receiver.terminate()
    receiver.wait()
    if variant != "bare":
        assert arrived["complete"] >= statements, arrived
    print(json.dumps({"wall": wall / statements, "cpu": cpu / statements}))


def start(variant: str, endpoint: str):  # type: ignore[no-untyped-def]
    """Switch one variant on; the result sends everything that is still queued."""
    if variant == "bare":
        return lambda: None
    if variant == "contrib":
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        stock = TracerProvider(shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
        # The queue is larger than by default: what is dropped costs nothing, and must not count.
        stock.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=65_536))
        trace.set_tracer_provider(stock)
        SQLAlchemyInstrumentor().instrument(tracer_provider=stock, skip_dep_check=True)
        return stock.force_flush
    from opentelemetry import trace

    from trueline.instrumentation import instrument, providers

    providers._QUEUE = 65_536
    instrument("benchmark", endpoint=endpoint, logs=False, spans="own" if variant == "own" else "contrib")
    provider = trace.get_tracer_provider()
    return provider.force_flush  # type: ignore[attr-defined]


def main() -> None:
    """Take turns, compare medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drivers", default="pysqlite,asyncpg")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--statements", type=int, default=6000)
    parser.add_argument("--child")
    parser.add_argument("--url")
    arguments = parser.parse_args()
    if arguments.child == "receiver":
        receive()
        return
    if arguments.child:
        child(arguments.child, arguments.drivers, arguments.url, arguments.statements)
        sys.stdout.flush()
        os._exit(0)  # nothing of the end of a process is measured
    for driver in arguments.drivers.split(","):
        with database(driver) as url:
            more = ("--drivers", driver, "--url", url, "--statements", str(arguments.statements))
            medians = take_turns(__file__, VARIANTS, more, arguments.rounds, driver)
        print_added(driver, medians, base="bare", peer="contrib")


if __name__ == "__main__":
    main()
