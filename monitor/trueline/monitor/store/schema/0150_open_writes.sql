-- Writes that were exported before their transaction had ended: few rows beside statements, so that those which nothing
-- ever settles can be found by the transaction.
CREATE TABLE IF NOT EXISTS open_writes
(
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    ended_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    table LowCardinality(String) CODEC(ZSTD(3)),
    rows Int64 CODEC(ZSTD(3)),
    entry_name LowCardinality(String) CODEC(ZSTD(3)),
    entry_span_id String CODEC(ZSTD(3)),
    transaction_id String CODEC(ZSTD(3)),
    database LowCardinality(String) CODEC(ZSTD(3)),
    db_namespace LowCardinality(String) CODEC(ZSTD(3)),
    INDEX transaction_id transaction_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
ORDER BY (received_at, service)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
