-- What the caller named its request: the same request sent again changes nothing.
ALTER TABLE finding_events ADD COLUMN IF NOT EXISTS request_id String
