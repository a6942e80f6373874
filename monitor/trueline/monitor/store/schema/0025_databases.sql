-- Which process talks to which database: one row for each service, kind of process, database, schema and URL.
CREATE OR REPLACE VIEW databases AS
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
    groupUniqArrayArray(sighting_row.database_rungs) AS database_rungs,
    groupUniqArrayArray(sighting_row.versions) AS versions,
    min(sighting_row.first_seen) AS first_seen,
    max(sighting_row.last_seen) AS last_seen,
    max(sighting_row.last_received_at) AS last_received_at,
    sum(sighting_row.reads) AS reads,
    sum(sighting_row.writes) AS writes
FROM database_sightings AS sighting_row
GROUP BY
    environment, application, service, process_kind, database, database_schema, database_role, database_url,
    database_url_variable, db_system, db_namespace
