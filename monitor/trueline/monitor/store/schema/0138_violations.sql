-- violation_statements with the final outcome of each, found as in statements_resolved.
CREATE OR REPLACE VIEW violations AS
SELECT
    refused_row.* EXCEPT (outcome, reason),
    multiIf(
        refused_row.outcome != 'open', refused_row.outcome,
        has(settlement_row.undone, refused_row.span_id), 'rolled_back',
        settlement_row.outcome != '', settlement_row.outcome,
        refused_row.received_at < now64(3) - INTERVAL 10 MINUTE, 'rolled_back',
        'open'
    ) AS outcome,
    multiIf(
        refused_row.outcome != 'open', refused_row.reason,
        has(settlement_row.undone, refused_row.span_id), 'savepoint',
        settlement_row.outcome != '', settlement_row.reason,
        refused_row.received_at < now64(3) - INTERVAL 10 MINUTE, 'abandoned',
        ''
    ) AS reason
FROM violation_statements AS refused_row
ANY LEFT JOIN settlements AS settlement_row
    ON settlement_row.transaction_id = if(refused_row.outcome = 'open', refused_row.transaction_id, '')
