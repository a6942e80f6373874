"""What a service did under Trueline, as rules see it: its spans through the receiver's decoder into a store.

Several services of one test run in this process one after the other; :func:`send` says whose spans they are
and when they happened.
"""

from __future__ import annotations

from datetime import timedelta

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from support.recorder import Recorder

from trueline.monitor.otlp.decode import decode_traces
from trueline.monitor.store.client import Store


def send(
    store: Store,
    recorder: Recorder,
    service: str,
    *,
    version: str = "1.0",
    ago: timedelta = timedelta(0),
) -> None:
    """Store the spans that were recorded since the last time, as those of a service ``ago``."""
    message = encode_spans(recorder.spans())
    recorder.clear()
    shift = int(ago.total_seconds() * 1e9)
    for resource in message.resource_spans:
        del resource.resource.attributes[:]
        for name, value in {
            "service.name": service,
            "service.version": version,
            "service.instance.id": f"{service}-1",
            "deployment.environment.name": "prod",
            "trueline.process.kind": "web",
        }.items():
            resource.resource.attributes.add(key=name).value.string_value = value
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.start_time_unix_nano -= shift
                span.end_time_unix_nano -= shift
    batch = decode_traces(message)
    assert batch.rejected == 0, batch.rejection
    store.insert(batch.table, batch.columns)
