-- One row for each call of a model: a GenAI span of any convention, or HTTP to a known provider.
-- Made by trueline.monitor.store.generate from the telemetry contract: change that, not this file.
CREATE TABLE IF NOT EXISTS ai_calls
(
    received_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(1)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    ended_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    parent_span_id String CODEC(ZSTD(1)),
    span_name LowCardinality(String),
    span_kind LowCardinality(String),
    status LowCardinality(String),
    status_message String CODEC(ZSTD(1)),
    service LowCardinality(String),
    application LowCardinality(String),
    version LowCardinality(String),
    instance String CODEC(ZSTD(1)),
    environment LowCardinality(String) DEFAULT 'unset',
    process_kind LowCardinality(String),
    identity_bound Array(String) CODEC(ZSTD(1)),
    entry_name LowCardinality(String),
    entry_span_id String CODEC(ZSTD(1)),
    error_type LowCardinality(String),
    server_address LowCardinality(String),
    server_port Int64 CODEC(ZSTD(1)),
    http_status Int64 CODEC(ZSTD(1)),
    operation LowCardinality(String),
    provider LowCardinality(String),
    model LowCardinality(String),
    finish_reasons Array(LowCardinality(String)) CODEC(ZSTD(1)),
    output_tokens Int64 CODEC(ZSTD(1)),
    exception_type LowCardinality(String),
    exception_message String CODEC(ZSTD(1)),
    failed Bool,
    INDEX trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
PRIMARY KEY (toStartOfFiveMinutes(started_at), environment, service)
ORDER BY (toStartOfFiveMinutes(started_at), environment, service, started_at)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
