"""Small OTLP requests for tests."""

from __future__ import annotations

import os
import time

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}


def trace_request(
    *trace_ids: bytes, service: str = "test", name: str = "a span"
) -> ExportTraceServiceRequest:
    """One span for each trace id, of now."""
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    spans = resource.scope_spans.add().spans
    now = time.time_ns()
    for trace_id in trace_ids:
        spans.add(
            trace_id=trace_id,
            span_id=os.urandom(8),
            name=name,
            kind=2,
            start_time_unix_nano=now - 1_000_000,
            end_time_unix_nano=now,
        )
    return message


def log_request(trace_id: bytes, body: str) -> ExportLogsServiceRequest:
    """One log record of now."""
    message = ExportLogsServiceRequest()
    resource = message.resource_logs.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "test"
    record = resource.scope_logs.add().log_records.add(time_unix_nano=time.time_ns(), trace_id=trace_id)
    record.body.string_value = body
    return message
