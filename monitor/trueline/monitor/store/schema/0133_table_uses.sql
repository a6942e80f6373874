-- Who reads and writes which table in which database, counted in steps of five minutes, with or without an identity:
-- beside access_counts, which knows identities and no process. Rows are partial until ClickHouse has merged them, and
-- statements exported before their transaction ended stand apart: read the view traffic, which adds up and settles.
CREATE TABLE IF NOT EXISTS table_uses
(
    received_on Date COMMENT 'day of arrival',
    at DateTime('UTC') COMMENT 'five minutes of event time' CODEC(Delta(4), ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    table LowCardinality(String) CODEC(ZSTD(3)),
    access LowCardinality(String) COMMENT 'read, write, rename' CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3)),
    database LowCardinality(String) CODEC(ZSTD(3)),
    database_schema LowCardinality(String) CODEC(ZSTD(3)),
    outcome LowCardinality(String) COMMENT 'as exported' CODEC(ZSTD(3)),
    open_transaction String CODEC(ZSTD(3)),
    open_span String CODEC(ZSTD(3)),
    uses SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(3)),
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(3)),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(3)),
    last_received_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta(8), ZSTD(3)),
    database_rungs SimpleAggregateFunction(groupUniqArrayArray, Array(String)) CODEC(ZSTD(3))
)
ENGINE = AggregatingMergeTree
PARTITION BY received_on
PRIMARY KEY (at, environment, application, table)
ORDER BY (
    at, environment, application, table, access, service, process_kind, instance, database, database_schema, outcome,
    open_transaction, open_span
)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
