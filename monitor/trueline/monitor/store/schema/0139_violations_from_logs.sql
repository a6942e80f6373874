-- Fills violation_statements from log records that tell of a refused row, for services whose statements nobody sees. The
-- span_kind is 'log', and the span_id one of the record's own. Rules leave these out where spans tell of violations too.
CREATE MATERIALIZED VIEW IF NOT EXISTS violations_from_logs TO violation_statements AS
SELECT
    received_at,
    request_hash,
    toDateTime64(Timestamp, 9, 'UTC') AS started_at,
    toDateTime64(Timestamp, 9, 'UTC') AS ended_at,
    lower(TraceId) AS trace_id,
    lower(hex(sipHash64(ServiceName, TraceId, SpanId, toUnixTimestamp64Nano(Timestamp), Body))) AS span_id,
    lower(SpanId) AS parent_span_id,
    'log' AS span_kind,
    'error' AS status,
    ServiceName AS service,
    ResourceAttributes['service.namespace'] AS application,
    ResourceAttributes['service.version'] AS version,
    ResourceAttributes['service.instance.id'] AS instance,
    multiIf(
        ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'],
        ResourceAttributes['deployment.environment'] != '', ResourceAttributes['deployment.environment'],
        'unset'
    ) AS environment,
    ResourceAttributes['trueline.process.kind'] AS process_kind,
    'write' AS kind,
    [LogAttributes['trueline.constraint.table']] AS tables,
    JSONExtract(LogAttributes['trueline.identity.bound'], 'Array(String)') AS identity_bound,
    LogAttributes['trueline.hash.key_id'] AS hash_key_id,
    LogAttributes['trueline.entry.name'] AS entry_name,
    'unknown' AS outcome,
    LogAttributes['trueline.constraint.name'] AS constraint_name,
    LogAttributes['trueline.constraint.kind'] AS constraint_kind,
    LogAttributes['trueline.constraint.table'] AS constraint_table,
    JSONExtract(LogAttributes['trueline.constraint.columns'], 'Array(String)') AS constraint_columns,
    LogAttributes['db.response.status_code'] AS error_type,
    LogAttributes['db.response.status_code'] AS status_code,
    LogAttributes['exception.type'] AS exception_type
FROM otel_logs
WHERE LogAttributes['trueline.constraint.kind'] != '' OR LogAttributes['trueline.constraint.name'] != ''
    OR startsWith(LogAttributes['db.response.status_code'], '23')
