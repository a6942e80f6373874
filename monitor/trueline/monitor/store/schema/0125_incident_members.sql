-- Which incident a finding is in, one row for each change, and with an empty finding_id: which incident was merged
-- into which. Rows are only ever added.
CREATE TABLE IF NOT EXISTS incident_members
(
    finding_id String,
    incident_id String,
    merged_from String,
    sequence UInt64,
    at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (finding_id, sequence)
