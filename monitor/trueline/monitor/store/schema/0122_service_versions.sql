-- When each version of each service executed its first and its last statement. Rows are partial until merged.
CREATE TABLE IF NOT EXISTS service_versions
(
    environment LowCardinality(String) DEFAULT 'unset',
    application LowCardinality(String),
    service LowCardinality(String),
    version String,
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC'))
)
ENGINE = AggregatingMergeTree
ORDER BY (environment, application, service, version)
SETTINGS non_replicated_deduplication_window = 1000
