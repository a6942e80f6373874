-- Fills exceptions from arriving log records that carry one.
CREATE MATERIALIZED VIEW IF NOT EXISTS exceptions_from_logs TO exceptions AS
SELECT
    received_at,
    request_hash,
    Timestamp AS at,
    'log' AS source,
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
    LogAttributes['exception.type'] AS exception_type,
    LogAttributes['exception.message'] AS exception_message,
    lower(LogAttributes['exception.escaped']) = 'true' AS escaped
FROM otel_logs
WHERE LogAttributes['exception.type'] != ''
