-- Adds up versions as statements arrive.
CREATE MATERIALIZED VIEW IF NOT EXISTS service_versions_from_statements TO service_versions AS
SELECT
    environment,
    application,
    service,
    version,
    min(statement_row.started_at) AS first_seen,
    max(statement_row.started_at) AS last_seen
FROM statements AS statement_row
WHERE statement_row.version != ''
GROUP BY environment, application, service, version
