-- What lists are filtered by, taken from group and facts; who has taken a finding on; the deploy it began with.
ALTER TABLE findings
    ADD COLUMN IF NOT EXISTS tables Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS databases Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS identities Array(String),
    ADD COLUMN IF NOT EXISTS acknowledged_by String,
    ADD COLUMN IF NOT EXISTS since String COMMENT 'the deploy that it began with, as a JSON object; empty if not known'
