-- Who reaches which column in which database how, counted in steps of five minutes: a rule that looks back a day
-- reads some ten thousand rows here instead of twenty million statements. Rows are partial until ClickHouse has
-- merged them, and statements exported before their transaction ended stand apart (open_transaction, open_span,
-- empty for all others): read the view access, which adds up and settles.
CREATE TABLE IF NOT EXISTS access_counts
(
    received_on Date COMMENT 'day of arrival',
    at DateTime('UTC') COMMENT 'five minutes of event time' CODEC(Delta(4), ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    table LowCardinality(String) CODEC(ZSTD(3)),
    domain LowCardinality(String) CODEC(ZSTD(3)),
    access LowCardinality(String) CODEC(ZSTD(3)),
    database LowCardinality(String) CODEC(ZSTD(3)),
    database_schema LowCardinality(String) CODEC(ZSTD(3)),
    database_role LowCardinality(String) CODEC(ZSTD(3)),
    column LowCardinality(String) CODEC(ZSTD(3)),
    clause LowCardinality(String) CODEC(ZSTD(3)),
    encoding LowCardinality(String) CODEC(ZSTD(3)),
    hash_key_id LowCardinality(String) CODEC(ZSTD(3)),
    outcome LowCardinality(String) COMMENT 'as exported' CODEC(ZSTD(3)),
    failed Bool CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    entry_name LowCardinality(String) CODEC(ZSTD(3)),
    open_transaction String CODEC(ZSTD(3)),
    open_span String CODEC(ZSTD(3)),
    uses SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(3)),
    zero_rows SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(3)),
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(3)),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(3)),
    last_received_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta(8), ZSTD(3)),
    database_rungs SimpleAggregateFunction(groupUniqArrayArray, Array(String)) CODEC(ZSTD(3)),
    identities AggregateFunction(uniqCombined(12), String) CODEC(ZSTD(3)),
    sample_identities SimpleAggregateFunction(groupUniqArrayArray(3), Array(String)) CODEC(ZSTD(3)),
    sample_spans SimpleAggregateFunction(groupUniqArrayArray(2), Array(Tuple(String, String)))
        CODEC(ZSTD(3))
)
ENGINE = AggregatingMergeTree
PARTITION BY received_on
PRIMARY KEY (at, environment, application, table)
ORDER BY (
    at, environment, application, table, domain, access, database, database_schema, database_role, column, clause,
    encoding, hash_key_id, outcome, failed, service, version, process_kind, entry_name, open_transaction, open_span
)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1
