-- What a window's judgement could not be sure of: groups that were withheld, and why; clocks; what was given up.
-- `sequence` orders a rule's lines whatever the clock does.
ALTER TABLE rule_runs
    ADD COLUMN IF NOT EXISTS withheld UInt32 DEFAULT 0,
    ADD COLUMN IF NOT EXISTS note String DEFAULT '',
    ADD COLUMN IF NOT EXISTS sequence UInt64 DEFAULT 0
