"""A real OTLP/HTTP receiver on loopback that records what arrives, and can misbehave as receivers do.

It keeps each request's bytes as they came over the wire, so that a test can search them, and decodes spans
and log records on demand.
"""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Mode(StrEnum):
    """How the receiver answers."""

    ACCEPT = "accept"
    #: Nobody listens on the port.
    REFUSE = "refuse"
    #: The request is read and never answered.
    SILENT = "silent"
    #: 503, with and without Retry-After.
    BUSY = "503"
    BUSY_RETRY_AFTER = "503 with Retry-After"
    #: 400: the client must not send it again.
    BAD_REQUEST = "400"
    #: The first request is answered too late, and later ones at once.
    LATE_ONCE = "late once"
    #: 200 after a second.
    SLOW = "slow"
    #: The connection is closed in the middle of the answer.
    CUT = "cut"


@dataclass(frozen=True)
class Request:
    """One POST: ``raw`` is the body as sent, ``body`` the same inflated."""

    path: str
    head: str
    raw: bytes
    body: bytes
    at: float


@dataclass(frozen=True)
class Span:
    """A decoded span; ids are hex digits, times ns since the epoch, ``status`` 0 unset, 1 ok, 2 error."""

    service: str
    scope: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    started_at: int
    ended_at: int
    status: int
    message: str
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Log:
    """A decoded log record."""

    service: str
    event_name: str
    body: str
    trace_id: str
    attributes: dict[str, Any]


@dataclass
class Collector:
    """A running receiver; see :func:`collector`."""

    mode: Mode
    #: How log records are answered, where that differs.
    logs_mode: Mode | None = None
    requests: list[Request] = field(default_factory=list)
    #: Ends every answer that is still being withheld.
    released: threading.Event = field(default_factory=threading.Event)
    endpoint: str = ""

    def spans(self, service: str | None = None) -> list[Span]:
        """Spans received so far, in the order of arrival."""
        found = []
        for request in list(self.requests):
            if request.path == "/v1/traces":
                found += _spans(ExportTraceServiceRequest.FromString(request.body))
        return [span for span in found if service is None or span.service == service]

    def instances(self, service: str) -> set[str]:
        """``service.instance.id`` of every process of ``service`` that sent spans."""
        found = set()
        for request in list(self.requests):
            if request.path == "/v1/traces":
                for resource in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                    attributes = _attributes(resource.resource.attributes)
                    if attributes.get("service.name") == service:
                        found.add(attributes.get("service.instance.id", ""))
        return found

    def logs(self, service: str | None = None) -> list[Log]:
        """Log records received so far."""
        found = []
        for request in list(self.requests):
            if request.path == "/v1/logs":
                found += _logs(ExportLogsServiceRequest.FromString(request.body))
        return [log for log in found if service is None or log.service == service]

    def wait_for(self, condition: Callable[[], Any], what: str = "the telemetry", seconds: float = 60) -> Any:
        """Wait until ``condition()`` is true and return its value; fail after ``seconds``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = condition()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"{what} did not arrive in {seconds} s; {len(self.spans())} spans did")


@contextmanager
def collector(mode: Mode = Mode.ACCEPT) -> Iterator[Collector]:
    """Run a receiver in a thread of this process."""
    running = Collector(mode)
    if mode is Mode.REFUSE:
        # Bound and not listening: the port is refused and nobody else can take it.
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            running.endpoint = f"http://127.0.0.1:{reserved.getsockname()[1]}"
            yield running
        return
    server = _Server(running)
    running.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.released.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, running: Collector) -> None:
        self.running = running
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        """``/count?service=x&name=y``: how many such spans arrived; for processes that wait for that."""
        query = parse_qs(urlsplit(self.path).query)
        service, name = query["service"][0], query.get("name", [""])[0]
        spans = [s for s in self.server.running.spans(service) if not name or s.name == name]
        self._answer(200, str(len(spans)).encode())

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw
        head = f"{self.requestline}\n{self.headers}"
        running = self.server.running
        running.requests.append(Request(self.path, head, raw, body, time.monotonic()))
        match (running.logs_mode if self.path == "/v1/logs" else None) or running.mode:
            case Mode.SILENT:
                running.released.wait()
                self.close_connection = True
            case Mode.LATE_ONCE:
                if len(running.requests) == 1:
                    running.released.wait()
                    self.close_connection = True
                else:
                    self._answer(200, b"")
            case Mode.BUSY:
                self._answer(503, b"")
            case Mode.BUSY_RETRY_AFTER:
                self._answer(503, b"", ("Retry-After", "1"))
            case Mode.BAD_REQUEST:
                self._answer(400, b"")
            case Mode.CUT:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Le")
                self.wfile.flush()
                self.close_connection = True
            case Mode.SLOW:
                running.released.wait(1.0)
                self._answer(200, b"")
            case _:
                self._answer(200, b"")

    def _answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _spans(request: ExportTraceServiceRequest) -> list[Span]:
    return [
        Span(
            service=_attributes(resource.resource.attributes).get("service.name", ""),
            scope=scope.scope.name,
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            started_at=span.start_time_unix_nano,
            ended_at=span.end_time_unix_nano,
            status=span.status.code,
            message=span.status.message,
            attributes=_attributes(span.attributes),
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _logs(request: ExportLogsServiceRequest) -> list[Log]:
    return [
        Log(
            service=_attributes(resource.resource.attributes).get("service.name", ""),
            event_name=record.event_name,
            body=record.body.string_value,
            trace_id=record.trace_id.hex(),
            attributes=_attributes(record.attributes),
        )
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None
