-- Fills settlements from transactions as they arrive.
CREATE MATERIALIZED VIEW IF NOT EXISTS settlements_from_transactions TO settlements AS
SELECT
    received_at,
    request_hash,
    transaction_id,
    outcome,
    reason,
    transaction_error_type AS error_type,
    rolled_back_statements AS undone
FROM transactions
WHERE transaction_id != '' AND (open_statements > 0 OR notEmpty(rolled_back_statements))
