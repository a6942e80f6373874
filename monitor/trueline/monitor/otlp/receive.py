"""The OTLP/HTTP receiver: POST /v1/traces and /v1/logs, protobuf or JSON, gzip or plain.

The answer 200 goes out after the rows are in the store. What may succeed later is answered 429 or 503 with
Retry-After, never 500, which exporters take as final and drop the batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.requests import Request
from starlette.responses import Response

from trueline.monitor.errors import DataRefusedError, StoreError
from trueline.monitor.otlp import json as otlp_json
from trueline.monitor.otlp import wire
from trueline.monitor.otlp.body import Admission, inflate
from trueline.monitor.otlp.decode import Batch, decode_logs, decode_traces
from trueline.monitor.otlp.errors import (
    MalformedBodyError,
    NotNowError,
    RefusedError,
    UnsupportedMediaError,
)
from trueline.monitor.store.writer import Writer

_log = logging.getLogger(__name__)

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
DECODE_THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class Signal:
    """What differs between traces and logs."""

    name: str
    request: Callable[[], Any]
    response: Callable[[], Any]
    rejected_field: str
    fields: wire.Fields
    decode: Callable[[Any], Batch]


TRACES: Final = Signal(
    "traces",
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
    "rejected_spans",
    wire.TRACES,
    decode_traces,
)
LOGS: Final = Signal(
    "logs",
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
    "rejected_log_records",
    wire.LOGS,
    decode_logs,
)


class Receiver:
    """Takes OTLP requests and hands their rows to the writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._admission = Admission()
        self._decoders = ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="trueline-decode")

    async def traces(self, request: Request) -> Response:
        """POST /v1/traces."""
        return await self._receive(request, TRACES)

    async def logs(self, request: Request) -> Response:
        """POST /v1/logs."""
        return await self._receive(request, LOGS)

    def close(self) -> None:
        """End the decoding threads."""
        self._decoders.shutdown(wait=True, cancel_futures=True)

    async def _receive(self, request: Request, signal: Signal) -> Response:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            if media not in (PROTOBUF, JSON):
                raise UnsupportedMediaError(
                    f"the content type {media[:60]!r} is not spoken: use {PROTOBUF} or {JSON}"
                )
            encoding = request.headers.get("content-encoding", "")
            async with self._admission.read(request) as body:
                loop = asyncio.get_running_loop()
                batch = await loop.run_in_executor(self._decoders, _decode, signal, body, media, encoding)
                if batch.rows:
                    await self._store(batch)
        except RefusedError as refusal:
            return _refusal(refusal, media)
        return _success(signal, batch, media)

    async def _store(self, batch: Batch) -> None:
        try:
            await asyncio.wrap_future(self._writer.submit(batch.table, batch.columns, batch.rows))
        except DataRefusedError as error:
            raise MalformedBodyError(str(error)) from error
        except StoreError as error:
            # Exporters give up after about ten seconds: a long delay would lose the batch for certain.
            raise NotNowError(str(error), retry_after=1 + round(4 * self._writer.waiting_share)) from error


def _decode(signal: Signal, body: bytes, media: str, encoding: str) -> Batch:
    """From the body as it came to rows. Runs in a thread. Raise RefusedError, whatever the body is."""
    try:
        body = inflate(body, encoding)
        message = signal.request()
        if media == JSON:
            otlp_json.parse(body, message)
        else:
            wire.check(body, signal.fields)
            message.ParseFromString(body)
        return signal.decode(message)
    except RefusedError:
        raise
    except DecodeError as error:
        raise MalformedBodyError(f"the body is not an OTLP {signal.name} request in protobuf") from error
    except Exception as error:
        # A fault of ours. Sending the same bytes again would meet it again, so it must not look transient.
        _log.exception("a request of %d bytes could not be decoded", len(body))
        raise MalformedBodyError(f"the request could not be decoded ({type(error).__name__})") from error


def _success(signal: Signal, batch: Batch, media: str) -> Response:
    answer = signal.response()
    if batch.rejected:
        setattr(answer.partial_success, signal.rejected_field, batch.rejected)
        answer.partial_success.error_message = batch.rejection
    return _answer(answer, media, 200)


def _refusal(refusal: RefusedError, media: str) -> Response:
    message = str(refusal)
    response = _answer(Status(code=refusal.code, message=message), media, refusal.status)
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    return response


def _answer(message: Message, media: str, status: int) -> Response:
    """Answer in the request's content type, in JSON where that was neither."""
    if media == PROTOBUF:
        return Response(message.SerializeToString(), status, media_type=PROTOBUF)
    text = json_format.MessageToJson(message, indent=None)
    return Response(text, status, media_type=JSON)
