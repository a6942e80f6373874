-- The coverage ledger: which arrivals each revision of each rule has judged, and how that went.
CREATE TABLE IF NOT EXISTS rule_runs
(
    rule LowCardinality(String),
    version UInt32,
    revision LowCardinality(String),
    start DateTime64(3, 'UTC'),
    end DateTime64(3, 'UTC'),
    result LowCardinality(String) COMMENT 'ok, error (to be tried again) or skipped (given up)',
    rows UInt32 COMMENT 'groups that the query returned',
    ms Float64,
    error String,
    at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
PARTITION BY toDate(at)
ORDER BY (rule, revision, end)
TTL toDate(at) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1
