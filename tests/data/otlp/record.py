"""Records the golden OTLP requests beside this file. Run by hand after a change of the contract:

    python tests/data/otlp/record.py

``own-*.pb`` and ``contrib-*.pb`` are bodies as the instrumentation sends them. ``collector-traces.pb.gz`` and
``collector-logs.json`` hold the same as a Collector forwards it: both services in one request, resource
attributes added by its processors, gzip or JSON.
"""

from __future__ import annotations

import base64
import gzip
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

HERE = Path(__file__).parent
MESSAGES = {"/v1/traces": ExportTraceServiceRequest, "/v1/logs": ExportLogsServiceRequest}


def record(source: str) -> dict[str, ExportTraceServiceRequest | ExportLogsServiceRequest]:
    """One merged request a signal from a run of the service in a process of its own."""
    bodies: defaultdict[str, list[bytes]] = defaultdict(list)

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            bodies[self.path].append(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "TRUELINE_HASH_SECRET": "golden",
    }
    with tempfile.TemporaryDirectory() as folder:
        # Run in the folder, so that no path of this machine is recorded.
        script = Path(folder, "service.py")
        script.write_text((HERE / "service.py").read_text())
        subprocess.run(
            [sys.executable, "service.py", source, "golden.db"], check=True, env=environment, cwd=folder
        )
    server.shutdown()
    server.server_close()
    merged = {}
    for path, message_type in MESSAGES.items():
        message = message_type()
        for body in bodies[path]:
            message.MergeFromString(body)
        merged[path] = message
    return merged


def add_collector_attributes(message: ExportTraceServiceRequest | ExportLogsServiceRequest) -> None:
    """What a Collector's resource detection adds."""
    groups = (
        message.resource_spans if isinstance(message, ExportTraceServiceRequest) else message.resource_logs
    )
    for group in groups:
        group.resource.attributes.add(key="host.name").value.string_value = "node-1"
        group.resource.attributes.add(key="k8s.namespace.name").value.string_value = "shop"


def main() -> None:
    """Record everything."""
    together = {path: message_type() for path, message_type in MESSAGES.items()}
    for source in ("own", "contrib"):
        for path, message in record(source).items():
            signal = path.rsplit("/", 1)[1]
            (HERE / f"{source}-{signal}.pb").write_bytes(message.SerializeToString(deterministic=True))
            together[path].MergeFrom(message)
    for message in together.values():
        add_collector_attributes(message)
    traces = together["/v1/traces"].SerializeToString(deterministic=True)
    (HERE / "collector-traces.pb.gz").write_bytes(gzip.compress(traces, mtime=0))
    logs = MessageToDict(together["/v1/logs"], use_integers_for_enums=True)
    # OTLP's JSON writes ids in hexadecimal, protobuf's own mapping in base64.
    for group in logs["resourceLogs"]:
        for scope in group["scopeLogs"]:
            for entry in scope["logRecords"]:
                for name in ("traceId", "spanId"):
                    if name in entry:
                        entry[name] = base64.b64decode(entry[name]).hex()
    (HERE / "collector-logs.json").write_text(json.dumps(logs, indent=1) + "\n")


if __name__ == "__main__":
    main()
