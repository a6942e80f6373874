-- Which occurrences each finding has, so that none is counted twice. One row each once merged.
CREATE TABLE IF NOT EXISTS finding_occurrences
(
    finding_id String,
    occurrence String,
    added_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree
ORDER BY (finding_id, occurrence)
