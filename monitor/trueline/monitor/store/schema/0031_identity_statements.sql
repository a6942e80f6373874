-- One row for each identity that a statement touches in a table: whose rows were read or written where, in which
-- column and encoding. `set_keys` are all the identity columns that the statement sets, each with its encoding
-- ('expenses.user_id integer'). Rules read the view identity_uses instead, where the outcome is final: here it is
-- as it was exported. All that is known of one identity stands together, in the order in which it happened: its life
-- is read in one small granule of each part, and of a busy identity (a tenant) any time of it. Who was touched
-- lately, or in one trace, is not found here but in the view identity_arrivals.
CREATE TABLE IF NOT EXISTS identity_statements
(
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    duration UInt64 COMMENT 'nanoseconds' CODEC(T64, ZSTD(3)),
    ended_at DateTime64(9, 'UTC')
        ALIAS fromUnixTimestamp64Nano(toUnixTimestamp64Nano(started_at) + toInt64(duration), 'UTC'),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    status LowCardinality(String) CODEC(ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    access LowCardinality(String) CODEC(ZSTD(3)),
    table LowCardinality(String) CODEC(ZSTD(3)),
    column LowCardinality(String) CODEC(ZSTD(3)),
    clause LowCardinality(String) CODEC(ZSTD(3)),
    encoding LowCardinality(String) CODEC(ZSTD(3)),
    domain LowCardinality(String) CODEC(ZSTD(3)),
    identity String CODEC(ZSTD(3)),
    hash_key_id LowCardinality(String) CODEC(ZSTD(3)),
    set_keys Array(LowCardinality(String)) CODEC(ZSTD(3)),
    rows Int64 CODEC(ZSTD(3)),
    database LowCardinality(String) CODEC(ZSTD(3)),
    database_rungs Array(LowCardinality(String)) CODEC(ZSTD(3)),
    database_role LowCardinality(String) CODEC(ZSTD(3)),
    database_schema LowCardinality(String) CODEC(ZSTD(3)),
    database_url LowCardinality(String) CODEC(ZSTD(3)),
    database_url_variable LowCardinality(String) CODEC(ZSTD(3)),
    db_system LowCardinality(String) CODEC(ZSTD(3)),
    db_namespace LowCardinality(String) CODEC(ZSTD(3)),
    entry_name LowCardinality(String) CODEC(ZSTD(3)),
    query_text LowCardinality(String) CODEC(ZSTD(3)),
    transaction_id String CODEC(ZSTD(3)),
    exported_outcome LowCardinality(String) CODEC(ZSTD(3))
)
ENGINE = MergeTree
PARTITION BY toDate(received_at)
ORDER BY (identity, started_at)
SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
