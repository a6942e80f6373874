"""Spans as a busy application makes them, made by the engine itself: SQL that inserts any number of them.

A request is ten spans: the entry, eight statements,
and the transaction (a ninth statement where the request only
reads). Every attribute of the telemetry contract that such spans really carry is there, ids and hashes are as
random as real ones,
an identity comes back as often as one of 200,000 users does. Repeated rows would compress to
a third and prove nothing.
"""

from __future__ import annotations

from datetime import datetime

SPANS_A_REQUEST = 10
USERS = 200_000
REQUESTS_A_BATCH = 51
"""Requests of which one OTLP body carries the spans: 512 of them, as the SDK's batch processor sends."""


def identity(user: int) -> str:
    """The hash under which a user is found, as a literal for a query."""
    return f"lower(hex(sipHash128('user', {user})))"


def trace_id(request: int) -> str:
    """The trace id of a request, as an expression for a query."""
    return f"lower(hex(sipHash128('trace', toUInt64({request}))))"


def insert_spans(first: int, requests: int, start: datetime, step_us: int) -> str:
    """INSERT of the spans of ``requests`` requests, numbered from ``first``,
    one every ``step_us`` microseconds."""
    begin = int(start.timestamp() * 1_000_000)
    return f"""
INSERT INTO otel_traces
    (Timestamp, TraceId, SpanId, ParentSpanId, SpanName, SpanKind, ServiceName, ResourceAttributes, ScopeName,
    ScopeVersion, SpanAttributes, Duration, StatusCode, received_at, request_hash)
WITH
    toUInt64({first} + intDiv(number, {SPANS_A_REQUEST})) AS request,
    toUInt8(number % {SPANS_A_REQUEST}) AS place,
    sipHash64(request) AS dice,
    sipHash64(request, place) AS die,
    dice % 5 AS service,
    dice % 10 < 4 AS writes,
    place = 0 AS is_entry,
    place = 9 AND writes AS is_transaction,
    writes AND place IN (3, 6) AS is_write,
    lower(hex(sipHash128('user', intDiv(dice, 7) % {USERS}))) AS user,
    lower(hex(sipHash128('message', request))) AS message,
    lower(hex(sipHash64('span', request, 0))) AS entry,
    lower(hex(sipHash64('transaction', request))) AS transaction,
    ['expenses', 'users', 'jobs', 'messages', 'categories', 'budgets', 'events', 'sessions', 'invoices',
    'receipts',
        'tags', 'limits'][1 + die % 12] AS touched,
    ['web', 'worker', 'billing', 'mailer', 'export'][1 + service] AS service_name,
    concat(if(service IN (1, 4), 'run ', 'POST /api/v1/'), ['expenses', 'summary', 'import',
    'login'][1 + dice % 4])
        AS entry_name,
    {begin} + toInt64((request - {first}) * {step_us}) + place * 15000 + die % 14000 AS microseconds,
    fromUnixTimestamp64Micro(microseconds) AS at,
    map(
        'db.system.name', 'postgresql', 'db.namespace', 'shop', 'server.address', 'db.internal',
        'server.port', '5432',
        'trueline.database.fingerprint', '24edc490874deaa5'
    ) AS database_part,
    map(
        'trueline.transaction.id', transaction, 'trueline.orm.session_id', substring(transaction, 3, 12),
        'trueline.identity.bound', concat('["user:', user, '","message:', message, '"]'),
        'trueline.hash.key_id', 'bae15dd2', 'trueline.entry.name', entry_name, 'trueline.entry.span_id', entry
    ) AS request_part,
    map(
        'trueline.database.fingerprints',
        '["configured:24edc490874deaa5","system_identifier:5d1e0cb2a97f4410"]',
        'trueline.database.role', 'primary', 'trueline.database.schema', 'public',
        'trueline.database.version', '18.1',
        'trueline.database.url', 'postgresql+psycopg://db.internal:5432/shop',
        'trueline.database.url_variable', 'DATABASE_URL',
        'trueline.statement.kind', if(is_write, 'write', 'read'),
        'db.query.text', if(
            is_write,
            concat('INSERT INTO ', touched, ' (user_id, amount, category, note) VALUES ($1, $2, $3,
            $4) RETURNING ',
                touched, '.id'),
            concat('SELECT ', touched, '.id, ', touched, '.user_id, ', touched, '.amount, ', touched,
            '.created_at FROM ',
                touched, ' WHERE ', touched, '.user_id = $1 ORDER BY ', touched, '.created_at DESC LIMIT $2')
        ),
        'db.operation.name', if(is_write, 'INSERT', 'SELECT'),
        'db.query.summary', concat(if(is_write, 'INSERT ', 'SELECT '), touched),
        'trueline.statement.tables', concat('["', touched, '"]'),
        'db.collection.name', touched,
        'trueline.statement.filters', if(is_write, '[]', concat('["', touched, '.user_id"]')),
        'trueline.transaction.outcome', if(die % 50 = 0, 'rolled_back', 'committed'),
        'trueline.transaction.autocommit', 'false',
        'trueline.identity.columns', concat('["', touched, '.user_id"]'),
        'trueline.identity.clauses', if(is_write, '["set"]', '["where"]'),
        'trueline.identity.encodings', '["integer"]',
        'trueline.identity.values', concat('["', user, '"]'),
        'trueline.identity.domains', '["user"]',
        'trueline.statement.rows', toString(if(is_write, 1, die % 30))
    ) AS statement_part,
    map(
        'trueline.transaction.outcome', 'committed', 'trueline.transaction.autocommit', 'false',
        'trueline.transaction.reads', '6', 'trueline.transaction.writes', '2', 'trueline.transaction.rows',
        '2',
        'trueline.statement.tables', concat('["', touched, '"]'),
        'trueline.transaction.ai.calls', '0', 'trueline.transaction.ai.errors', '0',
        'trueline.transaction.ai.wait_ms', '0.0', 'trueline.transaction.isolation_level', 'READ COMMITTED'
    ) AS transaction_part,
    map(
        'http.request.method', 'POST', 'http.route', substring(entry_name, 6), 'http.response.status_code',
        '200',
        'url.path', substring(entry_name, 6), 'client.address', concat('10.0.', toString(dice % 250), '.7'),
        'user_agent.original', 'Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0',
        'trueline.identity.bound', concat('["user:', user, '","message:', message, '"]'),
        'trueline.hash.key_id', 'bae15dd2', 'messaging.message.id', message
    ) AS entry_part
SELECT
    toDateTime64(at, 9),
    lower(hex(sipHash128('trace', request))),
    lower(hex(sipHash64('span', request, place))),
    if(is_entry, '', entry),
    multiIf(is_entry, entry_name, is_transaction, 'TRANSACTION shop', concat(if(is_write, 'INSERT ',
    'SELECT '), touched)),
    multiIf(is_entry, 'Server', is_transaction, 'Internal', 'Client'),
    service_name,
    map(
        'service.name', service_name, 'service.namespace', 'shop', 'service.version', '2026.11.3',
        'service.instance.id', concat('e10d4ad0-0105-4ccd-a50a-0b7eeabcf6', leftPad(toString(dice % 8), 2,
        '0')),
        'deployment.environment.name', 'production', 'trueline.process.kind', if(service IN (1, 4),
        'worker', 'web'),
        'telemetry.sdk.language', 'python', 'telemetry.sdk.name', 'opentelemetry', 'telemetry.sdk.version',
        '1.45.1'
    ),
    if(is_entry, 'opentelemetry.instrumentation.fastapi', 'trueline.instrumentation'),
    if(is_entry, '0.66b1', '0.1.0'),
    multiIf(
        is_entry, entry_part,
        is_transaction, mapConcat(database_part, transaction_part, request_part),
        mapConcat(database_part, statement_part, request_part)
    ),
    if(is_entry, 20000000 + die % 30000000, 300000 + die % 4000000),
    'Unset',
    toDateTime64(at, 3) + toIntervalMillisecond(900),
    sipHash128('body', intDiv(request, {REQUESTS_A_BATCH}), service)
FROM numbers(toUInt64({requests}) * {SPANS_A_REQUEST})
"""
