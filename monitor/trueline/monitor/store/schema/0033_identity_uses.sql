-- identity_statements with the final outcome of each statement, found as in statements_resolved.
CREATE OR REPLACE VIEW identity_uses AS
SELECT
    used.* EXCEPT exported_outcome,
    multiIf(
        used.exported_outcome != 'open', used.exported_outcome,
        has(settling.undone, used.span_id), 'rolled_back',
        settling.outcome != '', settling.outcome,
        used.received_at < now64(3) - INTERVAL 10 MINUTE, 'rolled_back',
        'open'
    ) AS outcome
FROM identity_statements AS used
ANY LEFT JOIN settlements AS settling
    ON settling.transaction_id = if(used.exported_outcome = 'open', used.transaction_id, '')
