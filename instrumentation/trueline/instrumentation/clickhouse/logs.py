"""OTEL_LOGS_EXPORTER=clickhouse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

from trueline.instrumentation.clickhouse.inserter import Inserter
from trueline.instrumentation.clickhouse.rows import Rows
from trueline.instrumentation.guard import report
from trueline.instrumentation.losses import EXPORT_FAILED

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadableLogRecord


class ClickHouseLogExporter(LogRecordExporter):
    """Inserts log records into ``otel_logs``. The queue before it is the batch processor's, and bounded."""

    def __init__(self) -> None:
        self._rows = Rows()
        self._inserter = Inserter("otel_logs")
        self._endpoint = self._inserter.endpoint
        #: Records that were given up, by reason.
        self.dropped: Counter[str] = Counter()

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        """Insert one batch; what cannot be stored is counted."""
        stored = False
        try:
            stored = not batch or self._inserter.insert(self._rows.logs(batch))
        except Exception as error:
            report("exporter.clickhouse_logs", error)
        if stored:
            return LogRecordExportResult.SUCCESS
        self.dropped[EXPORT_FAILED] += len(batch)
        return LogRecordExportResult.FAILURE

    def shutdown(self) -> None:
        """No more is sent."""
        self._inserter.close()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is kept here."""
        return True
