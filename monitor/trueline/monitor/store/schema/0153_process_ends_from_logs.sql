-- Fills process_ends from the inventory that a process sends when it ends.
CREATE MATERIALIZED VIEW IF NOT EXISTS process_ends_from_logs TO process_ends AS
SELECT
    received_at,
    request_hash,
    Timestamp AS at,
    multiIf(
        ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'],
        ResourceAttributes['deployment.environment'] != '', ResourceAttributes['deployment.environment'],
        'unset'
    ) AS environment,
    ResourceAttributes['service.namespace'] AS application,
    ServiceName AS service,
    ResourceAttributes['service.instance.id'] AS instance
FROM otel_logs
WHERE (EventName = 'trueline.inventory' OR LogAttributes['event.name'] = 'trueline.inventory')
    AND LogAttributes['trueline.inventory.trigger'] = 'end' AND ResourceAttributes['service.instance.id'] != ''
