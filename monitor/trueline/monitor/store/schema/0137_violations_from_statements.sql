-- Fills violation_statements as statements arrive.
CREATE MATERIALIZED VIEW IF NOT EXISTS violations_from_statements TO violation_statements AS
SELECT *
FROM statements
WHERE status = 'error' AND (constraint_name != '' OR constraint_kind != '' OR startsWith(status_code, '23'))
