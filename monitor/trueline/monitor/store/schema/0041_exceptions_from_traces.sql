-- Fills exceptions from the events of arriving spans.
CREATE MATERIALIZED VIEW IF NOT EXISTS exceptions_from_traces TO exceptions AS
SELECT
    received_at,
    request_hash,
    event.1 AS at,
    'span' AS source,
    multiIf(
        ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'],
        ResourceAttributes['deployment.environment'] != '', ResourceAttributes['deployment.environment'],
        'unset'
    ) AS environment,
    ResourceAttributes['service.namespace'] AS application,
    ServiceName AS service,
    ResourceAttributes['service.version'] AS version,
    ResourceAttributes['trueline.process.kind'] AS process_kind,
    lower(TraceId) AS trace_id,
    lower(SpanId) AS span_id,
    event.3['exception.type'] AS exception_type,
    event.3['exception.message'] AS exception_message,
    lower(event.3['exception.escaped']) = 'true' AS escaped
FROM otel_traces
ARRAY JOIN arrayZip(Events.Timestamp, Events.Name, Events.Attributes) AS event
WHERE has(Events.Name, 'exception') AND event.2 = 'exception'
