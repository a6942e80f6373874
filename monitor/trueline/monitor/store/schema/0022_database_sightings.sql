-- Which process was seen on which database, added up. Read the view `databases` instead: these rows are partial
-- until ClickHouse has merged them.
CREATE TABLE IF NOT EXISTS database_sightings
(
    environment LowCardinality(String) DEFAULT 'unset',
    application LowCardinality(String),
    service LowCardinality(String),
    process_kind LowCardinality(String),
    database LowCardinality(String),
    database_schema LowCardinality(String),
    database_role LowCardinality(String),
    database_url LowCardinality(String),
    database_url_variable LowCardinality(String),
    db_system LowCardinality(String),
    db_namespace LowCardinality(String),
    arrived DateTime('UTC') DEFAULT toStartOfHour(toDateTime(last_received_at)) COMMENT 'hour of arrival',
    database_rungs SimpleAggregateFunction(groupUniqArrayArray, Array(String)),
    versions SimpleAggregateFunction(groupUniqArrayArray, Array(String)),
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC')),
    last_received_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    reads SimpleAggregateFunction(sum, UInt64),
    writes SimpleAggregateFunction(sum, UInt64)
)
ENGINE = AggregatingMergeTree
ORDER BY (
    environment, application, service, process_kind, database, database_schema, database_role, database_url,
    database_url_variable, db_system, db_namespace, arrived
)
SETTINGS non_replicated_deduplication_window = 1000
