"""The OTLP/HTTP receiver: POST /v1/traces and /v1/logs, protobuf or JSON, gzip or plain.

The answer 200 goes out after the rows are in the store. What may succeed later is answered 429 or 503 with
Retry-After, never 500, which exporters take as final and drop the batch.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
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
from trueline.monitor.metrics import IntakeMetrics
from trueline.monitor.otlp import json as otlp_json
from trueline.monitor.otlp import wire
from trueline.monitor.otlp.body import Admission, inflate
from trueline.monitor.otlp.errors import (
    BodyTimeoutError,
    MalformedBodyError,
    NotNowError,
    RefusedError,
    TooLargeError,
    UnsupportedMediaError,
)
from trueline.monitor.otlp.examine import Verdict, examine_logs, examine_traces, is_plain
from trueline.monitor.otlp.framing import columns_of
from trueline.monitor.store.writer import Columns, Load, Writer

_log = logging.getLogger(__name__)

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
DECODE_THREADS: Final = 2
#: How long each request is looked at closely after the engine met a value that it cannot express, seconds.
CAREFUL_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Signal:
    """What differs between traces and logs."""

    name: str
    table: str
    request: Callable[[], Any]
    response: Callable[[], Any]
    rejected_field: str
    fields: wire.Fields
    examine: Callable[[Any, int], Verdict]


TRACES: Final = Signal(
    "traces",
    "otel_traces",
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
    "rejected_spans",
    wire.TRACES,
    examine_traces,
)
LOGS: Final = Signal(
    "logs",
    "otel_logs",
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
    "rejected_log_records",
    wire.LOGS,
    examine_logs,
)


@dataclass(slots=True)
class _Taken:
    """A request on its way: what was held for it, and what became of it."""

    received: int = 0
    held: int = 0
    load: Load | None = None
    verdict: Verdict = field(default_factory=Verdict)


class Receiver:
    """Takes OTLP requests and hands their rows to the writer."""

    def __init__(
        self,
        writer: Writer,
        *,
        metrics: IntakeMetrics | None = None,
        refusal: Callable[[], str | None] = lambda: None,
        decoders: Executor | None = None,
    ) -> None:
        """``refusal`` says why nothing may be taken now, None while it may.

        ``decoders`` are processes that decode for a store whose engine does not; without them it is done by
        the writer's thread.
        """
        self._writer = writer
        self._metrics = metrics or IntakeMetrics()
        self._refusal = refusal
        self._processes = decoders
        self.admission = Admission()
        self._threads = ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="trueline-decode")

    async def traces(self, request: Request) -> Response:
        """POST /v1/traces."""
        return await self._receive(request, TRACES)

    async def logs(self, request: Request) -> Response:
        """POST /v1/logs."""
        return await self._receive(request, LOGS)

    def close(self) -> None:
        """End the decoding threads and processes."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        if self._processes is not None:
            self._processes.shutdown(wait=True, cancel_futures=True)

    async def _receive(self, request: Request, signal: Signal) -> Response:
        began = time.monotonic()
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        taken = _Taken()
        try:
            if media not in (PROTOBUF, JSON):
                raise UnsupportedMediaError(
                    f"the content type {media[:60]!r} is not spoken: use {PROTOBUF} or {JSON}"
                )
            encoding = request.headers.get("content-encoding", "")
            async with self.admission.read(request) as body:
                taken.received = len(body)
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._threads, self._decode, taken, signal, body, media, encoding)
                if taken.load is not None:
                    await self._store(taken.load)
        except RefusedError as refusal:
            self._metrics.refused(signal.name, refusal)
            return _refusal(refusal, media)
        finally:
            self.admission.give_back(taken.held)
            self._metrics.answered(signal.name, taken.received, time.monotonic() - began)
        self._metrics.accepted(signal.name, taken.verdict)
        return _success(signal, taken.verdict, media)

    async def _store(self, load: Load) -> None:
        try:
            await asyncio.wrap_future(self._writer.submit(load))
        except DataRefusedError as error:
            raise MalformedBodyError(str(error)) from error
        except StoreError as error:
            # Exporters give up after about ten seconds: a long delay would lose the batch for certain.
            raise NotNowError(str(error), retry_after=1 + round(4 * self._writer.waiting_share)) from error

    def _decode(self, taken: _Taken, signal: Signal, body: bytes, media: str, encoding: str) -> None:
        """From the body as it came to what the writer takes. Runs in a thread.

        Raise RefusedError, whatever the body is.
        """
        try:
            full = self._refusal()
            if full is not None:
                raise NotNowError(full, retry_after=5)
            plain_body = inflate(body, encoding)
            if plain_body is not body:
                taken.held = len(plain_body)
                self.admission.take(taken.held)
            self._parse(taken, signal, plain_body, media)
        except RefusedError:
            raise
        except DecodeError as error:
            raise MalformedBodyError(f"the body is not an OTLP {signal.name} request in protobuf") from error
        except Exception as error:
            # A fault of ours. The same bytes would meet it again, so it must not look transient.
            _log.exception("a request of %d bytes could not be decoded", len(body))
            raise MalformedBodyError(f"the request could not be decoded ({type(error).__name__})") from error

    def _parse(self, taken: _Taken, signal: Signal, body: bytes, media: str) -> None:
        message = signal.request()
        if media == JSON:
            otlp_json.parse(body, message)
        else:
            wire.check(body, signal.fields)
            message.ParseFromString(body)
        taken.verdict = signal.examine(message, len(body))
        if not taken.verdict.items:
            return
        message.DiscardUnknownFields()
        request = hashlib.sha256(body).digest()[:16]
        known = message.SerializeToString()
        careful = time.monotonic() - self._writer.odd_at < CAREFUL_SECONDS
        plain = self._writer.engine_decodes and not (careful and not is_plain(message))
        taken.load = Load(
            signal.table,
            taken.verdict.items,
            columns=self._columns(signal.table, known, request, decode_now=not plain),
            body=known,
            request=request,
            plain=plain,
        )

    def _columns(self, table: str, body: bytes, request: bytes, *, decode_now: bool) -> Callable[[], Columns]:
        """What makes the rows: decoded by a process already, or later by whoever needs them."""
        if decode_now and self._processes is not None:
            try:
                columns = self._processes.submit(columns_of, table, body, request, time.time_ns()).result()
            except BrokenExecutor as error:
                _log.error("the decoding processes ended: decoding goes on without them")
                raise NotNowError("decoding broke off", retry_after=1) from error
            return lambda: columns
        return lambda: columns_of(table, body, request, time.time_ns())


def _success(signal: Signal, verdict: Verdict, media: str) -> Response:
    answer = signal.response()
    if verdict.rejected:
        setattr(answer.partial_success, signal.rejected_field, verdict.rejected)
        answer.partial_success.error_message = verdict.sentence
    return _answer(answer, media, 200)


def _refusal(refusal: RefusedError, media: str) -> Response:
    message = str(refusal)
    response = _answer(Status(code=refusal.code, message=message), media, refusal.status)
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    if isinstance(refusal, BodyTimeoutError | TooLargeError):
        # The rest of the body may still come: it is not waited for.
        response.headers["Connection"] = "close"
    return response


def _answer(message: Message, media: str, status: int) -> Response:
    """Answer in the request's content type, in JSON where that was neither."""
    if media == PROTOBUF:
        return Response(message.SerializeToString(), status, media_type=PROTOBUF)
    text = json_format.MessageToJson(message, indent=None)
    return Response(text, status, media_type=JSON)
