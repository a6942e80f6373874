-- Every change of every finding: who did what, when and why. Rows are only ever added.
CREATE TABLE IF NOT EXISTS finding_events
(
    finding_id String,
    at DateTime64(3, 'UTC'),
    sequence UInt64,
    action LowCardinality(String),
    who String,
    why String,
    state LowCardinality(String)
)
ENGINE = MergeTree
ORDER BY (finding_id, at, sequence)
