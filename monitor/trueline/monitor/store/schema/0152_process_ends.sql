-- Processes that have said good-bye: what they left open, nobody will end. One killed says nothing.
CREATE TABLE IF NOT EXISTS process_ends
(
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3))
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
ORDER BY (received_at, service)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
