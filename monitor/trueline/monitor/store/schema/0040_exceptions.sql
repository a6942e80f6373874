-- One row for each exception that a span event or a log record tells of.
CREATE TABLE IF NOT EXISTS exceptions
(
    received_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    source LowCardinality(String) COMMENT 'span or log',
    environment LowCardinality(String),
    application LowCardinality(String),
    service LowCardinality(String),
    version LowCardinality(String),
    process_kind LowCardinality(String),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    exception_type LowCardinality(String),
    exception_message String CODEC(ZSTD(3)),
    escaped Bool COMMENT 'the exception left the span (false where unknown)',
    INDEX trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
PRIMARY KEY (toStartOfFiveMinutes(at), environment, service)
ORDER BY (toStartOfFiveMinutes(at), environment, service, at)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
