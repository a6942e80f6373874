-- Who reads, writes and renames (the columns of) which table in which database, in steps of five minutes of event
-- time, with final outcomes as in the view access.
CREATE OR REPLACE VIEW traffic AS
SELECT
    used_row.at AS at,
    used_row.environment AS environment,
    used_row.application AS application,
    used_row.table AS table,
    used_row.access AS access,
    used_row.service AS service,
    used_row.process_kind AS process_kind,
    used_row.instance AS instance,
    used_row.database AS database,
    used_row.database_schema AS database_schema,
    multiIf(
        used_row.outcome != 'open', used_row.outcome,
        has(settlement_row.undone, used_row.open_span), 'rolled_back',
        settlement_row.outcome != '', settlement_row.outcome,
        used_row.last_received_at < now64(3) - INTERVAL 10 MINUTE, 'rolled_back',
        'open'
    ) AS outcome,
    used_row.uses AS uses,
    used_row.first_seen AS first_seen,
    used_row.last_seen AS last_seen,
    used_row.database_rungs AS database_rungs
FROM table_uses AS used_row
ANY LEFT JOIN settlements AS settlement_row ON settlement_row.transaction_id = used_row.open_transaction
