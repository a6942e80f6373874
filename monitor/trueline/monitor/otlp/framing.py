"""How requests lie in a file of the journal, and how they get from there into the store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from trueline.monitor.errors import DataRefusedError, OddValueError, QueryError, StoreUnavailableError
from trueline.monitor.otlp import engine
from trueline.monitor.otlp.decode import Batch, decode_logs, decode_traces
from trueline.monitor.store.client import Store
from trueline.monitor.store.journal import Entry
from trueline.monitor.store.requests import Key
from trueline.monitor.store.writer import Load

#: Bytes behind each body: the request's hash (tag, length, 16 bytes), the time of arrival (tag, 8 bytes).
_TAIL: Final = 2 + 1 + 16 + 2 + 8


class OtlpFraming:
    """Files of serialised OTLP requests, each behind its length and before its hash and time of arrival."""

    def __init__(self, store: Store, *, decodes: bool) -> None:
        self._store = store
        self._decodes = decodes

    @property
    def decodes(self) -> bool:
        """Whether the engine decodes plain requests: the embedded one, which sees our files."""
        return self._decodes

    def frame(self, loads: Sequence[Load]) -> list[bytes]:
        """The content of a file."""
        return engine.frame([(load.request, load.body) for load in loads], time.time_ns())

    def insert(self, entry: Entry) -> None:
        """Insert a file under its token. Raise OddValueError if the other decoder has to."""
        if entry.decoder == "python":
            columns = read_columns(entry.path, entry.table)
            self._store.insert(entry.table, columns, token=entry.token)
            return
        statement = engine.insert_statement(entry.table, entry.path, token=entry.token)
        try:
            self._store.insert_select(statement)
        except StoreUnavailableError:
            raise
        except (QueryError, DataRefusedError) as error:
            # Whatever else the engine has against it: the same token makes a second insert safe.
            raise OddValueError(str(error)) from error

    def keys(self, entry: Entry) -> list[Key]:
        """The requests in a file."""
        return [(entry.table, request) for request, _, _ in read_frames(entry.path.read_bytes())]


def read_frames(content: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """The requests of a file: hash, serialised message, time of arrival in nanoseconds."""
    position = 0
    while position < len(content):
        length = shift = 0
        while True:
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        end = position + length
        tail = content[end - _TAIL : end]
        yield tail[3:19], content[position : end - _TAIL], int.from_bytes(tail[21:], "little")
        position = end


def read_columns(path: Path, table: str) -> dict[str, list[Any]]:
    """The rows of a file as columns."""
    parts = [
        columns_of(table, body, request, arrived) for request, body, arrived in read_frames(path.read_bytes())
    ]
    return {name: list(chain.from_iterable(part[name] for part in parts)) for name in parts[0]}


def columns_of(table: str, body: bytes, request: bytes, arrived: int | None = None) -> dict[str, list[Any]]:
    """The rows of one serialised request as columns, with the request's hash in each."""
    batch: Batch
    if table == "otel_traces":
        batch = decode_traces(ExportTraceServiceRequest.FromString(body))
    else:
        batch = decode_logs(ExportLogsServiceRequest.FromString(body), arrived)
    return {**batch.columns, engine.REQUEST: [request] * batch.rows}
