-- How transactions ended of which statements had been exported as 'open': few rows beside transactions, so that
-- statements_resolved joins with little.
CREATE TABLE IF NOT EXISTS settlements
(
    received_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    transaction_id String CODEC(ZSTD(3)),
    outcome LowCardinality(String),
    reason LowCardinality(String),
    error_type LowCardinality(String),
    undone Array(String) CODEC(ZSTD(3))
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
ORDER BY transaction_id
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
