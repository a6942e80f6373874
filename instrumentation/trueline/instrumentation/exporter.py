"""The default way out: OTLP/HTTP with our own encoding, in batches, every lost span counted.

Connection, compression, TLS and retries are those of OpenTelemetry's own exporter, which is made with the
first batch; only the bytes of the body are made here (see :mod:`wire`), and a request that got no answer in
time is sent once more. Where that exporter's inside is no longer what we know, it encodes as well: slower,
and the same spans.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from trueline.instrumentation import wire
from trueline.instrumentation.envelope import Envelope, group_of
from trueline.instrumentation.guard import report, swallow
from trueline.instrumentation.late import Late
from trueline.instrumentation.losses import EXPORT_FAILED, QUEUE_FULL, Losses
from trueline.instrumentation.otlp_settings import otlp_settings
from trueline.instrumentation.own_spans import Origin, OwnSpan, encode_plain

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

logger = logging.getLogger("trueline")

#: After so many spans, a third of a millisecond's work, the exporting thread lets others run.
_BREATH: Final = 64
_BREATH_SECONDS: Final = 0.0002
#: What HTTP clients raise (requests, urllib3, the socket itself) when an answer does not come in time.
_TIMEOUTS: Final = frozenset({"ReadTimeout", "ReadTimeoutError", "TimeoutError"})


class OtlpExporter(SpanExporter):
    """Sends spans to ``endpoint`` (a full URL; None: as OTEL_* variables say)."""

    def __init__(self, losses: Losses, endpoint: str | None = None) -> None:
        settings = otlp_settings("TRACES", endpoint)
        self._endpoint = settings.endpoint
        self._losses = losses
        self._closed = False

        def make() -> OTLPSpanExporter:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            return OTLPSpanExporter(**settings.arguments())

        self._late = Late("exporter.load", make)
        if settings.at_once:
            self._late.set(make())
        self._envelope = Envelope()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch; what is refused or cannot be sent is counted."""
        result = SpanExportResult.FAILURE
        try:
            result = self._export(spans)
        finally:
            if result is not SpanExportResult.SUCCESS:
                self._losses.add(EXPORT_FAILED, len(spans))
        return result

    def _export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        inner = None if self._closed else self._late.get()
        if inner is None:
            return SpanExportResult.FAILURE
        send = getattr(getattr(inner, "_client", None), "export", None)
        body = None
        if send is None:
            logger.debug("trueline: this release of the OTLP exporter is not known; it encodes spans itself")
        else:
            try:
                body = self.encode(spans)
            except Exception as error:
                report("exporter.encode", error)
        if body is None or send is None:
            return inner.export(spans)
        sent: Any = send(body)
        if _unanswered(sent) and not self._closed:
            # It may be stored, and a receiver at its limit only says so late. The same bytes once more: the
            # monitor knows them, and answers at once if it has them.
            sent = send(body)
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        """The body of a request: joined where we can, the rest by OpenTelemetry's encoder."""
        groups: dict[tuple[int, int], tuple[Any, Any, list[bytes]]] = {}
        foreign: list[ReadableSpan] = []
        last: Origin | None = None
        gathered: list[bytes] = []
        for number, span in enumerate(spans, 1):
            if isinstance(span, OwnSpan):
                origin = span._origin
                if origin is not last:
                    last, gathered = origin, group_of(groups, origin.resource, origin.scope)
                pieces = span.pieces()
                gathered.append(wire.framed(pieces))
                gathered += pieces
            else:
                data = encode_plain(span)
                if data is None:
                    foreign.append(span)
                else:
                    group_of(groups, span.resource, span.instrumentation_scope).extend(
                        (wire.framed(data), *data)
                    )
            if not number % _BREATH:
                # The interpreter's lock goes to whoever serves a request; it would wait for 5 ms otherwise.
                time.sleep(_BREATH_SECONDS)
        bodies: list[bytes] = []
        for resource, scope, gathered in groups.values():
            bodies += self._envelope.around(resource, scope, gathered)
        if foreign:
            from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

            bodies.append(encode_spans(foreign).SerializePartialToString())
        # Once: each copy of a batch is memory that the machine hands out page by page.
        return b"".join(bodies)

    def shutdown(self) -> None:
        """No more is sent."""
        self._closed = True
        inner = self._late.made
        if inner is not None:
            inner.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here."""
        return True


def _unanswered(sent: Any) -> bool:
    """Whether a request went out and its answer did not come in time."""
    return not sent.success and sent.status_code is None and type(sent.error).__name__ in _TIMEOUTS


class CountingBatchProcessor(BatchSpanProcessor):
    """OpenTelemetry's batch processor, which drops the oldest span when its queue is full: counted."""

    def __init__(self, exporter: SpanExporter, losses: Losses, **settings: Any) -> None:
        super().__init__(exporter, **settings)
        self._losses = losses
        batch = getattr(self, "_batch_processor", None)
        self._queue = getattr(batch, "_queue", None)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a finished span. Called where the application ends one: nothing leaves this."""
        try:
            queue = self._queue
            if queue is not None and len(queue) == queue.maxlen:
                self._losses.add(QUEUE_FULL)
            super().on_end(span)
        except Exception as error:
            swallow("exporter.queue", error)
