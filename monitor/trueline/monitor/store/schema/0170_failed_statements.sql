-- Statements that the database (or its driver) refused: few rows beside statements, so that rules find them without
-- reading those. What became of their transactions is not said here: a refused statement has changed nothing.
CREATE TABLE IF NOT EXISTS failed_statements
(
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    entry_name LowCardinality(String) CODEC(ZSTD(3)),
    kind LowCardinality(String) CODEC(ZSTD(3)),
    operation LowCardinality(String) CODEC(ZSTD(3)),
    tables Array(LowCardinality(String)) CODEC(ZSTD(3)),
    query_text LowCardinality(String) CODEC(ZSTD(3)),
    database LowCardinality(String) CODEC(ZSTD(3)),
    db_system LowCardinality(String) CODEC(ZSTD(3)),
    db_namespace LowCardinality(String) CODEC(ZSTD(3)),
    status_code LowCardinality(String) COMMENT 'SQLSTATE or the vendor''s number' CODEC(ZSTD(3)),
    error_type LowCardinality(String) CODEC(ZSTD(3)),
    message LowCardinality(String) COMMENT 'without values' CODEC(ZSTD(3)),
    constraint_kind LowCardinality(String) CODEC(ZSTD(3)),
    constraint_table LowCardinality(String) CODEC(ZSTD(3)),
    constraint_columns Array(LowCardinality(String)) CODEC(ZSTD(3)),
    orm_session_id String CODEC(ZSTD(3)),
    transaction_id String CODEC(ZSTD(3)),
    INDEX trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
PRIMARY KEY (toStartOfFiveMinutes(started_at), environment, service)
ORDER BY (toStartOfFiveMinutes(started_at), environment, service, started_at)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
