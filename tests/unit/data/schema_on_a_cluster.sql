-- 0001_otel_traces.sql
CREATE TABLE IF NOT EXISTS otel_traces_local ON CLUSTER 'main'
(
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(3)),
    TraceId String CODEC(ZSTD(3)),
    SpanId String CODEC(ZSTD(3)),
    ParentSpanId String CODEC(ZSTD(3)),
    TraceState String CODEC(ZSTD(3)),
    SpanName LowCardinality(String) CODEC(ZSTD(3)),
    SpanKind LowCardinality(String) CODEC(ZSTD(3)),
    ServiceName LowCardinality(String) CODEC(ZSTD(3)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    ScopeName String CODEC(ZSTD(3)),
    ScopeVersion String CODEC(ZSTD(3)),
    SpanAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    Duration UInt64 CODEC(T64, ZSTD(3)),
    StatusCode LowCardinality(String) CODEC(ZSTD(3)),
    StatusMessage String CODEC(ZSTD(3)),
    Events Nested
    (
        Timestamp DateTime64(9),
        Name LowCardinality(String),
        Attributes Map(LowCardinality(String), String)
    ) CODEC(ZSTD(3)),
    Links Nested
    (
        TraceId String,
        SpanId String,
        TraceState String,
        Attributes Map(LowCardinality(String), String)
    ) CODEC(ZSTD(3)),
    received_at DateTime64(3) DEFAULT now64(3) CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    INDEX trace_id TraceId TYPE bloom_filter(0.0001) GRANULARITY 1,
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/otel_traces', '{replica}')
PARTITION BY toDate(received_at)
PRIMARY KEY (toStartOfFiveMinutes(Timestamp), ServiceName)
ORDER BY (toStartOfFiveMinutes(Timestamp), ServiceName, TraceId, Timestamp)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS otel_traces ON CLUSTER 'main' AS otel_traces_local
ENGINE = Distributed('main', 'trueline', 'otel_traces_local', cityHash64(TraceId));

-- 0002_otel_logs.sql
CREATE TABLE IF NOT EXISTS otel_logs_local ON CLUSTER 'main'
(
    Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(3)),
    TraceId String CODEC(ZSTD(3)),
    SpanId String CODEC(ZSTD(3)),
    TraceFlags UInt8,
    SeverityText LowCardinality(String) CODEC(ZSTD(3)),
    SeverityNumber UInt8,
    ServiceName LowCardinality(String) CODEC(ZSTD(3)),
    Body String CODEC(ZSTD(3)),
    ResourceSchemaUrl LowCardinality(String) CODEC(ZSTD(3)),
    ResourceAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    ScopeSchemaUrl LowCardinality(String) CODEC(ZSTD(3)),
    ScopeName String CODEC(ZSTD(3)),
    ScopeVersion LowCardinality(String) CODEC(ZSTD(3)),
    ScopeAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    LogAttributes Map(LowCardinality(String), String) CODEC(ZSTD(3)),
    EventName String CODEC(ZSTD(3)),
    received_at DateTime64(3) DEFAULT now64(3) CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    INDEX trace_id TraceId TYPE text(tokenizer = 'array') GRANULARITY 1,
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/otel_logs', '{replica}')
PARTITION BY toDate(received_at)
PRIMARY KEY (toStartOfFiveMinutes(Timestamp), ServiceName)
ORDER BY (toStartOfFiveMinutes(Timestamp), ServiceName, Timestamp)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS otel_logs ON CLUSTER 'main' AS otel_logs_local
ENGINE = Distributed('main', 'trueline', 'otel_logs_local', cityHash64(TraceId));

-- 0010_statements.sql
CREATE TABLE IF NOT EXISTS statements_local ON CLUSTER 'main'
(
    received_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    ended_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    parent_span_id String CODEC(ZSTD(3)),
    span_name LowCardinality(String) CODEC(ZSTD(3)),
    span_kind LowCardinality(String) CODEC(ZSTD(3)),
    status LowCardinality(String) CODEC(ZSTD(3)),
    status_message String CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3)),
    environment LowCardinality(String) DEFAULT 'unset' CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    kind LowCardinality(String) CODEC(ZSTD(3)),
    tables Array(LowCardinality(String)) CODEC(ZSTD(3)),
    rows Int64 DEFAULT -1 CODEC(ZSTD(3)),
    filters Array(LowCardinality(String)) CODEC(ZSTD(3)),
    row_key String CODEC(ZSTD(3)),
    row_lock Bool CODEC(ZSTD(3)),
    self_update Bool CODEC(ZSTD(3)),
    on_conflict LowCardinality(String) CODEC(ZSTD(3)),
    database LowCardinality(String) CODEC(ZSTD(3)),
    database_rungs Array(LowCardinality(String)) CODEC(ZSTD(3)),
    database_role LowCardinality(String) CODEC(ZSTD(3)),
    database_schema LowCardinality(String) CODEC(ZSTD(3)),
    database_version LowCardinality(String) CODEC(ZSTD(3)),
    database_url LowCardinality(String) CODEC(ZSTD(3)),
    database_url_variable LowCardinality(String) CODEC(ZSTD(3)),
    identity_columns Array(LowCardinality(String)) CODEC(ZSTD(3)),
    identity_clauses Array(LowCardinality(String)) CODEC(ZSTD(3)),
    identity_encodings Array(LowCardinality(String)) CODEC(ZSTD(3)),
    identity_values Array(String) CODEC(ZSTD(3)),
    identity_domains Array(LowCardinality(String)) CODEC(ZSTD(3)),
    identity_count Int64 CODEC(ZSTD(3)),
    identity_bound Array(String) CODEC(ZSTD(3)),
    identity_row Array(String) CODEC(ZSTD(3)),
    hash_key_id LowCardinality(String) CODEC(ZSTD(3)),
    entry_name LowCardinality(String) CODEC(ZSTD(3)),
    entry_span_id String CODEC(ZSTD(3)),
    orm_session_id String CODEC(ZSTD(3)),
    transaction_id String CODEC(ZSTD(3)),
    outcome LowCardinality(String) CODEC(ZSTD(3)),
    reason LowCardinality(String) CODEC(ZSTD(3)),
    autocommit Bool CODEC(ZSTD(3)),
    transaction_error_type LowCardinality(String) CODEC(ZSTD(3)),
    sample_ratio Float64 CODEC(ZSTD(3)),
    constraint_name LowCardinality(String) CODEC(ZSTD(3)),
    constraint_kind LowCardinality(String) CODEC(ZSTD(3)),
    constraint_table LowCardinality(String) CODEC(ZSTD(3)),
    constraint_columns Array(LowCardinality(String)) CODEC(ZSTD(3)),
    error_type LowCardinality(String) CODEC(ZSTD(3)),
    status_code LowCardinality(String) CODEC(ZSTD(3)),
    db_system LowCardinality(String) CODEC(ZSTD(3)),
    db_namespace LowCardinality(String) CODEC(ZSTD(3)),
    operation LowCardinality(String) CODEC(ZSTD(3)),
    batch_size Int64 CODEC(ZSTD(3)),
    query_text LowCardinality(String) CODEC(ZSTD(3)),
    query_summary LowCardinality(String) CODEC(ZSTD(3)),
    server_address LowCardinality(String) CODEC(ZSTD(3)),
    server_port Int64 CODEC(ZSTD(3)),
    exception_type LowCardinality(String) CODEC(ZSTD(3)),
    INDEX identity_values identity_values TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX identity_bound identity_bound TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX identity_row identity_row TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX transaction_id transaction_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/statements', '{replica}')
PARTITION BY toDate(received_at)
PRIMARY KEY (toStartOfFiveMinutes(started_at), environment, service)
ORDER BY (toStartOfFiveMinutes(started_at), environment, service, trace_id, started_at)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS statements ON CLUSTER 'main' AS statements_local
ENGINE = Distributed('main', 'trueline', 'statements_local', cityHash64(trace_id));

-- 0011_statements_from_traces.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS statements_from_traces ON CLUSTER 'main' TO statements_local AS
SELECT
    received_at AS received_at,
    request_hash AS request_hash,
    Timestamp AS started_at,
    fromUnixTimestamp64Nano(toUnixTimestamp64Nano(Timestamp) + toInt64(least(Duration, 31622400000000000)), 'UTC') AS ended_at,
    lower(TraceId) AS trace_id,
    lower(SpanId) AS span_id,
    lower(ParentSpanId) AS parent_span_id,
    SpanName AS span_name,
    lower(replaceOne(SpanKind, 'SPAN_KIND_', '')) AS span_kind,
    multiIf(StatusCode IN ('Error', 'STATUS_CODE_ERROR'), 'error', StatusCode IN ('Ok', 'STATUS_CODE_OK'), 'ok', 'unset') AS status,
    StatusMessage AS status_message,
    ServiceName AS service,
    ResourceAttributes['service.namespace'] AS application,
    ResourceAttributes['service.version'] AS version,
    ResourceAttributes['service.instance.id'] AS instance,
    if(multiIf(ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'], ResourceAttributes['deployment.environment']) = '', 'unset', multiIf(ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'], ResourceAttributes['deployment.environment'])) AS environment,
    ResourceAttributes['trueline.process.kind'] AS process_kind,
    SpanAttributes['trueline.statement.kind'] AS kind,
    JSONExtract(SpanAttributes['trueline.statement.tables'], 'Array(String)') AS tables,
    ifNull(toInt64OrNull(SpanAttributes['trueline.statement.rows']), -1) AS rows,
    JSONExtract(SpanAttributes['trueline.statement.filters'], 'Array(String)') AS filters,
    SpanAttributes['trueline.statement.row'] AS row_key,
    SpanAttributes['trueline.statement.lock'] = 'true' AS row_lock,
    SpanAttributes['trueline.statement.self_update'] = 'true' AS self_update,
    SpanAttributes['trueline.statement.on_conflict'] AS on_conflict,
    SpanAttributes['trueline.database.fingerprint'] AS database,
    JSONExtract(SpanAttributes['trueline.database.fingerprints'], 'Array(String)') AS database_rungs,
    SpanAttributes['trueline.database.role'] AS database_role,
    SpanAttributes['trueline.database.schema'] AS database_schema,
    SpanAttributes['trueline.database.version'] AS database_version,
    SpanAttributes['trueline.database.url'] AS database_url,
    SpanAttributes['trueline.database.url_variable'] AS database_url_variable,
    JSONExtract(SpanAttributes['trueline.identity.columns'], 'Array(String)') AS identity_columns,
    JSONExtract(SpanAttributes['trueline.identity.clauses'], 'Array(String)') AS identity_clauses,
    JSONExtract(SpanAttributes['trueline.identity.encodings'], 'Array(String)') AS identity_encodings,
    JSONExtract(SpanAttributes['trueline.identity.values'], 'Array(String)') AS identity_values,
    JSONExtract(SpanAttributes['trueline.identity.domains'], 'Array(String)') AS identity_domains,
    toInt64OrZero(SpanAttributes['trueline.identity.count']) AS identity_count,
    JSONExtract(SpanAttributes['trueline.identity.bound'], 'Array(String)') AS identity_bound,
    JSONExtract(SpanAttributes['trueline.identity.row'], 'Array(String)') AS identity_row,
    SpanAttributes['trueline.hash.key_id'] AS hash_key_id,
    SpanAttributes['trueline.entry.name'] AS entry_name,
    SpanAttributes['trueline.entry.span_id'] AS entry_span_id,
    SpanAttributes['trueline.orm.session_id'] AS orm_session_id,
    SpanAttributes['trueline.transaction.id'] AS transaction_id,
    SpanAttributes['trueline.transaction.outcome'] AS outcome,
    SpanAttributes['trueline.transaction.reason'] AS reason,
    SpanAttributes['trueline.transaction.autocommit'] = 'true' AS autocommit,
    SpanAttributes['trueline.transaction.error_type'] AS transaction_error_type,
    toFloat64OrZero(SpanAttributes['trueline.sample.ratio']) AS sample_ratio,
    SpanAttributes['trueline.constraint.name'] AS constraint_name,
    SpanAttributes['trueline.constraint.kind'] AS constraint_kind,
    SpanAttributes['trueline.constraint.table'] AS constraint_table,
    JSONExtract(SpanAttributes['trueline.constraint.columns'], 'Array(String)') AS constraint_columns,
    SpanAttributes['error.type'] AS error_type,
    SpanAttributes['db.response.status_code'] AS status_code,
    multiIf(SpanAttributes['db.system.name'] != '', SpanAttributes['db.system.name'], SpanAttributes['db.system']) AS db_system,
    multiIf(SpanAttributes['db.namespace'] != '', SpanAttributes['db.namespace'], SpanAttributes['db.name']) AS db_namespace,
    multiIf(SpanAttributes['db.operation.name'] != '', SpanAttributes['db.operation.name'], SpanAttributes['db.operation']) AS operation,
    toInt64OrZero(SpanAttributes['db.operation.batch.size']) AS batch_size,
    multiIf(SpanAttributes['db.query.text'] != '', SpanAttributes['db.query.text'], SpanAttributes['db.statement']) AS query_text,
    SpanAttributes['db.query.summary'] AS query_summary,
    multiIf(SpanAttributes['server.address'] != '', SpanAttributes['server.address'], SpanAttributes['net.peer.name']) AS server_address,
    toInt64OrZero(multiIf(SpanAttributes['server.port'] != '', SpanAttributes['server.port'], SpanAttributes['net.peer.port'])) AS server_port,
    arrayFirst((attributes, name) -> name = 'exception', Events.Attributes, Events.Name)['exception.type'] AS exception_type
FROM otel_traces_local
WHERE SpanAttributes['trueline.statement.kind'] != '';

-- 0012_transactions.sql
CREATE TABLE IF NOT EXISTS transactions_local ON CLUSTER 'main'
(
    received_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    ended_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    parent_span_id String CODEC(ZSTD(3)),
    span_name LowCardinality(String) CODEC(ZSTD(3)),
    span_kind LowCardinality(String) CODEC(ZSTD(3)),
    status LowCardinality(String) CODEC(ZSTD(3)),
    status_message String CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3)),
    environment LowCardinality(String) DEFAULT 'unset' CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    tables Array(LowCardinality(String)) CODEC(ZSTD(3)),
    database LowCardinality(String) CODEC(ZSTD(3)),
    database_schema LowCardinality(String) CODEC(ZSTD(3)),
    identity_bound Array(String) CODEC(ZSTD(3)),
    hash_key_id LowCardinality(String) CODEC(ZSTD(3)),
    entry_name LowCardinality(String) CODEC(ZSTD(3)),
    entry_span_id String CODEC(ZSTD(3)),
    orm_session_id String CODEC(ZSTD(3)),
    transaction_id String CODEC(ZSTD(3)),
    outcome LowCardinality(String) CODEC(ZSTD(3)),
    reason LowCardinality(String) CODEC(ZSTD(3)),
    autocommit Bool CODEC(ZSTD(3)),
    transaction_error_type LowCardinality(String) CODEC(ZSTD(3)),
    error_chain Array(LowCardinality(String)) CODEC(ZSTD(3)),
    error_from_ai Bool CODEC(ZSTD(3)),
    isolation_level LowCardinality(String) CODEC(ZSTD(3)),
    reads Int64 CODEC(ZSTD(3)),
    writes Int64 CODEC(ZSTD(3)),
    rows_written Int64 CODEC(ZSTD(3)),
    ai_calls Int64 CODEC(ZSTD(3)),
    ai_errors Int64 CODEC(ZSTD(3)),
    ai_problems Array(LowCardinality(String)) CODEC(ZSTD(3)),
    ai_unfinished Int64 CODEC(ZSTD(3)),
    ai_wait_ms Float64 CODEC(ZSTD(3)),
    open_statements Int64 CODEC(ZSTD(3)),
    rolled_back_statements Array(String) CODEC(ZSTD(3)),
    sample_ratio Float64 CODEC(ZSTD(3)),
    constraint_name LowCardinality(String) CODEC(ZSTD(3)),
    constraint_kind LowCardinality(String) CODEC(ZSTD(3)),
    constraint_table LowCardinality(String) CODEC(ZSTD(3)),
    constraint_columns Array(LowCardinality(String)) CODEC(ZSTD(3)),
    db_system LowCardinality(String) CODEC(ZSTD(3)),
    db_namespace LowCardinality(String) CODEC(ZSTD(3)),
    server_address LowCardinality(String) CODEC(ZSTD(3)),
    server_port Int64 CODEC(ZSTD(3)),
    exception_type LowCardinality(String) CODEC(ZSTD(3)),
    INDEX transaction_id transaction_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/transactions', '{replica}')
PARTITION BY toDate(received_at)
PRIMARY KEY (toStartOfFiveMinutes(started_at), environment, service)
ORDER BY (toStartOfFiveMinutes(started_at), environment, service, trace_id, started_at)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS transactions ON CLUSTER 'main' AS transactions_local
ENGINE = Distributed('main', 'trueline', 'transactions_local', cityHash64(trace_id));

-- 0013_transactions_from_traces.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS transactions_from_traces ON CLUSTER 'main' TO transactions_local AS
SELECT
    received_at AS received_at,
    request_hash AS request_hash,
    Timestamp AS started_at,
    fromUnixTimestamp64Nano(toUnixTimestamp64Nano(Timestamp) + toInt64(least(Duration, 31622400000000000)), 'UTC') AS ended_at,
    lower(TraceId) AS trace_id,
    lower(SpanId) AS span_id,
    lower(ParentSpanId) AS parent_span_id,
    SpanName AS span_name,
    lower(replaceOne(SpanKind, 'SPAN_KIND_', '')) AS span_kind,
    multiIf(StatusCode IN ('Error', 'STATUS_CODE_ERROR'), 'error', StatusCode IN ('Ok', 'STATUS_CODE_OK'), 'ok', 'unset') AS status,
    StatusMessage AS status_message,
    ServiceName AS service,
    ResourceAttributes['service.namespace'] AS application,
    ResourceAttributes['service.version'] AS version,
    ResourceAttributes['service.instance.id'] AS instance,
    if(multiIf(ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'], ResourceAttributes['deployment.environment']) = '', 'unset', multiIf(ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'], ResourceAttributes['deployment.environment'])) AS environment,
    ResourceAttributes['trueline.process.kind'] AS process_kind,
    JSONExtract(SpanAttributes['trueline.statement.tables'], 'Array(String)') AS tables,
    SpanAttributes['trueline.database.fingerprint'] AS database,
    SpanAttributes['trueline.database.schema'] AS database_schema,
    JSONExtract(SpanAttributes['trueline.identity.bound'], 'Array(String)') AS identity_bound,
    SpanAttributes['trueline.hash.key_id'] AS hash_key_id,
    SpanAttributes['trueline.entry.name'] AS entry_name,
    SpanAttributes['trueline.entry.span_id'] AS entry_span_id,
    SpanAttributes['trueline.orm.session_id'] AS orm_session_id,
    SpanAttributes['trueline.transaction.id'] AS transaction_id,
    SpanAttributes['trueline.transaction.outcome'] AS outcome,
    SpanAttributes['trueline.transaction.reason'] AS reason,
    SpanAttributes['trueline.transaction.autocommit'] = 'true' AS autocommit,
    SpanAttributes['trueline.transaction.error_type'] AS transaction_error_type,
    JSONExtract(SpanAttributes['trueline.transaction.error_chain'], 'Array(String)') AS error_chain,
    SpanAttributes['trueline.transaction.error_from_ai'] = 'true' AS error_from_ai,
    SpanAttributes['trueline.transaction.isolation_level'] AS isolation_level,
    toInt64OrZero(SpanAttributes['trueline.transaction.reads']) AS reads,
    toInt64OrZero(SpanAttributes['trueline.transaction.writes']) AS writes,
    toInt64OrZero(SpanAttributes['trueline.transaction.rows']) AS rows_written,
    toInt64OrZero(SpanAttributes['trueline.transaction.ai.calls']) AS ai_calls,
    toInt64OrZero(SpanAttributes['trueline.transaction.ai.errors']) AS ai_errors,
    JSONExtract(SpanAttributes['trueline.transaction.ai.problems'], 'Array(String)') AS ai_problems,
    toInt64OrZero(SpanAttributes['trueline.transaction.ai.unfinished']) AS ai_unfinished,
    toFloat64OrZero(SpanAttributes['trueline.transaction.ai.wait_ms']) AS ai_wait_ms,
    toInt64OrZero(SpanAttributes['trueline.transaction.open_statements']) AS open_statements,
    JSONExtract(SpanAttributes['trueline.transaction.rolled_back_statements'], 'Array(String)') AS rolled_back_statements,
    toFloat64OrZero(SpanAttributes['trueline.sample.ratio']) AS sample_ratio,
    SpanAttributes['trueline.constraint.name'] AS constraint_name,
    SpanAttributes['trueline.constraint.kind'] AS constraint_kind,
    SpanAttributes['trueline.constraint.table'] AS constraint_table,
    JSONExtract(SpanAttributes['trueline.constraint.columns'], 'Array(String)') AS constraint_columns,
    multiIf(SpanAttributes['db.system.name'] != '', SpanAttributes['db.system.name'], SpanAttributes['db.system']) AS db_system,
    multiIf(SpanAttributes['db.namespace'] != '', SpanAttributes['db.namespace'], SpanAttributes['db.name']) AS db_namespace,
    multiIf(SpanAttributes['server.address'] != '', SpanAttributes['server.address'], SpanAttributes['net.peer.name']) AS server_address,
    toInt64OrZero(multiIf(SpanAttributes['server.port'] != '', SpanAttributes['server.port'], SpanAttributes['net.peer.port'])) AS server_port,
    arrayFirst((attributes, name) -> name = 'exception', Events.Attributes, Events.Name)['exception.type'] AS exception_type
FROM otel_traces_local
WHERE SpanAttributes['trueline.transaction.outcome'] != '' AND NOT SpanAttributes['trueline.statement.kind'] != '';

-- 0014_entries.sql
CREATE TABLE IF NOT EXISTS entries_local ON CLUSTER 'main'
(
    received_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    ended_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    parent_span_id String CODEC(ZSTD(3)),
    span_name LowCardinality(String) CODEC(ZSTD(3)),
    span_kind LowCardinality(String) CODEC(ZSTD(3)),
    status LowCardinality(String) CODEC(ZSTD(3)),
    status_message String CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3)),
    environment LowCardinality(String) DEFAULT 'unset' CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    identity_bound Array(String) CODEC(ZSTD(3)),
    hash_key_id LowCardinality(String) CODEC(ZSTD(3)),
    error_type LowCardinality(String) CODEC(ZSTD(3)),
    entry_kind LowCardinality(String) CODEC(ZSTD(3)),
    job_outcome LowCardinality(String) CODEC(ZSTD(3)),
    http_method LowCardinality(String) CODEC(ZSTD(3)),
    http_route LowCardinality(String) CODEC(ZSTD(3)),
    http_status Int64 CODEC(ZSTD(3)),
    client_gone Bool CODEC(ZSTD(3)),
    message_id String CODEC(ZSTD(3)),
    exception_type LowCardinality(String) CODEC(ZSTD(3)),
    exception_message String CODEC(ZSTD(3)),
    failed Bool CODEC(ZSTD(3)),
    INDEX identity_bound identity_bound TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX message_id message_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/entries', '{replica}')
PARTITION BY toDate(received_at)
PRIMARY KEY (toStartOfFiveMinutes(started_at), environment, service)
ORDER BY (toStartOfFiveMinutes(started_at), environment, service, trace_id, started_at)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS entries ON CLUSTER 'main' AS entries_local
ENGINE = Distributed('main', 'trueline', 'entries_local', cityHash64(trace_id));

-- 0015_entries_from_traces.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS entries_from_traces ON CLUSTER 'main' TO entries_local AS
SELECT
    received_at AS received_at,
    request_hash AS request_hash,
    Timestamp AS started_at,
    fromUnixTimestamp64Nano(toUnixTimestamp64Nano(Timestamp) + toInt64(least(Duration, 31622400000000000)), 'UTC') AS ended_at,
    lower(TraceId) AS trace_id,
    lower(SpanId) AS span_id,
    lower(ParentSpanId) AS parent_span_id,
    SpanName AS span_name,
    lower(replaceOne(SpanKind, 'SPAN_KIND_', '')) AS span_kind,
    multiIf(StatusCode IN ('Error', 'STATUS_CODE_ERROR'), 'error', StatusCode IN ('Ok', 'STATUS_CODE_OK'), 'ok', 'unset') AS status,
    StatusMessage AS status_message,
    ServiceName AS service,
    ResourceAttributes['service.namespace'] AS application,
    ResourceAttributes['service.version'] AS version,
    ResourceAttributes['service.instance.id'] AS instance,
    if(multiIf(ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'], ResourceAttributes['deployment.environment']) = '', 'unset', multiIf(ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'], ResourceAttributes['deployment.environment'])) AS environment,
    ResourceAttributes['trueline.process.kind'] AS process_kind,
    JSONExtract(SpanAttributes['trueline.identity.bound'], 'Array(String)') AS identity_bound,
    SpanAttributes['trueline.hash.key_id'] AS hash_key_id,
    SpanAttributes['error.type'] AS error_type,
    SpanAttributes['trueline.entry.kind'] AS entry_kind,
    SpanAttributes['trueline.job.outcome'] AS job_outcome,
    multiIf(SpanAttributes['http.request.method'] != '', SpanAttributes['http.request.method'], SpanAttributes['http.method']) AS http_method,
    SpanAttributes['http.route'] AS http_route,
    toInt64OrZero(multiIf(SpanAttributes['http.response.status_code'] != '', SpanAttributes['http.response.status_code'], SpanAttributes['http.status_code'])) AS http_status,
    SpanAttributes['trueline.request.client_gone'] = 'true' AS client_gone,
    SpanAttributes['messaging.message.id'] AS message_id,
    arrayFirst((attributes, name) -> name = 'exception', Events.Attributes, Events.Name)['exception.type'] AS exception_type,
    arrayFirst((attributes, name) -> name = 'exception', Events.Attributes, Events.Name)['exception.message'] AS exception_message,
    StatusCode IN ('Error', 'STATUS_CODE_ERROR') OR toInt64OrZero(multiIf(SpanAttributes['http.response.status_code'] != '', SpanAttributes['http.response.status_code'], SpanAttributes['http.status_code'])) >= 500 AS failed
FROM otel_traces_local
WHERE (ParentSpanId = '' OR SpanKind IN ('Server', 'SPAN_KIND_SERVER', 'Consumer', 'SPAN_KIND_CONSUMER') OR SpanAttributes['trueline.entry.kind'] != '') AND NOT SpanAttributes['trueline.statement.kind'] != '';

-- 0016_ai_calls.sql
CREATE TABLE IF NOT EXISTS ai_calls_local ON CLUSTER 'main'
(
    received_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    ended_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    parent_span_id String CODEC(ZSTD(3)),
    span_name LowCardinality(String) CODEC(ZSTD(3)),
    span_kind LowCardinality(String) CODEC(ZSTD(3)),
    status LowCardinality(String) CODEC(ZSTD(3)),
    status_message String CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3)),
    environment LowCardinality(String) DEFAULT 'unset' CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    identity_bound Array(String) CODEC(ZSTD(3)),
    entry_name LowCardinality(String) CODEC(ZSTD(3)),
    entry_span_id String CODEC(ZSTD(3)),
    error_type LowCardinality(String) CODEC(ZSTD(3)),
    server_address LowCardinality(String) CODEC(ZSTD(3)),
    server_port Int64 CODEC(ZSTD(3)),
    http_status Int64 CODEC(ZSTD(3)),
    operation LowCardinality(String) CODEC(ZSTD(3)),
    provider LowCardinality(String) CODEC(ZSTD(3)),
    model LowCardinality(String) CODEC(ZSTD(3)),
    finish_reasons Array(LowCardinality(String)) CODEC(ZSTD(3)),
    output_tokens Int64 CODEC(ZSTD(3)),
    role LowCardinality(String) CODEC(ZSTD(3)),
    problem LowCardinality(String) CODEC(ZSTD(3)),
    attempts Int64 CODEC(ZSTD(3)),
    fallback LowCardinality(String) CODEC(ZSTD(3)),
    exception_type LowCardinality(String) CODEC(ZSTD(3)),
    exception_message String CODEC(ZSTD(3)),
    failed Bool CODEC(ZSTD(3)),
    INDEX trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/ai_calls', '{replica}')
PARTITION BY toDate(received_at)
PRIMARY KEY (toStartOfFiveMinutes(started_at), environment, service)
ORDER BY (toStartOfFiveMinutes(started_at), environment, service, trace_id, started_at)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS ai_calls ON CLUSTER 'main' AS ai_calls_local
ENGINE = Distributed('main', 'trueline', 'ai_calls_local', cityHash64(trace_id));

-- 0017_ai_calls_from_traces.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS ai_calls_from_traces ON CLUSTER 'main' TO ai_calls_local AS
SELECT
    received_at AS received_at,
    request_hash AS request_hash,
    Timestamp AS started_at,
    fromUnixTimestamp64Nano(toUnixTimestamp64Nano(Timestamp) + toInt64(least(Duration, 31622400000000000)), 'UTC') AS ended_at,
    lower(TraceId) AS trace_id,
    lower(SpanId) AS span_id,
    lower(ParentSpanId) AS parent_span_id,
    SpanName AS span_name,
    lower(replaceOne(SpanKind, 'SPAN_KIND_', '')) AS span_kind,
    multiIf(StatusCode IN ('Error', 'STATUS_CODE_ERROR'), 'error', StatusCode IN ('Ok', 'STATUS_CODE_OK'), 'ok', 'unset') AS status,
    StatusMessage AS status_message,
    ServiceName AS service,
    ResourceAttributes['service.namespace'] AS application,
    ResourceAttributes['service.version'] AS version,
    ResourceAttributes['service.instance.id'] AS instance,
    if(multiIf(ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'], ResourceAttributes['deployment.environment']) = '', 'unset', multiIf(ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'], ResourceAttributes['deployment.environment'])) AS environment,
    ResourceAttributes['trueline.process.kind'] AS process_kind,
    JSONExtract(SpanAttributes['trueline.identity.bound'], 'Array(String)') AS identity_bound,
    SpanAttributes['trueline.entry.name'] AS entry_name,
    SpanAttributes['trueline.entry.span_id'] AS entry_span_id,
    SpanAttributes['error.type'] AS error_type,
    multiIf(SpanAttributes['server.address'] != '', SpanAttributes['server.address'], SpanAttributes['net.peer.name']) AS server_address,
    toInt64OrZero(multiIf(SpanAttributes['server.port'] != '', SpanAttributes['server.port'], SpanAttributes['net.peer.port'])) AS server_port,
    toInt64OrZero(multiIf(SpanAttributes['http.response.status_code'] != '', SpanAttributes['http.response.status_code'], SpanAttributes['http.status_code'])) AS http_status,
    multiIf(SpanAttributes['gen_ai.operation.name'] != '', SpanAttributes['gen_ai.operation.name'], SpanAttributes['llm.request.type'] != '', SpanAttributes['llm.request.type'], SpanAttributes['openinference.span.kind']) AS operation,
    multiIf(SpanAttributes['gen_ai.provider.name'] != '', SpanAttributes['gen_ai.provider.name'], SpanAttributes['gen_ai.system'] != '', SpanAttributes['gen_ai.system'], SpanAttributes['llm.provider'] != '', SpanAttributes['llm.provider'], SpanAttributes['llm.system']) AS provider,
    multiIf(SpanAttributes['gen_ai.request.model'] != '', SpanAttributes['gen_ai.request.model'], SpanAttributes['gen_ai.response.model'] != '', SpanAttributes['gen_ai.response.model'], SpanAttributes['llm.model_name'] != '', SpanAttributes['llm.model_name'], SpanAttributes['embedding.model_name']) AS model,
    JSONExtract(SpanAttributes['gen_ai.response.finish_reasons'], 'Array(String)') AS finish_reasons,
    toInt64OrZero(SpanAttributes['gen_ai.usage.output_tokens']) AS output_tokens,
    SpanAttributes['trueline.ai.role'] AS role,
    SpanAttributes['trueline.ai.problem'] AS problem,
    toInt64OrZero(SpanAttributes['trueline.ai.attempts']) AS attempts,
    SpanAttributes['trueline.ai.fallback'] AS fallback,
    arrayFirst((attributes, name) -> name = 'exception', Events.Attributes, Events.Name)['exception.type'] AS exception_type,
    arrayFirst((attributes, name) -> name = 'exception', Events.Attributes, Events.Name)['exception.message'] AS exception_message,
    StatusCode IN ('Error', 'STATUS_CODE_ERROR') OR SpanAttributes['error.type'] != '' OR has(Events.Name, 'exception') OR toInt64OrZero(multiIf(SpanAttributes['http.response.status_code'] != '', SpanAttributes['http.response.status_code'], SpanAttributes['http.status_code'])) >= 400 OR hasAny(JSONExtract(SpanAttributes['gen_ai.response.finish_reasons'], 'Array(String)'), ['content_filter', 'refusal', 'error']) OR SpanAttributes['trueline.ai.problem'] IN ('cut', 'error', 'rate_limited', 'refused', 'timeout') AS failed
FROM otel_traces_local
WHERE NOT SpanAttributes['trueline.statement.kind'] != '' AND SpanAttributes['trueline.ai.role'] != 'attempt' AND (SpanAttributes['trueline.ai.role'] != '' OR (SpanAttributes['gen_ai.operation.name'] NOT IN ('create_agent', 'invoke_agent', 'execute_tool', 'invoke_workflow') AND (SpanAttributes['gen_ai.operation.name'] != '' OR SpanAttributes['gen_ai.provider.name'] != '' OR SpanAttributes['gen_ai.system'] != '' OR SpanAttributes['llm.request.type'] != '' OR SpanAttributes['openinference.span.kind'] IN ('LLM', 'EMBEDDING', 'RERANKER') OR (SpanKind IN ('Client', 'SPAN_KIND_CLIENT') AND (SpanAttributes['http.request.method'] != '' OR SpanAttributes['http.method'] != '') AND (lower(multiIf(SpanAttributes['server.address'] != '', SpanAttributes['server.address'], SpanAttributes['net.peer.name'] != '', SpanAttributes['net.peer.name'], SpanAttributes['http.host'])) IN ('api.anthropic.com', 'api.cohere.com', 'api.deepseek.com', 'api.fireworks.ai', 'api.groq.com', 'api.mistral.ai', 'api.openai.com', 'api.perplexity.ai', 'api.together.xyz', 'api.x.ai', 'generativelanguage.googleapis.com', 'openrouter.ai') OR lower(domain(multiIf(SpanAttributes['url.full'] != '', SpanAttributes['url.full'], SpanAttributes['http.url']))) IN ('api.anthropic.com', 'api.cohere.com', 'api.deepseek.com', 'api.fireworks.ai', 'api.groq.com', 'api.mistral.ai', 'api.openai.com', 'api.perplexity.ai', 'api.together.xyz', 'api.x.ai', 'generativelanguage.googleapis.com', 'openrouter.ai') OR match(lower(multiIf(SpanAttributes['server.address'] != '', SpanAttributes['server.address'], SpanAttributes['net.peer.name'] != '', SpanAttributes['net.peer.name'], SpanAttributes['http.host'])), '^([\\w-]+\\.openai\\.azure\\.com|([\\w-]+-)?aiplatform\\.googleapis\\.com|bedrock-runtime[\\w.-]*\\.amazonaws\\.com)$') OR match(lower(domain(multiIf(SpanAttributes['url.full'] != '', SpanAttributes['url.full'], SpanAttributes['http.url']))), '^([\\w-]+\\.openai\\.azure\\.com|([\\w-]+-)?aiplatform\\.googleapis\\.com|bedrock-runtime[\\w.-]*\\.amazonaws\\.com)$'))))));

-- 0020_settlements.sql
CREATE TABLE IF NOT EXISTS settlements_local ON CLUSTER 'main'
(
    received_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    transaction_id String CODEC(ZSTD(3)),
    outcome LowCardinality(String),
    reason LowCardinality(String),
    error_type LowCardinality(String),
    undone Array(String) CODEC(ZSTD(3))
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/settlements', '{replica}')
PARTITION BY toDate(received_at)
ORDER BY transaction_id
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS settlements ON CLUSTER 'main' AS settlements_local
ENGINE = Distributed('main', 'trueline', 'settlements_local', cityHash64(transaction_id));

-- 0021_settlements_from_transactions.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS settlements_from_transactions ON CLUSTER 'main' TO settlements_local AS
SELECT
    received_at,
    request_hash,
    transaction_id,
    outcome,
    reason,
    transaction_error_type AS error_type,
    rolled_back_statements AS undone
FROM transactions_local
WHERE transaction_id != '' AND (open_statements > 0 OR notEmpty(rolled_back_statements));

-- 0022_database_sightings.sql
CREATE TABLE IF NOT EXISTS database_sightings_local ON CLUSTER 'main'
(
    environment LowCardinality(String) DEFAULT 'unset',
    application LowCardinality(String),
    service LowCardinality(String),
    process_kind LowCardinality(String),
    database LowCardinality(String),
    database_schema LowCardinality(String),
    database_role LowCardinality(String),
    database_url LowCardinality(String),
    database_url_variable LowCardinality(String),
    db_system LowCardinality(String),
    db_namespace LowCardinality(String),
    arrived DateTime('UTC') DEFAULT toStartOfHour(toDateTime(last_received_at)) COMMENT 'hour of arrival',
    database_rungs SimpleAggregateFunction(groupUniqArrayArray, Array(String)),
    versions SimpleAggregateFunction(groupUniqArrayArray, Array(String)),
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC')),
    last_received_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')),
    reads SimpleAggregateFunction(sum, UInt64),
    writes SimpleAggregateFunction(sum, UInt64)
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/trueline/database_sightings', '{replica}')
ORDER BY (
    environment, application, service, process_kind, database, database_schema, database_role, database_url,
    database_url_variable, db_system, db_namespace, arrived
)
SETTINGS replicated_deduplication_window = 1000;
CREATE TABLE IF NOT EXISTS database_sightings ON CLUSTER 'main' AS database_sightings_local
ENGINE = Distributed('main', 'trueline', 'database_sightings_local', cityHash64(service, database));

-- 0023_database_sightings_from_statements.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS database_sightings_from_statements ON CLUSTER 'main' TO database_sightings_local AS
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
    toStartOfHour(toDateTime(statement_row.received_at, 'UTC')) AS arrived,
    groupUniqArrayArray(statement_row.database_rungs) AS database_rungs,
    groupUniqArrayArray(if(statement_row.version = '', [], [toString(statement_row.version)])) AS versions,
    min(statement_row.started_at) AS first_seen,
    max(statement_row.started_at) AS last_seen,
    max(statement_row.received_at) AS last_received_at,
    toUInt64(countIf(statement_row.kind = 'read')) AS reads,
    toUInt64(countIf(statement_row.kind = 'write')) AS writes
FROM statements_local AS statement_row
WHERE statement_row.database != ''
GROUP BY
    environment, application, service, process_kind, database, database_schema, database_role, database_url,
    database_url_variable, db_system, db_namespace, arrived;

-- 0024_database_sightings_from_logs.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS database_sightings_from_logs ON CLUSTER 'main' TO database_sightings_local AS
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
FROM otel_logs_local AS log_row
WHERE (EventName = 'trueline.database.connected' OR LogAttributes['event.name'] = 'trueline.database.connected')
    AND LogAttributes['trueline.database.fingerprint'] != ''
GROUP BY
    environment, application, service, process_kind, database, database_schema, database_role, database_url,
    database_url_variable, db_system, db_namespace, arrived;

-- 0025_databases.sql
CREATE OR REPLACE VIEW databases ON CLUSTER 'main' AS
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
    groupUniqArrayArray(sighting_row.database_rungs) AS database_rungs,
    groupUniqArrayArray(sighting_row.versions) AS versions,
    min(sighting_row.first_seen) AS first_seen,
    max(sighting_row.last_seen) AS last_seen,
    max(sighting_row.last_received_at) AS last_received_at,
    sum(sighting_row.reads) AS reads,
    sum(sighting_row.writes) AS writes
FROM database_sightings AS sighting_row
GROUP BY
    environment, application, service, process_kind, database, database_schema, database_role, database_url,
    database_url_variable, db_system, db_namespace;

-- 0030_statements_resolved.sql
CREATE OR REPLACE VIEW statements_resolved_local ON CLUSTER 'main' AS
SELECT
    exported_row.received_at AS received_at,
    exported_row.request_hash AS request_hash,
    exported_row.started_at AS started_at,
    exported_row.ended_at AS ended_at,
    exported_row.trace_id AS trace_id,
    exported_row.span_id AS span_id,
    exported_row.parent_span_id AS parent_span_id,
    exported_row.span_name AS span_name,
    exported_row.span_kind AS span_kind,
    exported_row.status AS status,
    exported_row.status_message AS status_message,
    exported_row.service AS service,
    exported_row.application AS application,
    exported_row.version AS version,
    exported_row.instance AS instance,
    exported_row.environment AS environment,
    exported_row.process_kind AS process_kind,
    exported_row.kind AS kind,
    exported_row.tables AS tables,
    exported_row.rows AS rows,
    exported_row.filters AS filters,
    exported_row.row_key AS row_key,
    exported_row.row_lock AS row_lock,
    exported_row.self_update AS self_update,
    exported_row.on_conflict AS on_conflict,
    exported_row.database AS database,
    exported_row.database_rungs AS database_rungs,
    exported_row.database_role AS database_role,
    exported_row.database_schema AS database_schema,
    exported_row.database_version AS database_version,
    exported_row.database_url AS database_url,
    exported_row.database_url_variable AS database_url_variable,
    exported_row.identity_columns AS identity_columns,
    exported_row.identity_clauses AS identity_clauses,
    exported_row.identity_encodings AS identity_encodings,
    exported_row.identity_values AS identity_values,
    exported_row.identity_domains AS identity_domains,
    exported_row.identity_count AS identity_count,
    exported_row.identity_bound AS identity_bound,
    exported_row.identity_row AS identity_row,
    exported_row.hash_key_id AS hash_key_id,
    exported_row.entry_name AS entry_name,
    exported_row.entry_span_id AS entry_span_id,
    exported_row.orm_session_id AS orm_session_id,
    exported_row.transaction_id AS transaction_id,
    multiIf(exported_row.outcome != 'open', exported_row.outcome, has(settlement_row.undone, exported_row.span_id), 'rolled_back', settlement_row.outcome != '', settlement_row.outcome, exported_row.received_at < now64(3) - INTERVAL 10 MINUTE, 'rolled_back', 'open') AS outcome,
    multiIf(exported_row.outcome != 'open', exported_row.reason, has(settlement_row.undone, exported_row.span_id), 'savepoint', settlement_row.outcome != '', settlement_row.reason, exported_row.received_at < now64(3) - INTERVAL 10 MINUTE, 'abandoned', '') AS reason,
    exported_row.autocommit AS autocommit,
    if(exported_row.outcome = 'open' AND settlement_row.outcome != '', settlement_row.error_type, exported_row.transaction_error_type) AS transaction_error_type,
    exported_row.sample_ratio AS sample_ratio,
    exported_row.constraint_name AS constraint_name,
    exported_row.constraint_kind AS constraint_kind,
    exported_row.constraint_table AS constraint_table,
    exported_row.constraint_columns AS constraint_columns,
    exported_row.error_type AS error_type,
    exported_row.status_code AS status_code,
    exported_row.db_system AS db_system,
    exported_row.db_namespace AS db_namespace,
    exported_row.operation AS operation,
    exported_row.batch_size AS batch_size,
    exported_row.query_text AS query_text,
    exported_row.query_summary AS query_summary,
    exported_row.server_address AS server_address,
    exported_row.server_port AS server_port,
    exported_row.exception_type AS exception_type
FROM statements_local AS exported_row
ANY LEFT JOIN settlements_local AS settlement_row
    ON settlement_row.transaction_id
    = if(exported_row.outcome = 'open', exported_row.transaction_id, '');
CREATE TABLE IF NOT EXISTS statements_resolved ON CLUSTER 'main' AS statements_resolved_local
ENGINE = Distributed('main', 'trueline', 'statements_resolved_local', cityHash64(trace_id));

-- 0031_identity_statements.sql
CREATE TABLE IF NOT EXISTS identity_statements_local ON CLUSTER 'main'
(
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    duration UInt64 COMMENT 'nanoseconds' CODEC(T64, ZSTD(3)),
    ended_at DateTime64(9, 'UTC')
        ALIAS fromUnixTimestamp64Nano(toUnixTimestamp64Nano(started_at) + toInt64(duration), 'UTC'),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    status LowCardinality(String) CODEC(ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    access LowCardinality(String) CODEC(ZSTD(3)),
    table LowCardinality(String) CODEC(ZSTD(3)),
    column LowCardinality(String) CODEC(ZSTD(3)),
    clause LowCardinality(String) CODEC(ZSTD(3)),
    encoding LowCardinality(String) CODEC(ZSTD(3)),
    domain LowCardinality(String) CODEC(ZSTD(3)),
    identity String CODEC(ZSTD(3)),
    hash_key_id LowCardinality(String) CODEC(ZSTD(3)),
    set_keys Array(LowCardinality(String)) CODEC(ZSTD(3)),
    rows Int64 CODEC(ZSTD(3)),
    database LowCardinality(String) CODEC(ZSTD(3)),
    database_rungs Array(LowCardinality(String)) CODEC(ZSTD(3)),
    database_role LowCardinality(String) CODEC(ZSTD(3)),
    database_schema LowCardinality(String) CODEC(ZSTD(3)),
    database_url LowCardinality(String) CODEC(ZSTD(3)),
    database_url_variable LowCardinality(String) CODEC(ZSTD(3)),
    db_system LowCardinality(String) CODEC(ZSTD(3)),
    db_namespace LowCardinality(String) CODEC(ZSTD(3)),
    entry_name LowCardinality(String) CODEC(ZSTD(3)),
    query_text LowCardinality(String) CODEC(ZSTD(3)),
    transaction_id String CODEC(ZSTD(3)),
    exported_outcome LowCardinality(String) CODEC(ZSTD(3))
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/identity_statements', '{replica}')
PARTITION BY toDate(received_at)
ORDER BY (identity, started_at)
SETTINGS index_granularity = 1024, replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS identity_statements ON CLUSTER 'main' AS identity_statements_local
ENGINE = Distributed('main', 'trueline', 'identity_statements_local', cityHash64(trace_id));

-- 0032_identity_statements_from_statements.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS identity_statements_from_statements ON CLUSTER 'main' TO identity_statements_local AS
SELECT
    received_at,
    request_hash,
    started_at,
    toUInt64(greatest(0, toUnixTimestamp64Nano(ended_at) - toUnixTimestamp64Nano(started_at))) AS duration,
    trace_id,
    span_id,
    status,
    environment,
    application,
    service,
    version,
    process_kind,
    if(kind = 'write' AND table = tables[1], 'write', 'read') AS access,
    use.1 AS table,
    use.2 AS column,
    use.3 AS clause,
    use.4 AS encoding,
    use.5 AS domain,
    use.6 AS identity,
    hash_key_id,
    arrayMap(
        place -> concat(identity_columns[place], ' ', identity_encodings[place]),
        arrayFilter(place -> identity_clauses[place] = 'set', arrayEnumerate(identity_columns))
    ) AS set_keys,
    rows,
    database,
    database_rungs,
    database_role,
    database_schema,
    database_url,
    database_url_variable,
    db_system,
    db_namespace,
    entry_name,
    query_text,
    transaction_id,
    outcome AS exported_outcome
FROM statements_local
ARRAY JOIN arrayConcat(
    arrayMap(
        place -> (
            if(
                identity_columns[place] LIKE '%.%',
                replaceRegexpOne(toString(identity_columns[place]), '\\.[^.]*$', ''),
                toString(tables[1])
            ),
            toString(identity_columns[place]),
            toString(identity_clauses[place]),
            toString(identity_encodings[place]),
            toString(identity_domains[place]),
            identity_values[place]
        ),
        arrayEnumerate(identity_columns)
    ),
    arrayFlatten(
        arrayMap(
            touched -> arrayConcat(
                arrayMap(
                    owner -> (
                        toString(touched), '', 'row', '',
                        substring(owner, 1, position(owner, ':') - 1),
                        substring(owner, position(owner, ':') + 1)
                    ),
                    if(touched = tables[1], identity_row, [])
                ),
                arrayMap(
                    bound -> (
                        toString(touched), '', 'bound', '',
                        substring(bound, 1, position(bound, ':') - 1),
                        substring(bound, position(bound, ':') + 1)
                    ),
                    arrayFilter(
                        bound -> (kind = 'write' OR NOT startsWith(bound, 'message:'))
                            AND NOT has(identity_domains, substring(bound, 1, position(bound, ':') - 1))
                            AND NOT arrayExists(
                                owner -> startsWith(owner, substring(bound, 1, position(bound, ':'))),
                                identity_row
                            ),
                        identity_bound
                    )
                )
            ),
            if(kind = 'write', arraySlice(tables, 1, 1), tables)
        )
    )
) AS use
WHERE kind IN ('read', 'write') AND use.6 != '';

-- 0033_identity_uses.sql
CREATE OR REPLACE VIEW identity_uses_local ON CLUSTER 'main' AS
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
FROM identity_statements_local AS used_row
ANY LEFT JOIN settlements_local AS settlement_row
    ON settlement_row.transaction_id = if(used_row.exported_outcome = 'open', used_row.transaction_id, '');
CREATE TABLE IF NOT EXISTS identity_uses ON CLUSTER 'main' AS identity_uses_local
ENGINE = Distributed('main', 'trueline', 'identity_uses_local', cityHash64(trace_id));

-- 0034_access_counts.sql
CREATE TABLE IF NOT EXISTS access_counts_local ON CLUSTER 'main'
(
    received_on Date COMMENT 'day of arrival',
    at DateTime('UTC') COMMENT 'five minutes of event time' CODEC(Delta(4), ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    table LowCardinality(String) CODEC(ZSTD(3)),
    domain LowCardinality(String) CODEC(ZSTD(3)),
    access LowCardinality(String) CODEC(ZSTD(3)),
    database LowCardinality(String) CODEC(ZSTD(3)),
    database_schema LowCardinality(String) CODEC(ZSTD(3)),
    database_role LowCardinality(String) CODEC(ZSTD(3)),
    column LowCardinality(String) CODEC(ZSTD(3)),
    clause LowCardinality(String) CODEC(ZSTD(3)),
    encoding LowCardinality(String) CODEC(ZSTD(3)),
    hash_key_id LowCardinality(String) CODEC(ZSTD(3)),
    outcome LowCardinality(String) COMMENT 'as exported' CODEC(ZSTD(3)),
    failed Bool CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    entry_name LowCardinality(String) CODEC(ZSTD(3)),
    open_transaction String CODEC(ZSTD(3)),
    open_span String CODEC(ZSTD(3)),
    uses SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(3)),
    zero_rows SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(3)),
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(3)),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(3)),
    last_received_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta(8), ZSTD(3)),
    database_rungs SimpleAggregateFunction(groupUniqArrayArray, Array(String)) CODEC(ZSTD(3)),
    identities AggregateFunction(uniqCombined(12), String) CODEC(ZSTD(3)),
    sample_identities SimpleAggregateFunction(groupUniqArrayArray(3), Array(String)) CODEC(ZSTD(3)),
    sample_spans SimpleAggregateFunction(groupUniqArrayArray(2), Array(Tuple(String, String)))
        CODEC(ZSTD(3))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/trueline/access_counts', '{replica}')
PARTITION BY received_on
PRIMARY KEY (at, environment, application, table)
ORDER BY (
    at, environment, application, table, domain, access, database, database_schema, database_role, column, clause,
    encoding, hash_key_id, outcome, failed, service, version, process_kind, entry_name, open_transaction, open_span
)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS access_counts ON CLUSTER 'main' AS access_counts_local
ENGINE = Distributed('main', 'trueline', 'access_counts_local', cityHash64(table, domain));

-- 0035_access_counts_from_identity_statements.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS access_counts_from_identity_statements ON CLUSTER 'main' TO access_counts_local AS
SELECT
    toDate(used_row.received_at) AS received_on,
    toStartOfFiveMinutes(toDateTime(used_row.started_at, 'UTC')) AS at,
    environment,
    application,
    table,
    domain,
    access,
    database,
    database_schema,
    database_role,
    column,
    clause,
    encoding,
    hash_key_id,
    exported_outcome AS outcome,
    used_row.status = 'error' AS failed,
    service,
    version,
    process_kind,
    entry_name,
    if(used_row.exported_outcome = 'open', used_row.transaction_id, '') AS open_transaction,
    if(used_row.exported_outcome = 'open', used_row.span_id, '') AS open_span,
    count() AS uses,
    countIf(used_row.rows = 0) AS zero_rows,
    min(used_row.started_at) AS first_seen,
    max(
        fromUnixTimestamp64Nano(toUnixTimestamp64Nano(used_row.started_at) + toInt64(used_row.duration), 'UTC')
    ) AS last_seen,
    max(used_row.received_at) AS last_received_at,
    groupUniqArrayArray(used_row.database_rungs) AS database_rungs,
    uniqCombinedState(12)(used_row.identity) AS identities,
    groupUniqArray(3)(used_row.identity) AS sample_identities,
    groupUniqArray(2)((used_row.trace_id, used_row.span_id)) AS sample_spans
FROM identity_statements_local AS used_row
GROUP BY
    received_on, at, environment, application, table, domain, access, database, database_schema, database_role, column,
    clause, encoding, hash_key_id, outcome, failed, service, version, process_kind, entry_name, open_transaction,
    open_span;

-- 0036_access.sql
CREATE OR REPLACE VIEW access ON CLUSTER 'main' AS
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
GLOBAL ANY LEFT JOIN settlements AS settlement_row ON settlement_row.transaction_id = counted_row.open_transaction
GROUP BY
    at, environment, application, table, domain, access, database, database_schema, database_role, column, clause,
    encoding, hash_key_id, outcome, failed, service, version, process_kind, entry_name;

-- 0037_identity_arrivals.sql
CREATE OR REPLACE VIEW identity_arrivals_local ON CLUSTER 'main' AS
SELECT
    tables,
    received_at,
    request_hash,
    started_at,
    ended_at,
    trace_id,
    span_id,
    status,
    environment,
    application,
    service,
    version,
    process_kind,
    if(kind = 'write' AND table = tables[1], 'write', 'read') AS access,
    use.1 AS table,
    use.2 AS column,
    use.3 AS clause,
    use.4 AS encoding,
    use.5 AS domain,
    use.6 AS identity,
    hash_key_id,
    arrayMap(
        place -> concat(identity_columns[place], ' ', identity_encodings[place]),
        arrayFilter(place -> identity_clauses[place] = 'set', arrayEnumerate(identity_columns))
    ) AS set_keys,
    rows,
    database,
    database_rungs,
    database_role,
    database_schema,
    database_url,
    database_url_variable,
    db_system,
    db_namespace,
    entry_name,
    query_text,
    transaction_id,
    outcome AS exported_outcome
FROM statements_local
ARRAY JOIN arrayConcat(
    arrayMap(
        place -> (
            if(
                identity_columns[place] LIKE '%.%',
                replaceRegexpOne(toString(identity_columns[place]), '\\.[^.]*$', ''),
                toString(tables[1])
            ),
            toString(identity_columns[place]),
            toString(identity_clauses[place]),
            toString(identity_encodings[place]),
            toString(identity_domains[place]),
            identity_values[place]
        ),
        arrayEnumerate(identity_columns)
    ),
    arrayFlatten(
        arrayMap(
            touched -> arrayConcat(
                arrayMap(
                    owner -> (
                        toString(touched), '', 'row', '',
                        substring(owner, 1, position(owner, ':') - 1),
                        substring(owner, position(owner, ':') + 1)
                    ),
                    if(touched = tables[1], identity_row, [])
                ),
                arrayMap(
                    bound -> (
                        toString(touched), '', 'bound', '',
                        substring(bound, 1, position(bound, ':') - 1),
                        substring(bound, position(bound, ':') + 1)
                    ),
                    arrayFilter(
                        bound -> (kind = 'write' OR NOT startsWith(bound, 'message:'))
                            AND NOT has(identity_domains, substring(bound, 1, position(bound, ':') - 1))
                            AND NOT arrayExists(
                                owner -> startsWith(owner, substring(bound, 1, position(bound, ':'))),
                                identity_row
                            ),
                        identity_bound
                    )
                )
            ),
            if(kind = 'write', arraySlice(tables, 1, 1), tables)
        )
    )
) AS use
WHERE kind IN ('read', 'write') AND use.6 != '';
CREATE TABLE IF NOT EXISTS identity_arrivals ON CLUSTER 'main' AS identity_arrivals_local
ENGINE = Distributed('main', 'trueline', 'identity_arrivals_local', cityHash64(trace_id));

-- 0040_exceptions.sql
CREATE TABLE IF NOT EXISTS exceptions_local ON CLUSTER 'main'
(
    received_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    source LowCardinality(String) COMMENT 'span or log',
    environment LowCardinality(String),
    application LowCardinality(String),
    service LowCardinality(String),
    version LowCardinality(String),
    process_kind LowCardinality(String),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    exception_type LowCardinality(String),
    exception_message String CODEC(ZSTD(3)),
    escaped Bool COMMENT 'the exception left the span (false where unknown)',
    INDEX trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/exceptions', '{replica}')
PARTITION BY toDate(received_at)
PRIMARY KEY (toStartOfFiveMinutes(at), environment, service)
ORDER BY (toStartOfFiveMinutes(at), environment, service, at)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS exceptions ON CLUSTER 'main' AS exceptions_local
ENGINE = Distributed('main', 'trueline', 'exceptions_local', cityHash64(trace_id));

-- 0041_exceptions_from_traces.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS exceptions_from_traces ON CLUSTER 'main' TO exceptions_local AS
SELECT
    received_at,
    request_hash,
    event.1 AS at,
    'span' AS source,
    multiIf(
        ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'],
        ResourceAttributes['deployment.environment'] != '', ResourceAttributes['deployment.environment'],
        'unset'
    ) AS environment,
    ResourceAttributes['service.namespace'] AS application,
    ServiceName AS service,
    ResourceAttributes['service.version'] AS version,
    ResourceAttributes['trueline.process.kind'] AS process_kind,
    lower(TraceId) AS trace_id,
    lower(SpanId) AS span_id,
    event.3['exception.type'] AS exception_type,
    event.3['exception.message'] AS exception_message,
    lower(event.3['exception.escaped']) = 'true' AS escaped
FROM otel_traces_local
ARRAY JOIN arrayZip(Events.Timestamp, Events.Name, Events.Attributes) AS event
WHERE has(Events.Name, 'exception') AND event.2 = 'exception';

-- 0042_exceptions_from_logs.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS exceptions_from_logs ON CLUSTER 'main' TO exceptions_local AS
SELECT
    received_at,
    request_hash,
    Timestamp AS at,
    'log' AS source,
    multiIf(
        ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'],
        ResourceAttributes['deployment.environment'] != '', ResourceAttributes['deployment.environment'],
        'unset'
    ) AS environment,
    ResourceAttributes['service.namespace'] AS application,
    ServiceName AS service,
    ResourceAttributes['service.version'] AS version,
    ResourceAttributes['trueline.process.kind'] AS process_kind,
    lower(TraceId) AS trace_id,
    lower(SpanId) AS span_id,
    LogAttributes['exception.type'] AS exception_type,
    LogAttributes['exception.message'] AS exception_message,
    lower(LogAttributes['exception.escaped']) = 'true' AS escaped
FROM otel_logs_local
WHERE LogAttributes['exception.type'] != '';

-- 0100_findings.sql
CREATE TABLE IF NOT EXISTS findings_local ON CLUSTER 'main'
(
    id String,
    sequence UInt64,
    rule LowCardinality(String),
    rule_version UInt32,
    rule_revision String,
    title String,
    severity LowCardinality(String),
    state LowCardinality(String),
    environment LowCardinality(String),
    application LowCardinality(String),
    service LowCardinality(String),
    services Array(LowCardinality(String)),
    versions Array(String),
    group_columns String COMMENT 'the columns that make the finding what it is, as a JSON object',
    facts String COMMENT 'the latest result row, as a JSON object',
    summary String,
    explanation String,
    remediation_now String,
    remediation_then String,
    remediation_check String,
    first_seen DateTime64(6, 'UTC'),
    last_seen DateTime64(6, 'UTC'),
    opened_at DateTime64(3, 'UTC'),
    last_arrival_at DateTime64(3, 'UTC'),
    updated_at DateTime64(3, 'UTC'),
    resolved_at Nullable(DateTime64(3, 'UTC')),
    resolved_by LowCardinality(String),
    count UInt64,
    value Float64,
    trace_ids Array(String),
    span_ids Array(String)
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/trueline/findings', '{replica}', sequence)
ORDER BY id;
CREATE TABLE IF NOT EXISTS findings ON CLUSTER 'main' AS findings_local
ENGINE = Distributed('main', 'trueline', 'findings_local', cityHash64(id));

-- 0101_finding_occurrences.sql
CREATE TABLE IF NOT EXISTS finding_occurrences_local ON CLUSTER 'main'
(
    finding_id String,
    occurrence String,
    added_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/trueline/finding_occurrences', '{replica}')
ORDER BY (finding_id, occurrence);
CREATE TABLE IF NOT EXISTS finding_occurrences ON CLUSTER 'main' AS finding_occurrences_local
ENGINE = Distributed('main', 'trueline', 'finding_occurrences_local', cityHash64(finding_id));

-- 0102_finding_evidence.sql
CREATE TABLE IF NOT EXISTS finding_evidence_local ON CLUSTER 'main'
(
    finding_id String,
    item_id String COMMENT 'the span id; a hash for a log record',
    kind LowCardinality(String) COMMENT 'span or log',
    named Bool COMMENT 'whether the rule named it, or it stands in the same trace',
    trace_id String,
    span_id String,
    parent_span_id String,
    at DateTime64(9, 'UTC'),
    duration_ns UInt64,
    service LowCardinality(String),
    version LowCardinality(String),
    name String,
    status LowCardinality(String) COMMENT 'ok, error or unset; the severity of a log record',
    status_message String,
    outcome LowCardinality(String) COMMENT 'of the transaction, as it was settled by the time of copying',
    reason LowCardinality(String),
    attributes Map(LowCardinality(String), String),
    copied_at DateTime64(3, 'UTC')
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/trueline/finding_evidence', '{replica}', copied_at)
ORDER BY (finding_id, item_id);
CREATE TABLE IF NOT EXISTS finding_evidence ON CLUSTER 'main' AS finding_evidence_local
ENGINE = Distributed('main', 'trueline', 'finding_evidence_local', cityHash64(finding_id));

-- 0103_finding_events.sql
CREATE TABLE IF NOT EXISTS finding_events_local ON CLUSTER 'main'
(
    finding_id String,
    at DateTime64(3, 'UTC'),
    sequence UInt64,
    action LowCardinality(String),
    who String,
    why String,
    state LowCardinality(String)
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/finding_events', '{replica}')
ORDER BY (finding_id, at, sequence);
CREATE TABLE IF NOT EXISTS finding_events ON CLUSTER 'main' AS finding_events_local
ENGINE = Distributed('main', 'trueline', 'finding_events_local', cityHash64(finding_id));

-- 0104_rule_runs.sql
CREATE TABLE IF NOT EXISTS rule_runs_local ON CLUSTER 'main'
(
    rule LowCardinality(String),
    version UInt32,
    revision LowCardinality(String),
    start DateTime64(3, 'UTC'),
    end DateTime64(3, 'UTC'),
    result LowCardinality(String) COMMENT 'ok, error (to be tried again) or skipped (given up)',
    rows UInt32 COMMENT 'groups that the query returned',
    ms Float64,
    error String,
    at DateTime64(3, 'UTC')
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/rule_runs', '{replica}')
PARTITION BY toDate(at)
ORDER BY (rule, revision, end)
TTL toDate(at) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS rule_runs ON CLUSTER 'main' AS rule_runs_local
ENGINE = Distributed('main', 'trueline', 'rule_runs_local', cityHash64(rule));

-- 0110_declarations.sql
CREATE TABLE IF NOT EXISTS declarations_local ON CLUSTER 'main'
(
    application LowCardinality(String) COMMENT 'empty: all applications',
    content_hash String COMMENT 'SHA-256 of the file; empty: withdrawn',
    valid_from DateTime64(3, 'UTC'),
    path String,
    kind LowCardinality(String),
    name String COMMENT 'what the entry is about',
    tables Array(String),
    domain LowCardinality(String),
    words Array(String) COMMENT 'encodings, places, writers, roles ...',
    seconds Float64 COMMENT '0: none',
    service LowCardinality(String),
    operation String,
    environment LowCardinality(String),
    starts Nullable(DateTime64(3, 'UTC')),
    ends Nullable(DateTime64(3, 'UTC')),
    detail String COMMENT 'the whole entry as JSON'
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/declarations', '{replica}')
ORDER BY (application, valid_from, kind, name);
CREATE TABLE IF NOT EXISTS declarations ON CLUSTER 'main' AS declarations_local
ENGINE = Distributed('main', 'trueline', 'declarations_local', cityHash64(application));

-- 0111_declarations_in_force.sql
CREATE OR REPLACE VIEW declarations_in_force ON CLUSTER 'main' AS
SELECT *
FROM declarations
WHERE (application, valid_from) GLOBAL IN (SELECT application, max(valid_from) FROM declarations GROUP BY application);

-- 0120_findings_labels.sql
ALTER TABLE findings_local ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS tables Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS databases Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS identities Array(String),
    ADD COLUMN IF NOT EXISTS acknowledged_by String,
    ADD COLUMN IF NOT EXISTS since String COMMENT 'the deploy that it began with, as a JSON object; empty if not known';
ALTER TABLE findings ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS tables Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS databases Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS identities Array(String),
    ADD COLUMN IF NOT EXISTS acknowledged_by String,
    ADD COLUMN IF NOT EXISTS since String COMMENT 'the deploy that it began with, as a JSON object; empty if not known';

-- 0121_finding_events_requests.sql
ALTER TABLE finding_events_local ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS request_id String;
ALTER TABLE finding_events ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS request_id String;

-- 0122_service_versions.sql
CREATE TABLE IF NOT EXISTS service_versions_local ON CLUSTER 'main'
(
    environment LowCardinality(String) DEFAULT 'unset',
    application LowCardinality(String),
    service LowCardinality(String),
    version String,
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC'))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/trueline/service_versions', '{replica}')
ORDER BY (environment, application, service, version)
SETTINGS replicated_deduplication_window = 1000;
CREATE TABLE IF NOT EXISTS service_versions ON CLUSTER 'main' AS service_versions_local
ENGINE = Distributed('main', 'trueline', 'service_versions_local', cityHash64(service));

-- 0123_service_versions_from_statements.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS service_versions_from_statements ON CLUSTER 'main' TO service_versions_local AS
SELECT
    environment,
    application,
    service,
    version,
    min(statement_row.started_at) AS first_seen,
    max(statement_row.started_at) AS last_seen
FROM statements_local AS statement_row
WHERE statement_row.version != ''
GROUP BY environment, application, service, version;

-- 0124_silences.sql
CREATE TABLE IF NOT EXISTS silences_local ON CLUSTER 'main'
(
    id String,
    sequence UInt64,
    at DateTime64(3, 'UTC'),
    action LowCardinality(String) COMMENT 'created, changed or ended',
    who String,
    matchers String COMMENT 'a JSON array of label, op and value',
    starts_at DateTime64(3, 'UTC'),
    ends_at DateTime64(3, 'UTC'),
    author String,
    reason String,
    created_at DateTime64(3, 'UTC')
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/silences', '{replica}')
ORDER BY (id, sequence);
CREATE TABLE IF NOT EXISTS silences ON CLUSTER 'main' AS silences_local
ENGINE = Distributed('main', 'trueline', 'silences_local', cityHash64(id));

-- 0125_incident_members.sql
CREATE TABLE IF NOT EXISTS incident_members_local ON CLUSTER 'main'
(
    finding_id String,
    incident_id String,
    merged_from String,
    sequence UInt64,
    at DateTime64(3, 'UTC')
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/incident_members', '{replica}')
ORDER BY (finding_id, sequence);
CREATE TABLE IF NOT EXISTS incident_members ON CLUSTER 'main' AS incident_members_local
ENGINE = Distributed('main', 'trueline', 'incident_members_local', cityHash64(finding_id));

-- 0126_notifications.sql
CREATE TABLE IF NOT EXISTS notifications_local ON CLUSTER 'main'
(
    target LowCardinality(String),
    key String COMMENT 'the finding or incident',
    sequence UInt64,
    at DateTime64(3, 'UTC'),
    status LowCardinality(String) COMMENT 'firing or resolved',
    digest String COMMENT 'of what the message says: the same is not sent twice in a row',
    result LowCardinality(String) COMMENT 'pending, sent or refused',
    answer String,
    members Array(String) COMMENT 'the findings that it told of as firing'
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/trueline/notifications', '{replica}', sequence)
ORDER BY (target, key);
CREATE TABLE IF NOT EXISTS notifications ON CLUSTER 'main' AS notifications_local
ENGINE = Distributed('main', 'trueline', 'notifications_local', cityHash64(target, key));

-- 0130_rule_runs_notes.sql
ALTER TABLE rule_runs_local ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS withheld UInt32 DEFAULT 0,
    ADD COLUMN IF NOT EXISTS note String DEFAULT '',
    ADD COLUMN IF NOT EXISTS sequence UInt64 DEFAULT 0;
ALTER TABLE rule_runs ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS withheld UInt32 DEFAULT 0,
    ADD COLUMN IF NOT EXISTS note String DEFAULT '',
    ADD COLUMN IF NOT EXISTS sequence UInt64 DEFAULT 0;

-- 0131_export_losses.sql
CREATE TABLE IF NOT EXISTS export_losses_local ON CLUSTER 'main'
(
    received_at DateTime64(3, 'UTC') DEFAULT now64(3),
    started_at DateTime64(3, 'UTC') COMMENT 'lost at this time at the earliest, by the clock of the service',
    ended_at DateTime64(3, 'UTC'),
    environment LowCardinality(String) DEFAULT 'unset',
    application LowCardinality(String),
    service LowCardinality(String),
    instance String,
    reason LowCardinality(String),
    count UInt64
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/export_losses', '{replica}')
PARTITION BY toDate(received_at)
ORDER BY (ended_at, environment, application, service)
TTL toDate(received_at) + INTERVAL 30 DAY
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS export_losses ON CLUSTER 'main' AS export_losses_local
ENGINE = Distributed('main', 'trueline', 'export_losses_local', cityHash64(service));

-- 0132_export_losses_from_logs.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS export_losses_from_logs ON CLUSTER 'main' TO export_losses_local AS
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
FROM otel_logs_local
WHERE (EventName = 'trueline.export.loss' OR LogAttributes['event.name'] = 'trueline.export.loss')
    AND toUInt64OrZero(LogAttributes['trueline.loss.count']) > 0;

-- 0133_table_uses.sql
CREATE TABLE IF NOT EXISTS table_uses_local ON CLUSTER 'main'
(
    received_on Date COMMENT 'day of arrival',
    at DateTime('UTC') COMMENT 'five minutes of event time' CODEC(Delta(4), ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    table LowCardinality(String) CODEC(ZSTD(3)),
    access LowCardinality(String) COMMENT 'read, write, rename' CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3)),
    database LowCardinality(String) CODEC(ZSTD(3)),
    database_schema LowCardinality(String) CODEC(ZSTD(3)),
    outcome LowCardinality(String) COMMENT 'as exported' CODEC(ZSTD(3)),
    open_transaction String CODEC(ZSTD(3)),
    open_span String CODEC(ZSTD(3)),
    uses SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(3)),
    first_seen SimpleAggregateFunction(min, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(3)),
    last_seen SimpleAggregateFunction(max, DateTime64(9, 'UTC')) CODEC(Delta(8), ZSTD(3)),
    last_received_at SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(Delta(8), ZSTD(3)),
    database_rungs SimpleAggregateFunction(groupUniqArrayArray, Array(String)) CODEC(ZSTD(3))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/trueline/table_uses', '{replica}')
PARTITION BY received_on
PRIMARY KEY (at, environment, application, table)
ORDER BY (
    at, environment, application, table, access, service, process_kind, instance, database, database_schema, outcome,
    open_transaction, open_span
)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS table_uses ON CLUSTER 'main' AS table_uses_local
ENGINE = Distributed('main', 'trueline', 'table_uses_local', cityHash64(table));

-- 0134_table_uses_from_statements.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS table_uses_from_statements ON CLUSTER 'main' TO table_uses_local AS
SELECT
    toDate(statement_row.received_at) AS received_on,
    toStartOfFiveMinutes(toDateTime(statement_row.started_at, 'UTC')) AS at,
    environment,
    application,
    touched AS table,
    multiIf(kind = 'ddl', 'rename', kind = 'write' AND touched = tables[1], 'write', 'read') AS access,
    service,
    process_kind,
    instance,
    database,
    database_schema,
    statement_row.outcome AS outcome,
    if(statement_row.outcome = 'open', statement_row.transaction_id, '') AS open_transaction,
    if(statement_row.outcome = 'open', statement_row.span_id, '') AS open_span,
    count() AS uses,
    min(statement_row.started_at) AS first_seen,
    max(statement_row.ended_at) AS last_seen,
    max(statement_row.received_at) AS last_received_at,
    groupUniqArrayArray(statement_row.database_rungs) AS database_rungs
FROM statements_local AS statement_row
ARRAY JOIN tables AS touched
WHERE status != 'error'
    AND (
        kind = 'read'
        OR (kind = 'write' AND (rows != 0 OR touched != tables[1]))
        OR (
            kind = 'ddl' AND operation = 'ALTER'
            AND (query_text = '' OR match(query_text, '(?i)\\b(rename|change)\\b'))
        )
    )
GROUP BY
    received_on, at, environment, application, table, access, service, process_kind, instance, database,
    database_schema, outcome, open_transaction, open_span;

-- 0135_traffic.sql
CREATE OR REPLACE VIEW traffic_local ON CLUSTER 'main' AS
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
FROM table_uses_local AS used_row
ANY LEFT JOIN settlements_local AS settlement_row ON settlement_row.transaction_id = used_row.open_transaction;
CREATE TABLE IF NOT EXISTS traffic ON CLUSTER 'main' AS traffic_local
ENGINE = Distributed('main', 'trueline', 'traffic_local', cityHash64(trace_id));

-- 0136_violation_statements.sql
CREATE TABLE IF NOT EXISTS violation_statements_local ON CLUSTER 'main'
(
    received_at DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    ended_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    parent_span_id String CODEC(ZSTD(3)),
    span_name LowCardinality(String) CODEC(ZSTD(3)),
    span_kind LowCardinality(String) CODEC(ZSTD(3)),
    status LowCardinality(String) CODEC(ZSTD(3)),
    status_message String CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3)),
    environment LowCardinality(String) DEFAULT 'unset' CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    kind LowCardinality(String) CODEC(ZSTD(3)),
    tables Array(LowCardinality(String)) CODEC(ZSTD(3)),
    rows Int64 DEFAULT -1 CODEC(ZSTD(3)),
    filters Array(LowCardinality(String)) CODEC(ZSTD(3)),
    row_key String CODEC(ZSTD(3)),
    row_lock Bool CODEC(ZSTD(3)),
    self_update Bool CODEC(ZSTD(3)),
    on_conflict LowCardinality(String) CODEC(ZSTD(3)),
    database LowCardinality(String) CODEC(ZSTD(3)),
    database_rungs Array(LowCardinality(String)) CODEC(ZSTD(3)),
    database_role LowCardinality(String) CODEC(ZSTD(3)),
    database_schema LowCardinality(String) CODEC(ZSTD(3)),
    database_version LowCardinality(String) CODEC(ZSTD(3)),
    database_url LowCardinality(String) CODEC(ZSTD(3)),
    database_url_variable LowCardinality(String) CODEC(ZSTD(3)),
    identity_columns Array(LowCardinality(String)) CODEC(ZSTD(3)),
    identity_clauses Array(LowCardinality(String)) CODEC(ZSTD(3)),
    identity_encodings Array(LowCardinality(String)) CODEC(ZSTD(3)),
    identity_values Array(String) CODEC(ZSTD(3)),
    identity_domains Array(LowCardinality(String)) CODEC(ZSTD(3)),
    identity_count Int64 CODEC(ZSTD(3)),
    identity_bound Array(String) CODEC(ZSTD(3)),
    identity_row Array(String) CODEC(ZSTD(3)),
    hash_key_id LowCardinality(String) CODEC(ZSTD(3)),
    entry_name LowCardinality(String) CODEC(ZSTD(3)),
    entry_span_id String CODEC(ZSTD(3)),
    orm_session_id String CODEC(ZSTD(3)),
    transaction_id String CODEC(ZSTD(3)),
    outcome LowCardinality(String) CODEC(ZSTD(3)),
    reason LowCardinality(String) CODEC(ZSTD(3)),
    autocommit Bool CODEC(ZSTD(3)),
    transaction_error_type LowCardinality(String) CODEC(ZSTD(3)),
    sample_ratio Float64 CODEC(ZSTD(3)),
    constraint_name LowCardinality(String) CODEC(ZSTD(3)),
    constraint_kind LowCardinality(String) CODEC(ZSTD(3)),
    constraint_table LowCardinality(String) CODEC(ZSTD(3)),
    constraint_columns Array(LowCardinality(String)) CODEC(ZSTD(3)),
    error_type LowCardinality(String) CODEC(ZSTD(3)),
    status_code LowCardinality(String) CODEC(ZSTD(3)),
    db_system LowCardinality(String) CODEC(ZSTD(3)),
    db_namespace LowCardinality(String) CODEC(ZSTD(3)),
    operation LowCardinality(String) CODEC(ZSTD(3)),
    batch_size Int64 CODEC(ZSTD(3)),
    query_text LowCardinality(String) CODEC(ZSTD(3)),
    query_summary LowCardinality(String) CODEC(ZSTD(3)),
    server_address LowCardinality(String) CODEC(ZSTD(3)),
    server_port Int64 CODEC(ZSTD(3)),
    exception_type LowCardinality(String) CODEC(ZSTD(3))
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/violation_statements', '{replica}')
PARTITION BY toDate(received_at)
PRIMARY KEY (environment, application, service)
ORDER BY (environment, application, service, started_at)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS violation_statements ON CLUSTER 'main' AS violation_statements_local
ENGINE = Distributed('main', 'trueline', 'violation_statements_local', cityHash64(trace_id));

-- 0137_violations_from_statements.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS violations_from_statements ON CLUSTER 'main' TO violation_statements_local AS
SELECT *
FROM statements_local
WHERE status = 'error' AND (constraint_name != '' OR constraint_kind != '' OR startsWith(status_code, '23'));

-- 0138_violations.sql
CREATE OR REPLACE VIEW violations_local ON CLUSTER 'main' AS
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
FROM violation_statements_local AS refused_row
ANY LEFT JOIN settlements_local AS settlement_row
    ON settlement_row.transaction_id = if(refused_row.outcome = 'open', refused_row.transaction_id, '');
CREATE TABLE IF NOT EXISTS violations ON CLUSTER 'main' AS violations_local
ENGINE = Distributed('main', 'trueline', 'violations_local', cityHash64(trace_id));

-- 0139_violations_from_logs.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS violations_from_logs ON CLUSTER 'main' TO violation_statements_local AS
SELECT
    received_at,
    request_hash,
    toDateTime64(Timestamp, 9, 'UTC') AS started_at,
    toDateTime64(Timestamp, 9, 'UTC') AS ended_at,
    lower(TraceId) AS trace_id,
    lower(hex(sipHash64(ServiceName, TraceId, SpanId, toUnixTimestamp64Nano(Timestamp), Body))) AS span_id,
    lower(SpanId) AS parent_span_id,
    'log' AS span_kind,
    'error' AS status,
    ServiceName AS service,
    ResourceAttributes['service.namespace'] AS application,
    ResourceAttributes['service.version'] AS version,
    ResourceAttributes['service.instance.id'] AS instance,
    multiIf(
        ResourceAttributes['deployment.environment.name'] != '', ResourceAttributes['deployment.environment.name'],
        ResourceAttributes['deployment.environment'] != '', ResourceAttributes['deployment.environment'],
        'unset'
    ) AS environment,
    ResourceAttributes['trueline.process.kind'] AS process_kind,
    'write' AS kind,
    [LogAttributes['trueline.constraint.table']] AS tables,
    JSONExtract(LogAttributes['trueline.identity.bound'], 'Array(String)') AS identity_bound,
    LogAttributes['trueline.hash.key_id'] AS hash_key_id,
    LogAttributes['trueline.entry.name'] AS entry_name,
    'unknown' AS outcome,
    LogAttributes['trueline.constraint.name'] AS constraint_name,
    LogAttributes['trueline.constraint.kind'] AS constraint_kind,
    LogAttributes['trueline.constraint.table'] AS constraint_table,
    JSONExtract(LogAttributes['trueline.constraint.columns'], 'Array(String)') AS constraint_columns,
    LogAttributes['db.response.status_code'] AS error_type,
    LogAttributes['db.response.status_code'] AS status_code,
    LogAttributes['exception.type'] AS exception_type
FROM otel_logs_local
WHERE LogAttributes['trueline.constraint.kind'] != '' OR LogAttributes['trueline.constraint.name'] != ''
    OR startsWith(LogAttributes['db.response.status_code'], '23');

-- 0150_open_writes.sql
CREATE TABLE IF NOT EXISTS open_writes_local ON CLUSTER 'main'
(
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    ended_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    table LowCardinality(String) CODEC(ZSTD(3)),
    rows Int64 CODEC(ZSTD(3)),
    entry_name LowCardinality(String) CODEC(ZSTD(3)),
    entry_span_id String CODEC(ZSTD(3)),
    transaction_id String CODEC(ZSTD(3)),
    database LowCardinality(String) CODEC(ZSTD(3)),
    db_namespace LowCardinality(String) CODEC(ZSTD(3)),
    INDEX transaction_id transaction_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/open_writes', '{replica}')
PARTITION BY toDate(received_at)
ORDER BY (received_at, service)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS open_writes ON CLUSTER 'main' AS open_writes_local
ENGINE = Distributed('main', 'trueline', 'open_writes_local', cityHash64(trace_id));

-- 0151_open_writes_from_statements.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS open_writes_from_statements ON CLUSTER 'main' TO open_writes_local AS
SELECT
    received_at,
    request_hash,
    started_at,
    ended_at,
    trace_id,
    span_id,
    environment,
    application,
    service,
    version,
    instance,
    process_kind,
    tables[1] AS table,
    rows,
    entry_name,
    entry_span_id,
    transaction_id,
    database,
    db_namespace
FROM statements_local
WHERE outcome = 'open' AND kind = 'write' AND status != 'error' AND rows != 0 AND transaction_id != '';

-- 0152_process_ends.sql
CREATE TABLE IF NOT EXISTS process_ends_local ON CLUSTER 'main'
(
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3))
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/process_ends', '{replica}')
PARTITION BY toDate(received_at)
ORDER BY (received_at, service)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS process_ends ON CLUSTER 'main' AS process_ends_local
ENGINE = Distributed('main', 'trueline', 'process_ends_local', cityHash64(service));

-- 0153_process_ends_from_logs.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS process_ends_from_logs ON CLUSTER 'main' TO process_ends_local AS
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
FROM otel_logs_local
WHERE (EventName = 'trueline.inventory' OR LogAttributes['event.name'] = 'trueline.inventory')
    AND LogAttributes['trueline.inventory.trigger'] = 'end' AND ResourceAttributes['service.instance.id'] != '';

-- 0154_operation_counts.sql
CREATE TABLE IF NOT EXISTS operation_counts_local ON CLUSTER 'main'
(
    received_on Date COMMENT 'day of arrival',
    at DateTime('UTC') COMMENT 'five minutes of event time' CODEC(Delta(4), ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    operation LowCardinality(String) CODEC(ZSTD(3)),
    table LowCardinality(String) CODEC(ZSTD(3)),
    entries SimpleAggregateFunction(sum, UInt64) COMMENT 'that did not tell of a failure' CODEC(T64, ZSTD(3)),
    failed SimpleAggregateFunction(sum, UInt64) COMMENT 'that did' CODEC(T64, ZSTD(3)),
    writers SimpleAggregateFunction(sum, UInt64) COMMENT 'entries that committed' CODEC(T64, ZSTD(3))
)
ENGINE = ReplicatedAggregatingMergeTree('/clickhouse/tables/{shard}/trueline/operation_counts', '{replica}')
PARTITION BY received_on
PRIMARY KEY (at, environment, application, service)
ORDER BY (at, environment, application, service, operation, table)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS operation_counts ON CLUSTER 'main' AS operation_counts_local
ENGINE = Distributed('main', 'trueline', 'operation_counts_local', cityHash64(service, operation));

-- 0155_operation_counts_from_entries.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS operation_counts_from_entries ON CLUSTER 'main' TO operation_counts_local AS
WITH entry_row.client_gone OR multiIf(
    entry_row.http_status > 0, entry_row.http_status >= 400,
    entry_row.http_method != '', true,
    entry_row.job_outcome != '', entry_row.job_outcome != 'done',
    entry_row.failed
) AS told
SELECT
    toDate(entry_row.received_at) AS received_on,
    toStartOfFiveMinutes(toDateTime(entry_row.started_at, 'UTC')) AS at,
    environment,
    application,
    service,
    entry_row.span_name AS operation,
    '' AS table,
    countIf(NOT told) AS entries,
    countIf(told) AS failed,
    toUInt64(0) AS writers
FROM entries_local AS entry_row
WHERE entry_row.process_kind != 'test'
GROUP BY received_on, at, environment, application, service, operation;

-- 0156_operation_counts_from_transactions.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS operation_counts_from_transactions ON CLUSTER 'main' TO operation_counts_local AS
SELECT
    toDate(received_at) AS received_on,
    toStartOfFiveMinutes(toDateTime(started_at, 'UTC')) AS at,
    environment,
    application,
    service,
    entry_name AS operation,
    written AS table,
    toUInt64(0) AS entries,
    toUInt64(0) AS failed,
    uniqExact(entry_span_id) AS writers
FROM transactions_local
ARRAY JOIN tables AS written
WHERE outcome = 'committed' AND writes > 0 AND entry_span_id != '' AND process_kind != 'test'
GROUP BY received_on, at, environment, application, service, operation, table;

-- 0170_failed_statements.sql
CREATE TABLE IF NOT EXISTS failed_statements_local ON CLUSTER 'main'
(
    received_at DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(3)),
    request_hash LowCardinality(FixedString(16)) CODEC(ZSTD(3)),
    started_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    trace_id String CODEC(ZSTD(3)),
    span_id String CODEC(ZSTD(3)),
    environment LowCardinality(String) CODEC(ZSTD(3)),
    application LowCardinality(String) CODEC(ZSTD(3)),
    service LowCardinality(String) CODEC(ZSTD(3)),
    version LowCardinality(String) CODEC(ZSTD(3)),
    instance String CODEC(ZSTD(3)),
    process_kind LowCardinality(String) CODEC(ZSTD(3)),
    entry_name LowCardinality(String) CODEC(ZSTD(3)),
    kind LowCardinality(String) CODEC(ZSTD(3)),
    operation LowCardinality(String) CODEC(ZSTD(3)),
    tables Array(LowCardinality(String)) CODEC(ZSTD(3)),
    query_text LowCardinality(String) CODEC(ZSTD(3)),
    database LowCardinality(String) CODEC(ZSTD(3)),
    db_system LowCardinality(String) CODEC(ZSTD(3)),
    db_namespace LowCardinality(String) CODEC(ZSTD(3)),
    status_code LowCardinality(String) COMMENT 'SQLSTATE or the vendor''s number' CODEC(ZSTD(3)),
    error_type LowCardinality(String) CODEC(ZSTD(3)),
    message LowCardinality(String) COMMENT 'without values' CODEC(ZSTD(3)),
    constraint_kind LowCardinality(String) CODEC(ZSTD(3)),
    constraint_table LowCardinality(String) CODEC(ZSTD(3)),
    constraint_columns Array(LowCardinality(String)) CODEC(ZSTD(3)),
    orm_session_id String CODEC(ZSTD(3)),
    transaction_id String CODEC(ZSTD(3)),
    INDEX trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX received_at received_at TYPE minmax GRANULARITY 1
)
ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/trueline/failed_statements', '{replica}')
PARTITION BY toDate(received_at)
PRIMARY KEY (toStartOfFiveMinutes(started_at), environment, service)
ORDER BY (toStartOfFiveMinutes(started_at), environment, service, started_at)
SETTINGS replicated_deduplication_window = 1000, ttl_only_drop_parts = 1;
CREATE TABLE IF NOT EXISTS failed_statements ON CLUSTER 'main' AS failed_statements_local
ENGINE = Distributed('main', 'trueline', 'failed_statements_local', cityHash64(trace_id));

-- 0171_failed_statements_from_statements.sql
CREATE MATERIALIZED VIEW IF NOT EXISTS failed_statements_from_statements ON CLUSTER 'main' TO failed_statements_local AS
SELECT
    received_at,
    request_hash,
    started_at,
    trace_id,
    span_id,
    environment,
    application,
    service,
    version,
    instance,
    process_kind,
    entry_name,
    kind,
    operation,
    tables,
    query_text,
    database,
    db_system,
    db_namespace,
    status_code,
    error_type,
    status_message AS message,
    constraint_kind,
    constraint_table,
    constraint_columns,
    orm_session_id,
    transaction_id
FROM statements_local
WHERE status = 'error';
