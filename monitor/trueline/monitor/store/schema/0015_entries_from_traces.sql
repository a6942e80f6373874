-- Fills entries from arriving spans. No expression in it can fail, whatever a client
-- sends: an error here would refuse the whole batch.
-- Made by trueline.monitor.store.generate from the telemetry contract: change that, not this file.
CREATE MATERIALIZED VIEW IF NOT EXISTS entries_from_traces TO entries AS
SELECT
    received_at AS received_at,
    request_hash AS request_hash,
    Timestamp AS started_at,
    fromUnixTimestamp64Nano(toUnixTimestamp64Nano(Timestamp) + toInt64(least(Duration, 31622400000000000)), 'UTC') AS ended_at,
    lower(TraceId) AS trace_id,
    lower(SpanId) AS span_id,
    lower(ParentSpanId) AS parent_span_id,
    SpanName AS span_name,
    lower(replaceOne(SpanKind, 'SPAN_KIND_', '')) AS span_kind,
    multiIf(StatusCode IN ('Error', 'STATUS_CODE_ERROR'), 'error', StatusCode IN ('Ok', 'STATUS_CODE_OK'), 'ok', 'unset') AS status,
    StatusMessage AS status_message,
    ServiceName AS service,
    ResourceAttributes['service.namespace'] AS application,
    ResourceAttributes['service.version'] AS version,
    ResourceAttributes['service.instance.id'] AS instance,
    if(multiIf(ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'], ResourceAttributes['deployment.environment']) = '', 'unset', multiIf(ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'], ResourceAttributes['deployment.environment'])) AS environment,
    ResourceAttributes['trueline.process.kind'] AS process_kind,
    JSONExtract(SpanAttributes['trueline.identity.bound'], 'Array(String)') AS identity_bound,
    SpanAttributes['trueline.hash.key_id'] AS hash_key_id,
    SpanAttributes['error.type'] AS error_type,
    SpanAttributes['trueline.entry.kind'] AS entry_kind,
    SpanAttributes['trueline.job.outcome'] AS job_outcome,
    multiIf(SpanAttributes['http.request.method'] != '', SpanAttributes['http.request.method'], SpanAttributes['http.method']) AS http_method,
    SpanAttributes['http.route'] AS http_route,
    toInt64OrZero(multiIf(SpanAttributes['http.response.status_code'] != '', SpanAttributes['http.response.status_code'], SpanAttributes['http.status_code'])) AS http_status,
    SpanAttributes['trueline.request.client_gone'] = 'true' AS client_gone,
    SpanAttributes['messaging.message.id'] AS message_id,
    arrayFirst((attributes, name) -> name = 'exception', Events.Attributes, Events.Name)['exception.type'] AS exception_type,
    arrayFirst((attributes, name) -> name = 'exception', Events.Attributes, Events.Name)['exception.message'] AS exception_message,
    StatusCode IN ('Error', 'STATUS_CODE_ERROR') OR toInt64OrZero(multiIf(SpanAttributes['http.response.status_code'] != '', SpanAttributes['http.response.status_code'], SpanAttributes['http.status_code'])) >= 500 AS failed
FROM otel_traces
WHERE (ParentSpanId = '' OR SpanKind IN ('Server', 'SPAN_KIND_SERVER', 'Consumer', 'SPAN_KIND_CONSUMER') OR SpanAttributes['trueline.entry.kind'] != '') AND NOT SpanAttributes['trueline.statement.kind'] != ''
