-- How often each operation (the entries of one name in one service) ran, and how often its transactions committed a
-- write to which table, in steps of five minutes: what an operation nearly always writes is known without a join of all entries with all
-- transactions. Two kinds of rows: of entries (no table), and of commits by table. Rows are partial until merged.
CREATE TABLE IF NOT EXISTS operation_counts
(
    received_on Date COMMENT 'day of arrival',
    at DateTime('UTC') COMMENT 'five minutes of event time' CODEC(Delta(4), ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    operation LowCardinality(String) CODEC(ZSTD(3)),
    table LowCardinality(String) CODEC(ZSTD(3)),
    entries SimpleAggregateFunction(sum, UInt64) COMMENT 'that did not tell of a failure' CODEC(T64, ZSTD(3)),
    failed SimpleAggregateFunction(sum, UInt64) COMMENT 'that did' CODEC(T64, ZSTD(3)),
    writers SimpleAggregateFunction(sum, UInt64) COMMENT 'entries that committed' CODEC(T64, ZSTD(3))
)
ENGINE = AggregatingMergeTree
PARTITION BY received_on
PRIMARY KEY (at, environment, application, service)
ORDER BY (at, environment, application, service, operation, table)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
