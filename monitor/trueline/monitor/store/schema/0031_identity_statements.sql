-- One row for each identity that a statement touches in a table: whose rows were read or written where, in which
-- column and encoding. `set_keys` are all the identity columns that the statement sets, each with its encoding
-- ('expenses.user_id integer'). Rules read the view identity_uses instead, where the outcome is final: here it is
-- as it was exported.
CREATE TABLE IF NOT EXISTS identity_statements
(
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    ended_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    trace_id String CODEC(ZSTD(1)),
    span_id String CODEC(ZSTD(1)),
    status LowCardinality(String),
    environment LowCardinality(String),
    application LowCardinality(String),
    service LowCardinality(String),
    version LowCardinality(String),
    process_kind LowCardinality(String),
    access LowCardinality(String),
    table LowCardinality(String),
    column LowCardinality(String),
    clause LowCardinality(String),
    encoding LowCardinality(String),
    domain LowCardinality(String),
    identity String CODEC(ZSTD(1)),
    hash_key_id LowCardinality(String),
    set_keys Array(LowCardinality(String)) CODEC(ZSTD(1)),
    rows Int64 CODEC(ZSTD(1)),
    database LowCardinality(String),
    database_rungs Array(LowCardinality(String)) CODEC(ZSTD(1)),
    database_role LowCardinality(String),
    database_schema LowCardinality(String),
    database_url LowCardinality(String),
    database_url_variable LowCardinality(String),
    db_system LowCardinality(String),
    db_namespace LowCardinality(String),
    entry_name LowCardinality(String),
    query_text LowCardinality(String),
    transaction_id String CODEC(ZSTD(1)),
    exported_outcome LowCardinality(String),
    INDEX identity identity TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
PRIMARY KEY (toStartOfFiveMinutes(started_at), environment, table, identity)
ORDER BY (toStartOfFiveMinutes(started_at), environment, table, identity, started_at)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
