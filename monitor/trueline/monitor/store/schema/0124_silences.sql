-- Each change of each silence: the row with the highest sequence is how it stands, all of them are its history.
CREATE TABLE IF NOT EXISTS silences
(
    id String,
    sequence UInt64,
    at DateTime64(3, 'UTC'),
    action LowCardinality(String) COMMENT 'created, changed or ended',
    who String,
    matchers String COMMENT 'a JSON array of label, op and value',
    starts_at DateTime64(3, 'UTC'),
    ends_at DateTime64(3, 'UTC'),
    author String,
    reason String,
    created_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (id, sequence)
