-- Counts reads and writes of each process on each database as statements arrive.
CREATE MATERIALIZED VIEW IF NOT EXISTS database_sightings_from_statements TO database_sightings AS
SELECT
    environment,
    application,
    service,
    process_kind,
    database,
    database_schema,
    database_role,
    database_url,
    database_url_variable,
    db_system,
    db_namespace,
    toStartOfHour(toDateTime(statement_row.received_at, 'UTC')) AS arrived,
    groupUniqArrayArray(statement_row.database_rungs) AS database_rungs,
    groupUniqArrayArray(if(statement_row.version = '', [], [toString(statement_row.version)])) AS versions,
    min(statement_row.started_at) AS first_seen,
    max(statement_row.started_at) AS last_seen,
    max(statement_row.received_at) AS last_received_at,
    toUInt64(countIf(statement_row.kind = 'read')) AS reads,
    toUInt64(countIf(statement_row.kind = 'write')) AS writes
FROM statements AS statement_row
WHERE statement_row.database != ''
GROUP BY
    environment, application, service, process_kind, database, database_schema, database_role, database_url,
    database_url_variable, db_system, db_namespace, arrived
