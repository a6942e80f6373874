"""The default way out: OTLP/HTTP with our own encoding, in batches, every lost span counted.

Settings, connection, compression, TLS and retries are those of OpenTelemetry's own exporter; only the bytes
of the body are made here (see :mod:`wire`). Where that exporter's inside is no longer what we know, it
encodes as well: slower, and the same spans.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope as ScopeMessage
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from trueline.instrumentation import wire
from trueline.instrumentation.guard import report
from trueline.instrumentation.losses import EXPORT_FAILED, QUEUE_FULL, Losses
from trueline.instrumentation.own_spans import OwnSpan, encode_plain

logger = logging.getLogger("trueline")

#: After so many spans, a third of a millisecond's work, the exporting thread lets others run.
_BREATH: Final = 64
_BREATH_SECONDS: Final = 0.0002


class OtlpExporter(SpanExporter):
    """Sends spans to ``endpoint`` (a full URL; None: as OTEL_* variables say)."""

    def __init__(self, losses: Losses, endpoint: str | None = None) -> None:
        self._inner = OTLPSpanExporter(endpoint=endpoint)
        self._losses = losses
        client = getattr(self._inner, "_client", None)
        self._send = getattr(client, "export", None)
        if self._send is None:
            logger.debug("trueline: this release of the OTLP exporter is not known; it encodes spans itself")
        self._headers: dict[int, tuple[Resource, bytes, bytes]] = {}
        self._scopes: dict[int, tuple[InstrumentationScope, bytes, bytes]] = {}

    @property
    def _endpoint(self) -> str:
        return self._inner._endpoint

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
        body = None
        if self._send is not None:
            try:
                body = self.encode(spans)
            except Exception as error:
                report("exporter.encode", error)
        if body is None or self._send is None:
            return self._inner.export(spans)
        sent: Any = self._send(body)
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE

    def encode(self, spans: Sequence[ReadableSpan]) -> bytes:
        """The body of a request: joined where we can, the rest by OpenTelemetry's encoder."""
        groups: dict[tuple[int, int], tuple[Any, Any, list[bytes]]] = {}
        foreign: list[ReadableSpan] = []
        for number, span in enumerate(spans, 1):
            if isinstance(span, OwnSpan):
                origin = span._origin
                resource, scope = origin.resource, origin.scope
                data: bytes | None = span.encoded()
            else:
                resource, scope = span.resource, span.instrumentation_scope
                data = encode_plain(span)
            if data is None:
                foreign.append(span)
            else:
                key = (id(resource), id(scope))
                group = groups.get(key)
                if group is None:
                    group = groups[key] = (resource, scope, [])
                group[2].append(data)
            if not number % _BREATH:
                # The interpreter's lock goes to whoever serves a request; it would wait for 5 ms otherwise.
                time.sleep(_BREATH_SECONDS)
        bodies = [self._group(resource, scope, data) for resource, scope, data in groups.values()]
        if foreign:
            bodies.append(encode_spans(foreign).SerializePartialToString())
        return b"".join(bodies)

    def _group(
        self, resource: Resource | None, scope: InstrumentationScope | None, spans: list[bytes]
    ) -> bytes:
        """ResourceSpans of one resource and scope."""
        header, resource_url = (b"", b"") if resource is None else self._resource(resource)
        scope_head, scope_url = self._scope(scope)
        body = header + wire.field(b"\x12", b"".join((scope_head, *spans, scope_url))) + resource_url
        return wire.field(b"\x0a", body)

    def _resource(self, resource: Resource) -> tuple[bytes, bytes]:
        known = self._headers.get(id(resource))
        if known is None:
            attributes = b"".join(
                wire.field(b"\x0a", wire.key_value(name, value))
                for name, value in resource.attributes.items()
            )
            url = wire.text(b"\x1a", resource.schema_url) if resource.schema_url else b""
            if len(self._headers) > 64:
                self._headers.clear()
            # The object is kept, so that its id stays its own.
            known = self._headers[id(resource)] = (resource, wire.field(b"\x0a", attributes), url)
        return known[1], known[2]

    def _scope(self, scope: InstrumentationScope | None) -> tuple[bytes, bytes]:
        if scope is None:
            return b"", b""
        known = self._scopes.get(id(scope))
        if known is None:
            message = ScopeMessage(name=scope.name, version=scope.version or "").SerializeToString()
            url = wire.text(b"\x1a", scope.schema_url) if scope.schema_url else b""
            if len(self._scopes) > 64:
                self._scopes.clear()
            known = self._scopes[id(scope)] = (scope, wire.field(b"\x0a", message), url)
        return known[1], known[2]

    def shutdown(self) -> None:
        """No more is sent."""
        self._inner.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here."""
        return True


class CountingBatchProcessor(BatchSpanProcessor):
    """OpenTelemetry's batch processor, which drops the oldest span when its queue is full: counted."""

    def __init__(self, exporter: SpanExporter, losses: Losses, **settings: Any) -> None:
        super().__init__(exporter, **settings)
        self._losses = losses
        batch = getattr(self, "_batch_processor", None)
        self._queue = getattr(batch, "_queue", None)

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a finished span."""
        queue = self._queue
        if queue is not None and len(queue) == queue.maxlen:
            self._losses.add(QUEUE_FULL)
        super().on_end(span)
