-- identity_statements with the final outcome of each statement, found as in statements_resolved.
CREATE OR REPLACE VIEW identity_uses AS
SELECT
    used_row.* EXCEPT (exported_outcome, duration),
    used_row.ended_at AS ended_at,
    multiIf(
        used_row.exported_outcome != 'open', used_row.exported_outcome,
        has(settlement_row.undone, used_row.span_id), 'rolled_back',
        settlement_row.outcome != '', settlement_row.outcome,
        used_row.received_at < now64(3) - INTERVAL 10 MINUTE, 'rolled_back',
        'open'
    ) AS outcome
FROM identity_statements AS used_row
ANY LEFT JOIN settlements AS settlement_row
    ON settlement_row.transaction_id = if(used_row.exported_outcome = 'open', used_row.transaction_id, '')
