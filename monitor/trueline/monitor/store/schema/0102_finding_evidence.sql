-- The spans and log records that prove a finding, copied so that they outlive the raw tables.
CREATE TABLE IF NOT EXISTS finding_evidence
(
    finding_id String,
    item_id String COMMENT 'the span id; a hash for a log record',
    kind LowCardinality(String) COMMENT 'span or log',
    named Bool COMMENT 'whether the rule named it, or it stands in the same trace',
    trace_id String,
    span_id String,
    parent_span_id String,
    at DateTime64(9, 'UTC'),
    duration_ns UInt64,
    service LowCardinality(String),
    version LowCardinality(String),
    name String,
    status LowCardinality(String) COMMENT 'ok, error or unset; the severity of a log record',
    status_message String,
    outcome LowCardinality(String) COMMENT 'of the transaction, as it was settled by the time of copying',
    reason LowCardinality(String),
    attributes Map(LowCardinality(String), String),
    copied_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(copied_at)
ORDER BY (finding_id, item_id)
