"""OpenTelemetry's exporter for log records, made with the first batch: see :mod:`otlp_settings`.

The bytes of a batch are made here, as those of spans are: see :mod:`exporter`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trueline.instrumentation import wire
from trueline.instrumentation.envelope import Envelope, group_of
from trueline.instrumentation.guard import report
from trueline.instrumentation.late import Late
from trueline.instrumentation.log_wire import encode_record
from trueline.instrumentation.otlp_settings import otlp_settings

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter


class OtlpLogExporter:
    """Sends records to ``endpoint`` (a full URL; None: as OTEL_* variables say)."""

    def __init__(self, endpoint: str | None = None) -> None:
        settings = otlp_settings("LOGS", endpoint)
        self._endpoint = settings.endpoint
        self._closed = False
        self._envelope = Envelope()

        def make() -> OTLPLogExporter:
            from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

            return OTLPLogExporter(**settings.arguments())

        self._late = Late("exporter.load_logs", make)
        if settings.at_once:
            self._late.set(make())

    def export(self, batch: Sequence[Any]) -> Any:
        """Send one batch; returns what OpenTelemetry's exporter says of it."""
        from opentelemetry.sdk._logs.export import LogRecordExportResult

        inner = None if self._closed else self._late.get()
        if inner is None:
            return LogRecordExportResult.FAILURE
        send = getattr(getattr(inner, "_client", None), "export", None)
        if send is None:
            return inner.export(batch)
        try:
            body = self.encode(batch)
        except Exception as error:
            report("exporter.encode_logs", error)
            return inner.export(batch)
        return LogRecordExportResult.SUCCESS if send(body).success else LogRecordExportResult.FAILURE

    def encode(self, batch: Sequence[Any]) -> bytes:
        """The body of a request: joined where we can, the rest by OpenTelemetry's encoder."""
        groups: dict[tuple[int, int], tuple[Any, Any, list[bytes]]] = {}
        foreign: list[Any] = []
        for record in batch:
            pieces = encode_record(record)
            if pieces is None:
                foreign.append(record)
            else:
                group_of(groups, record.resource, record.instrumentation_scope).extend(
                    (wire.framed(pieces), *pieces)
                )
        bodies: list[bytes] = []
        for resource, scope, gathered in groups.values():
            bodies += self._envelope.around(resource, scope, gathered)
        if foreign:
            from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs

            bodies.append(encode_logs(foreign).SerializeToString())
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
