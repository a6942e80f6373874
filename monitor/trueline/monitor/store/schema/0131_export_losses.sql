-- Spans that services made and lost, as their log event trueline.export.loss tells: few rows, so that rules that
-- conclude from absence can ask at any time.
CREATE TABLE IF NOT EXISTS export_losses
(
    received_at DateTime64(3, 'UTC') DEFAULT now64(3),
    started_at DateTime64(3, 'UTC') COMMENT 'lost at this time at the earliest, by the clock of the service',
    ended_at DateTime64(3, 'UTC'),
    environment LowCardinality(String) DEFAULT 'unset',
    application LowCardinality(String),
    service LowCardinality(String),
    instance String,
    reason LowCardinality(String),
    count UInt64
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
ORDER BY (ended_at, environment, application, service)
TTL toDate(received_at) + INTERVAL 30 DAY
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
