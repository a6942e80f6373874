-- Who reaches which column in which database how, in steps of five minutes of event time, with final outcomes: a
-- statement exported as open counts under the outcome of its transaction as soon as that has arrived, whatever the
-- order, and as rolled_back ten minutes after its own arrival without one. `uses` are identities times statements;
-- `zero_rows` those of them that found or changed nothing; `identities` is an estimate within about 2 %.
CREATE OR REPLACE VIEW access AS
SELECT
    counted_row.at AS at,
    counted_row.environment AS environment,
    counted_row.application AS application,
    counted_row.table AS table,
    counted_row.domain AS domain,
    counted_row.access AS access,
    counted_row.database AS database,
    counted_row.database_schema AS database_schema,
    counted_row.database_role AS database_role,
    counted_row.column AS column,
    counted_row.clause AS clause,
    counted_row.encoding AS encoding,
    counted_row.hash_key_id AS hash_key_id,
    multiIf(
        counted_row.outcome != 'open', counted_row.outcome,
        has(settlement_row.undone, counted_row.open_span), 'rolled_back',
        settlement_row.outcome != '', settlement_row.outcome,
        counted_row.last_received_at < now64(3) - INTERVAL 10 MINUTE, 'rolled_back',
        'open'
    ) AS outcome,
    counted_row.failed AS failed,
    counted_row.service AS service,
    counted_row.version AS version,
    counted_row.process_kind AS process_kind,
    counted_row.entry_name AS entry_name,
    sum(counted_row.uses) AS uses,
    sum(counted_row.zero_rows) AS zero_rows,
    min(counted_row.first_seen) AS first_seen,
    max(counted_row.last_seen) AS last_seen,
    max(counted_row.last_received_at) AS last_received_at,
    groupUniqArrayArray(counted_row.database_rungs) AS database_rungs,
    uniqCombinedMerge(12)(counted_row.identities) AS identities,
    groupUniqArrayArray(3)(counted_row.sample_identities) AS sample_identities,
    groupUniqArrayArray(2)(counted_row.sample_spans) AS sample_spans
FROM access_counts AS counted_row
ANY LEFT JOIN settlements AS settlement_row ON settlement_row.transaction_id = counted_row.open_transaction
GROUP BY
    at, environment, application, table, domain, access, database, database_schema, database_role, column, clause,
    encoding, hash_key_id, outcome, failed, service, version, process_kind, entry_name
