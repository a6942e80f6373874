-- What rules found, one row for each change of a finding; the row with the highest sequence is how it stands.
-- Read it with FINAL.
CREATE TABLE IF NOT EXISTS findings
(
    id String,
    sequence UInt64,
    rule LowCardinality(String),
    rule_version UInt32,
    rule_revision String,
    title String,
    severity LowCardinality(String),
    state LowCardinality(String),
    environment LowCardinality(String),
    application LowCardinality(String),
    service LowCardinality(String),
    services Array(LowCardinality(String)),
    versions Array(String),
    group_columns String COMMENT 'the columns that make the finding what it is, as a JSON object',
    facts String COMMENT 'the latest result row, as a JSON object',
    summary String,
    explanation String,
    remediation_now String,
    remediation_then String,
    remediation_check String,
    first_seen DateTime64(6, 'UTC'),
    last_seen DateTime64(6, 'UTC'),
    opened_at DateTime64(3, 'UTC'),
    last_arrival_at DateTime64(3, 'UTC'),
    updated_at DateTime64(3, 'UTC'),
    resolved_at Nullable(DateTime64(3, 'UTC')),
    resolved_by LowCardinality(String),
    count UInt64,
    value Float64,
    trace_ids Array(String),
    span_ids Array(String)
)
ENGINE = ReplacingMergeTree(sequence)
ORDER BY id
