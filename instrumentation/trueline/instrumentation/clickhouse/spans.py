"""OTEL_TRACES_EXPORTER=clickhouse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from trueline.instrumentation.clickhouse.inserter import Inserter
from trueline.instrumentation.clickhouse.rows import Rows
from trueline.instrumentation.guard import report
from trueline.instrumentation.losses import EXPORT_FAILED, Losses

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


class ClickHouseSpanExporter(SpanExporter):
    """Inserts spans into ``otel_traces``. The queue before it is the batch processor's, and bounded."""

    def __init__(self) -> None:
        self._rows = Rows()
        self._inserter = Inserter("otel_traces")
        self._endpoint = self._inserter.endpoint
        #: Spans that were given up, by reason; instrument() puts the process's own here.
        self.losses = Losses()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Insert one batch; what cannot be stored is counted."""
        stored = 0
        try:
            columns = self._rows.spans(spans)
            count = len(columns.get("SpanId", ()))
            stored = count if not count or self._inserter.insert(columns) else 0
        except Exception as error:
            report("exporter.clickhouse", error)
        finally:
            self.losses.add(EXPORT_FAILED, len(spans) - stored)
        return SpanExportResult.SUCCESS if stored == len(spans) else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """No more is sent."""
        self._inserter.close()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here."""
        return True
