-- One row for each call of a model: a GenAI span of any convention, or HTTP to a known provider.
-- Attempts inside a call are none.
-- Made by trueline.monitor.store.generate from the telemetry contract: change that, not this file.
CREATE TABLE IF NOT EXISTS ai_calls
(
    received_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    ended_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    parent_span_id String CODEC(ZSTD(3)),
    span_name LowCardinality(String) CODEC(ZSTD(3)),
    span_kind LowCardinality(String) CODEC(ZSTD(3)),
    status LowCardinality(String) CODEC(ZSTD(3)),
    status_message String CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3)),
    environment LowCardinality(String) DEFAULT 'unset' CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    identity_bound Array(String) CODEC(ZSTD(3)),
    entry_name LowCardinality(String) CODEC(ZSTD(3)),
    entry_span_id String CODEC(ZSTD(3)),
    error_type LowCardinality(String) CODEC(ZSTD(3)),
    server_address LowCardinality(String) CODEC(ZSTD(3)),
    server_port Int64 CODEC(ZSTD(3)),
    http_status Int64 CODEC(ZSTD(3)),
    operation LowCardinality(String) CODEC(ZSTD(3)),
    provider LowCardinality(String) CODEC(ZSTD(3)),
    model LowCardinality(String) CODEC(ZSTD(3)),
    finish_reasons Array(LowCardinality(String)) CODEC(ZSTD(3)),
    output_tokens Int64 CODEC(ZSTD(3)),
    role LowCardinality(String) CODEC(ZSTD(3)),
    problem LowCardinality(String) CODEC(ZSTD(3)),
    attempts Int64 CODEC(ZSTD(3)),
    fallback LowCardinality(String) CODEC(ZSTD(3)),
    exception_type LowCardinality(String) CODEC(ZSTD(3)),
    exception_message String CODEC(ZSTD(3)),
    failed Bool CODEC(ZSTD(3)),
    INDEX trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
PRIMARY KEY (toStartOfFiveMinutes(started_at), environment, service)
ORDER BY (toStartOfFiveMinutes(started_at), environment, service, trace_id, started_at)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
