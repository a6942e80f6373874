-- Fills export_losses from arriving log records. No expression in it can fail, whatever a client sends. A loss without
-- a time that makes sense is taken for the ten seconds that services leave between two reports.
CREATE MATERIALIZED VIEW IF NOT EXISTS export_losses_from_logs TO export_losses AS
SELECT
    received_at,
    subtractMilliseconds(
        toDateTime64(Timestamp, 3, 'UTC'),
        toInt64(
            least(
                if(
                    toFloat64OrZero(LogAttributes['trueline.loss.seconds']) > 0,
                    toFloat64OrZero(LogAttributes['trueline.loss.seconds']),
                    10
                ),
                86400
            ) * 1000
        )
    ) AS started_at,
    toDateTime64(Timestamp, 3, 'UTC') AS ended_at,
    multiIf(
        ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'],
        ResourceAttributes['deployment.environment'] != '', ResourceAttributes['deployment.environment'],
        'unset'
    ) AS environment,
    ResourceAttributes['service.namespace'] AS application,
    ServiceName AS service,
    ResourceAttributes['service.instance.id'] AS instance,
    LogAttributes['trueline.loss.reason'] AS reason,
    toUInt64OrZero(LogAttributes['trueline.loss.count']) AS count
FROM otel_logs
WHERE (EventName = 'trueline.export.loss' OR LogAttributes['event.name'] = 'trueline.export.loss')
    AND toUInt64OrZero(LogAttributes['trueline.loss.count']) > 0
