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
    groupUniqArrayArray(d.database_rungs) AS database_rungs,
    groupUniqArrayArray(d.versions) AS versions,
    min(d.first_seen) AS first_seen,
    max(d.last_seen) AS last_seen,
    max(d.last_received_at) AS last_received_at,
    sum(d.reads) AS reads,
    sum(d.writes) AS writes
FROM database_sightings AS d
GROUP BY
    environment, application, service, process_kind, database, database_schema, database_role, database_url,
    database_url_variable, db_system, db_namespace
