-- What was to be told to whom and how that went. The row with the highest sequence of a target and key is how it
-- stands: pending ones are sent (again) after a restart.
CREATE TABLE IF NOT EXISTS notifications
(
    target LowCardinality(String),
    key String COMMENT 'the finding or incident',
    sequence UInt64,
    at DateTime64(3, 'UTC'),
    status LowCardinality(String) COMMENT 'firing or resolved',
    digest String COMMENT 'of what the message says: the same is not sent twice in a row',
    result LowCardinality(String) COMMENT 'pending, sent or refused',
    answer String,
    members Array(String) COMMENT 'the findings that it told of as firing'
)
ENGINE = ReplacingMergeTree(sequence)
ORDER BY (target, key)
