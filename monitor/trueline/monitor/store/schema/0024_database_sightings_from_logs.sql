-- Enters a process's first connection, which its log event trueline.database.connected tells before any statement.
CREATE MATERIALIZED VIEW IF NOT EXISTS database_sightings_from_logs TO database_sightings AS
SELECT
    multiIf(
        ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'],
        ResourceAttributes['deployment.environment'] != '', ResourceAttributes['deployment.environment'],
        'unset'
    ) AS environment,
    ResourceAttributes['service.namespace'] AS application,
    ServiceName AS service,
    ResourceAttributes['trueline.process.kind'] AS process_kind,
    LogAttributes['trueline.database.fingerprint'] AS database,
    LogAttributes['trueline.database.schema'] AS database_schema,
    LogAttributes['trueline.database.role'] AS database_role,
    LogAttributes['trueline.database.url'] AS database_url,
    LogAttributes['trueline.database.url_variable'] AS database_url_variable,
    LogAttributes['db.system.name'] AS db_system,
    LogAttributes['db.namespace'] AS db_namespace,
    toStartOfHour(toDateTime(log_row.received_at, 'UTC')) AS arrived,
    groupUniqArrayArray(
        JSONExtract(LogAttributes['trueline.database.fingerprints'], 'Array(String)')
    ) AS database_rungs,
    groupUniqArrayArray(
        if(ResourceAttributes['service.version'] = '', [], [ResourceAttributes['service.version']])
    ) AS versions,
    min(Timestamp) AS first_seen,
    max(Timestamp) AS last_seen,
    max(log_row.received_at) AS last_received_at,
    toUInt64(0) AS reads,
    toUInt64(0) AS writes
FROM otel_logs AS log_row
WHERE (EventName = 'trueline.database.connected' OR LogAttributes['event.name'] = 'trueline.database.connected')
    AND LogAttributes['trueline.database.fingerprint'] != ''
GROUP BY
    environment, application, service, process_kind, database, database_schema, database_role, database_url,
    database_url_variable, db_system, db_namespace, arrived
