"""Log records encoded by us are those that OpenTelemetry's encoder makes."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from trueline.instrumentation.log_exporter import OtlpLogExporter
from trueline.instrumentation.log_wire import encode_record


class Kept(LogRecordProcessor):
    def __init__(self) -> None:
        self.records: list[Any] = []

    def on_emit(self, log_record: Any) -> None:
        self.records.append(log_record)

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


AROUND = set_span_in_context(NonRecordingSpan(SpanContext(1 << 100, 77, False, TraceFlags(1))))
RECORDS: dict[str, dict[str, Any]] = {
    "event": {
        "timestamp": 5,
        "observed_timestamp": 6,
        "context": AROUND,
        "severity_number": SeverityNumber.INFO,
        "severity_text": "INFO",
        "body": "a transaction was committed",
        "attributes": {"tables": ("expenses", "\xe4"), "ok": True, "rows": -3, "share": 0.5, "key": b"\x00"},
        "event_name": "trueline.write.committed",
    },
    "plain": {"observed_timestamp": 6, "body": "nothing else"},
    "numbers": {"timestamp": 1 << 60, "observed_timestamp": 1, "body": 12, "attributes": {"n": [1, 2]}},
    "structured": {"observed_timestamp": 6, "body": {"a": 1}},
    "mapping": {"observed_timestamp": 6, "body": "x", "attributes": {"a": {"b": 1}}},
}


def batch(*names: str) -> list[Any]:
    kept = Kept()
    provider = LoggerProvider(Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_log_record_processor(kept)
    for name in names:
        provider.get_logger("scope", "1", "https://schema").emit(LogRecord(**RECORDS[name]))
    return kept.records


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_says_the_same(name: str) -> None:
    records = batch(name)
    (expected,) = (
        record
        for resource in encode_logs(records).resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    )
    ours = ExportLogsServiceRequest.FromString(OtlpLogExporter().encode(records))
    ((resource,),) = (ours.resource_logs,)
    assert list(resource.scope_logs[0].log_records) == [expected]
    assert encode_logs(records).resource_logs[0].resource == resource.resource
    assert encode_logs(records).resource_logs[0].scope_logs[0].scope == resource.scope_logs[0].scope
    assert (encode_record(records[0]) is None) == (name in ("structured", "mapping"))


def test_a_batch_is_whole() -> None:
    records = batch(*RECORDS, *RECORDS)
    ours = ExportLogsServiceRequest.FromString(OtlpLogExporter().encode(records))
    bodies = [r for one in ours.resource_logs for scope in one.scope_logs for r in scope.log_records]
    assert len(bodies) == len(records)
