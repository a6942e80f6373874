"""OpenTelemetry providers: the application's where it has some, otherwise ours with OTLP/HTTP behind them."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from opentelemetry import _logs, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from trueline.instrumentation import semconv
from trueline.instrumentation.exporter import CountingBatchProcessor, OtlpExporter
from trueline.instrumentation.guard import report
from trueline.instrumentation.last_export import LastExport
from trueline.instrumentation.log_exporter import OtlpLogExporter
from trueline.instrumentation.losses import Losses
from trueline.instrumentation.options import Options, is_loopback

#: Spans leave once a second: a finding should not wait for a buffer.
_SCHEDULE_MS = 1000
_QUEUE = 16_384
_BATCH = 2048
last_export = LastExport()
_LOCAL_EXPORTERS = frozenset(
    {
        "ConsoleSpanExporter",
        "ConsoleLogRecordExporter",
        "InMemorySpanExporter",
        "InMemoryLogRecordExporter",
    }
)


def resource(options: Options) -> Resource:
    """The resource of our own providers; standard OTEL_* variables fill what no argument says."""
    attributes: dict[str, Any] = {semconv.PROCESS_KIND: str(options.process_kind)}
    said = {
        semconv.SERVICE_NAME: options.service_name,
        semconv.SERVICE_VERSION: options.service_version,
        semconv.SERVICE_NAMESPACE: options.namespace,
        semconv.DEPLOYMENT_ENVIRONMENT_NAME: options.environment,
    }
    attributes |= {name: value for name, value in said.items() if value}
    return Resource.create(attributes, schema_url=semconv.SCHEMA_URL)


def tracer_provider(
    options: Options, given: trace.TracerProvider | None, losses: Losses
) -> trace.TracerProvider:
    """The provider to use: the given one, the application's, or a new one that becomes the application's."""
    if given is not None:
        return given
    existing = trace.get_tracer_provider()
    if not isinstance(existing, trace.ProxyTracerProvider):
        return existing
    provider = TracerProvider(resource=resource(options), shutdown_on_exit=False)
    for exporter in _exporters("TRACES", lambda: OtlpExporter(losses, _endpoint(options, "TRACES"))):
        if isinstance(getattr(exporter, "losses", None), Losses):
            exporter.losses = losses
        processor = CountingBatchProcessor(
            exporter,
            losses,
            max_queue_size=_QUEUE,
            max_export_batch_size=_BATCH,
            schedule_delay_millis=_SCHEDULE_MS,
        )
        provider.add_span_processor(processor)
        last_export.add(processor, str(getattr(exporter, "_endpoint", "") or ""))
    trace.set_tracer_provider(provider)
    return provider


def logger_provider(options: Options, given: _logs.LoggerProvider | None) -> _logs.LoggerProvider:
    """Likewise for logs."""
    if given is not None:
        return given
    existing = _logs.get_logger_provider()
    if isinstance(existing, LoggerProvider):
        return existing
    provider = LoggerProvider(resource=resource(options), shutdown_on_exit=False)
    for exporter in _exporters("LOGS", lambda: OtlpLogExporter(_endpoint(options, "LOGS"))):
        processor = BatchLogRecordProcessor(
            exporter, max_queue_size=_QUEUE, schedule_delay_millis=_SCHEDULE_MS
        )
        provider.add_log_record_processor(processor)
        last_export.add(processor, str(getattr(exporter, "_endpoint", "") or ""))
    _logs.set_logger_provider(provider)
    return provider


def _endpoint(options: Options, signal: str) -> str | None:
    """Full URL for the exporter; None lets it read the signal's own variable."""
    if os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") and not options.endpoint:
        return None
    return f"{options.base_endpoint}/v1/{signal.lower()}"


def _exporters(signal: str, otlp: Callable[[], Any]) -> list[Any]:
    """Exporters named by OTEL_<signal>_EXPORTER; those that are not OTLP are found by entry point."""
    found: list[Any] = []
    for name in map(str.strip, os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp").split(",")):
        if name in ("otlp", "otlp_proto_http"):
            found.append(otlp())
        elif name and name != "none":
            try:
                (entry_point,) = entry_points(group=f"opentelemetry_{signal.lower()}_exporter", name=name)
                found.append(entry_point.load()())
            except Exception as error:
                report(f"exporter {name}", error)
    return found


def prepend_processor(provider: trace.TracerProvider, processor: SpanProcessor) -> bool:
    """Put ``processor`` before the others, so that a flush or shutdown reaches it first.

    OpenTelemetry only knows how to append; where its inside has changed, last place has to do.
    """
    if not isinstance(provider, TracerProvider):
        return False
    active = provider._active_span_processor
    try:
        with active._lock:
            active._span_processors = (processor, *active._span_processors)
    except AttributeError:
        provider.add_span_processor(processor)
    return True


def remove_processor(provider: trace.TracerProvider, processor: SpanProcessor) -> None:
    """Take ``processor`` out again."""
    active = getattr(provider, "_active_span_processor", None)
    if active is None:
        return
    with active._lock:
        active._span_processors = tuple(p for p in active._span_processors if p is not processor)


def sends_to_loopback_only(*providers: trace.TracerProvider | _logs.LoggerProvider) -> bool:
    """Whether every exporter behind ``providers`` is known to stay on this machine."""
    return all(_stays_here(provider) for provider in providers)


def _stays_here(provider: trace.TracerProvider | _logs.LoggerProvider) -> bool:
    spans = getattr(provider, "_active_span_processor", None)
    records = getattr(provider, "_multi_log_record_processor", None)
    processors = getattr(spans, "_span_processors", getattr(records, "_log_record_processors", None))
    if processors is None:
        return False
    for processor in processors:
        exporter = (
            getattr(processor, "span_exporter", None)
            or getattr(processor, "_exporter", None)
            or getattr(getattr(processor, "_batch_processor", None), "_exporter", None)
        )
        if exporter is None or type(exporter).__name__ in _LOCAL_EXPORTERS:
            continue
        endpoint = getattr(exporter, "_endpoint", None)
        if not isinstance(endpoint, str) or not is_loopback(
            endpoint if "://" in endpoint else f"//{endpoint}"
        ):
            return False
    return True
