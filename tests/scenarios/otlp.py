"""Telemetry on its way: what was sent in which order, and moving it in time."""

from __future__ import annotations

import json
import lzma
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PROTOBUF = {"Content-Type": "application/x-protobuf"}
TRACES, LOGS = "/v1/traces", "/v1/logs"
_PATHS = (TRACES, LOGS)
#: Of a request in a recording: which path, how many bytes.
_HEAD = struct.Struct("<BI")


@dataclass(frozen=True, slots=True)
class Sent:
    """One request, in protobuf, not compressed; ``path`` is TRACES or LOGS."""

    path: str
    body: bytes


def moved(sent: Sent, nanoseconds: int) -> Sent:
    """The same, all of it so much later."""
    request = _parse(sent)
    for thing, fields in _moments(request):
        for field in fields:
            moment = getattr(thing, field)
            if moment:
                setattr(thing, field, moment + nanoseconds)
    return Sent(sent.path, request.SerializeToString())


def together(sent: Iterable[Sent]) -> list[Sent]:
    """All of it in one request of each kind: protobuf messages that follow each other are one message."""
    several = list(sent)
    return [
        Sent(path, b"".join(one.body for one in several if one.path == path))
        for path in _PATHS
        if any(one.path == path for one in several)
    ]


def newest(sent: Sent) -> int:
    """The latest moment that it tells of, in nanoseconds since 1970; 0 if none."""
    moments = (getattr(thing, field) for thing, fields in _moments(_parse(sent)) for field in fields)
    return max(moments, default=0)


def _parse(sent: Sent) -> Any:
    kind: Any = ExportTraceServiceRequest if sent.path == TRACES else ExportLogsServiceRequest
    return kind.FromString(sent.body)


def _moments(request: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
    if isinstance(request, ExportTraceServiceRequest):
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    yield span, ("start_time_unix_nano", "end_time_unix_nano")
                    for event in span.events:
                        yield event, ("time_unix_nano",)
    else:
        for logs in request.resource_logs:
            for scope_logs in logs.scope_logs:
                for record in scope_logs.log_records:
                    yield record, ("time_unix_nano", "observed_time_unix_nano")


@dataclass(frozen=True, slots=True)
class Recording:
    """What a scenario sent; ``facts`` are the scenario's name and whom it affected."""

    facts: dict[str, Any]
    sent: tuple[Sent, ...]

    def write(self, path: Path) -> None:
        """One line of JSON, then each request with its length; the same content makes the same bytes."""
        parts = [json.dumps(self.facts, sort_keys=True).encode() + b"\n"]
        parts += [_HEAD.pack(_PATHS.index(one.path), len(one.body)) + one.body for one in self.sent]
        path.write_bytes(lzma.compress(b"".join(parts), preset=9))

    @classmethod
    def read(cls, path: Path) -> Recording:
        """The opposite."""
        first, _, rest = lzma.decompress(path.read_bytes()).partition(b"\n")
        sent: list[Sent] = []
        place = 0
        while place < len(rest):
            number, length = _HEAD.unpack_from(rest, place)
            place += _HEAD.size + length
            sent.append(Sent(_PATHS[number], rest[place - length : place]))
        return cls(json.loads(first), tuple(sent))

    def until(self, now: int) -> Iterator[Sent]:
        """The same, moved so that the newest of it happened at ``now`` (nanoseconds since 1970)."""
        later = now - max(map(newest, self.sent), default=now)
        return (moved(one, later) for one in self.sent)
