"""A receiver for OTLP/HTTP that answers at once, and reads what it got only when it is asked to.

    python benchmarks/harness/receiver.py

Prints one JSON line ``{"port": N}``. Whatever comes before ``/v1/`` in the path names the sender.
``GET /report`` decodes and forgets what has come since the last report, so ask while there is no load.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter, defaultdict
from typing import Any

import httptools
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

#: Under either generation of names.
QUERY_TEXTS = ("db.query.text", "db.statement")
OUTCOME = "trueline.transaction.outcome"

_kept: dict[str, list[tuple[bytes, bool]]] = defaultdict(list)


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    # -- httptools calls these

    def on_message_begin(self) -> None:
        self._url = b""
        self._body: list[bytes] = []
        self._zipped = False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-encoding":
            self._zipped = value.lower() == b"gzip"

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path = self._url.decode()
        answer = b""
        if path == "/report":
            answer = json.dumps(report()).encode()
        elif path.endswith("/v1/traces"):
            _kept[path.removesuffix("/v1/traces").strip("/")].append((b"".join(self._body), self._zipped))
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: %d\r\n\r\n%s"
            % (len(answer), answer)
        )


def report() -> dict[str, dict[str, Any]]:
    """What each sender sent since the last report, and forget it."""
    found = {sender: read(bodies) for sender, bodies in _kept.items()}
    _kept.clear()
    return found


def read(bodies: list[tuple[bytes, bool]]) -> dict[str, Any]:
    """Count requests, bytes on the wire, spans, statements, and how many statements have each attribute."""
    attributes: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    spans = statements = 0
    for body, zipped in bodies:
        message = ExportTraceServiceRequest.FromString(gzip.decompress(body) if zipped else body)
        for resource in message.resource_spans:
            for scope in resource.scope_spans:
                spans += len(scope.spans)
                for span in scope.spans:
                    keys = [attribute.key for attribute in span.attributes]
                    if not any(name in keys for name in QUERY_TEXTS):
                        continue
                    statements += 1
                    attributes.update(keys)
                    if OUTCOME in keys:
                        outcomes[span.attributes[keys.index(OUTCOME)].value.string_value] += 1
    return {
        "requests": len(bodies),
        "bytes": sum(len(body) for body, _ in bodies),
        "spans": spans,
        "statements": statements,
        "attributes": dict(attributes),
        "outcomes": dict(outcomes),
    }


async def serve() -> None:
    """Serve until terminated."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
