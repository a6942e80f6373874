"""Every attribute and event of the contract, once: name, type, where it appears, column, meaning."""

from __future__ import annotations

from typing import Final

from trueline.instrumentation.semconv.registry import Signal, attribute, event
from trueline.instrumentation.semconv.values import (
    AiProblem,
    Clause,
    ConstraintKind,
    Kind,
    Outcome,
    ProcessKind,
    Reason,
    Role,
)

RESOURCE, STATEMENT, TRANSACTION, ENTRY, AI, EVENT = (
    Signal.RESOURCE,
    Signal.STATEMENT,
    Signal.TRANSACTION,
    Signal.ENTRY,
    Signal.AI,
    Signal.EVENT,
)

# fmt: off
# -- resource ---------------------------------------------------------------------------------------------
SERVICE_NAME: Final = attribute("service.name", "string", RESOURCE, column="service",
    meaning="The service.")
SERVICE_NAMESPACE: Final = attribute("service.namespace", "string", RESOURCE, column="application",
    meaning="The application that the service belongs to. Unset: all services of the environment are one application.")
SERVICE_VERSION: Final = attribute("service.version", "string", RESOURCE, column="version",
    meaning="The deployed version: a finding tells since which one it is seen.")
SERVICE_INSTANCE_ID: Final = attribute("service.instance.id", "string", RESOURCE, column="instance",
    meaning="One process.")
DEPLOYMENT_ENVIRONMENT_NAME: Final = attribute("deployment.environment.name", "string", RESOURCE,
    column="environment", older=("deployment.environment",),
    meaning="The environment. Unset reads as the one environment `unset`.")
PROCESS_KIND: Final = attribute("trueline.process.kind", "string", RESOURCE, column="process_kind",
    values=tuple(ProcessKind), meaning="What the process is there for.")

# -- what a statement does --------------------------------------------------------------------------------
STATEMENT_KIND: Final = attribute("trueline.statement.kind", "string", STATEMENT, column="kind",
    values=tuple(Kind), meaning="What the statement does to data.")
STATEMENT_TABLES: Final = attribute("trueline.statement.tables", "string[]", STATEMENT, TRANSACTION,
    column="tables", meaning="All tables, the written one first; on a transaction the tables it wrote.")
STATEMENT_ROWS: Final = attribute("trueline.statement.rows", "int", STATEMENT, column="rows",
    meaning="Rows written or returned, where the driver tells; the column holds -1 where it does not.")
STATEMENT_FILTERS: Final = attribute("trueline.statement.filters", "string[]", STATEMENT, column="filters",
    meaning="Columns in the WHERE, as `table.column`.")
STATEMENT_ROW: Final = attribute("trueline.statement.row", "string", STATEMENT, column="row_key",
    meaning="Hash of the primary key filter: the same row in two statements.")
STATEMENT_LOCK: Final = attribute("trueline.statement.lock", "boolean", STATEMENT, column="row_lock",
    meaning="SELECT ... FOR UPDATE.")
STATEMENT_SELF_UPDATE: Final = attribute("trueline.statement.self_update", "boolean", STATEMENT,
    column="self_update", meaning="An update of the form x = x + 1.")
STATEMENT_CONFLICT: Final = attribute("trueline.statement.on_conflict", "string", STATEMENT,
    column="on_conflict", values=("nothing", "update"),
    meaning="What an INSERT does on a conflict: ON CONFLICT DO NOTHING, or an upsert.")

# -- which database answered ------------------------------------------------------------------------------
DATABASE_FINGERPRINT: Final = attribute("trueline.database.fingerprint", "string", STATEMENT, TRANSACTION,
    EVENT, column="database", meaning="Which logical database answered: 16 hex digits of the best rung.")
DATABASE_FINGERPRINTS: Final = attribute("trueline.database.fingerprints", "string[]", STATEMENT, EVENT,
    column="database_rungs", meaning="`rung:hex` of every rung that could be read.")
DATABASE_ROLE: Final = attribute("trueline.database.role", "string", STATEMENT, EVENT,
    column="database_role", values=tuple(Role), meaning="What the connected node is, as of the connect.")
DATABASE_SCHEMA: Final = attribute("trueline.database.schema", "string", STATEMENT, TRANSACTION, EVENT,
    column="database_schema", meaning="The current schema, first of the search path.")
DATABASE_VERSION: Final = attribute("trueline.database.version", "string", STATEMENT, EVENT,
    column="database_version", meaning="The server's version.")
DATABASE_URL: Final = attribute("trueline.database.url", "string", STATEMENT, EVENT, column="database_url",
    meaning="The configured URL without credentials and query string.")
DATABASE_URL_VARIABLE: Final = attribute("trueline.database.url_variable", "string", STATEMENT, EVENT,
    column="database_url_variable", meaning="The environment variable that the URL came from, where known.")

# -- whose data -------------------------------------------------------------------------------------------
IDENTITY_COLUMNS: Final = attribute("trueline.identity.columns", "string[]", STATEMENT,
    column="identity_columns", meaning="`table.column` of each identity; aligned with the four lists below.")
IDENTITY_CLAUSES: Final = attribute("trueline.identity.clauses", "string[]", STATEMENT,
    column="identity_clauses", values=tuple(Clause), meaning="Whether the column is filtered or set.")
IDENTITY_ENCODINGS: Final = attribute("trueline.identity.encodings", "string[]", STATEMENT,
    column="identity_encodings", meaning="How the identity is written there: raw, integer, sha256, sha256/16 ...")
IDENTITY_VALUES: Final = attribute("trueline.identity.values", "string[]", STATEMENT,
    column="identity_values", meaning="The canonical identity: 32 hex digits of an HMAC, or the value of a plain domain.")
IDENTITY_DOMAINS: Final = attribute("trueline.identity.domains", "string[]", STATEMENT,
    column="identity_domains", meaning="user, tenant, message ...")
IDENTITY_COUNT: Final = attribute("trueline.identity.count", "int", STATEMENT, column="identity_count",
    meaning="How many identities the statement touches, where only the first ones are listed.")
IDENTITY_BOUND: Final = attribute("trueline.identity.bound", "string[]", STATEMENT, TRANSACTION, ENTRY, AI,
    EVENT, column="identity_bound", meaning="`domain:value` of each identity that the request was bound to.")
IDENTITY_ROW: Final = attribute("trueline.identity.row", "string[]", STATEMENT, column="identity_row",
    meaning="`domain:value` of whose row it is, where no column names anybody: as the ORM session has it loaded.")
HASH_KEY_ID: Final = attribute("trueline.hash.key_id", "string", STATEMENT, TRANSACTION, ENTRY, EVENT,
    column="hash_key_id", meaning="Which secret made the hashes. Hashes under different ids are never compared.")

# -- the entry --------------------------------------------------------------------------------------------
ENTRY_NAME: Final = attribute("trueline.entry.name", "string", STATEMENT, TRANSACTION, AI,
    column="entry_name", meaning="The span at which work entered the service: the code path.")
ENTRY_SPAN_ID: Final = attribute("trueline.entry.span_id", "string", STATEMENT, TRANSACTION, AI,
    column="entry_span_id", meaning="Its span id, 16 hex digits.")
ORM_SESSION_ID: Final = attribute("trueline.orm.session_id", "string", STATEMENT, TRANSACTION,
    column="orm_session_id", meaning="The ORM session, to see one session serve many requests.")

# -- the transaction --------------------------------------------------------------------------------------
TRANSACTION_ID: Final = attribute("trueline.transaction.id", "string", STATEMENT, TRANSACTION, EVENT,
    column="transaction_id", meaning="16 hex digits, shared by the transaction span and its statements.")
TRANSACTION_OUTCOME: Final = attribute("trueline.transaction.outcome", "string", STATEMENT, TRANSACTION,
    column="outcome", values=tuple(Outcome), meaning="How it ended, as the database sees it.")
TRANSACTION_REASON: Final = attribute("trueline.transaction.reason", "string", STATEMENT, TRANSACTION,
    column="reason", values=tuple(Reason), meaning="Why it was rolled back.")
TRANSACTION_AUTOCOMMIT: Final = attribute("trueline.transaction.autocommit", "boolean", STATEMENT,
    TRANSACTION, column="autocommit", meaning="Each statement committed by itself.")
TRANSACTION_ERROR_TYPE: Final = attribute("trueline.transaction.error_type", "string", STATEMENT,
    TRANSACTION, column="transaction_error_type", meaning="Class of the exception that caused the rollback.")
TRANSACTION_ERROR_CHAIN: Final = attribute("trueline.transaction.error_chain", "string[]", TRANSACTION,
    column="error_chain", meaning="Classes of that exception and of its causes, one by one.")
TRANSACTION_ERROR_FROM_AI: Final = attribute("trueline.transaction.error_from_ai", "boolean", TRANSACTION,
    column="error_from_ai", meaning="The exception, or one of its causes, left an AI call.")
TRANSACTION_ISOLATION: Final = attribute("trueline.transaction.isolation_level", "string", TRANSACTION,
    column="isolation_level", meaning="Isolation level, where it is known without a query.")
TRANSACTION_READS: Final = attribute("trueline.transaction.reads", "int", TRANSACTION, column="reads",
    meaning="Statements that read.")
TRANSACTION_WRITES: Final = attribute("trueline.transaction.writes", "int", TRANSACTION, column="writes",
    meaning="Statements that wrote.")
TRANSACTION_ROWS: Final = attribute("trueline.transaction.rows", "int", TRANSACTION, column="rows_written",
    meaning="Rows written, where the driver tells.")
TRANSACTION_AI_CALLS: Final = attribute("trueline.transaction.ai.calls", "int", TRANSACTION,
    column="ai_calls", meaning="AI calls made by the same task while the transaction was open.")
TRANSACTION_AI_ERRORS: Final = attribute("trueline.transaction.ai.errors", "int", TRANSACTION,
    column="ai_errors", meaning="How many of them brought no usable answer.")
TRANSACTION_AI_PROBLEMS: Final = attribute("trueline.transaction.ai.problems", "string[]", TRANSACTION,
    column="ai_problems", values=tuple(AiProblem),
    meaning="What was wrong with them, each kind once; a truncated or empty answer counts as no error.")
TRANSACTION_AI_UNFINISHED: Final = attribute("trueline.transaction.ai.unfinished", "int", TRANSACTION,
    column="ai_unfinished", meaning="How many of them had not ended when the transaction did.")
TRANSACTION_AI_WAIT: Final = attribute("trueline.transaction.ai.wait_ms", "double", TRANSACTION,
    column="ai_wait_ms", meaning="Milliseconds that the open transaction waited for them.")
TRANSACTION_OPEN_STATEMENTS: Final = attribute("trueline.transaction.open_statements", "int", TRANSACTION,
    column="open_statements", meaning="Statements that had been exported as `open` and that this span settles.")
TRANSACTION_UNDONE: Final = attribute("trueline.transaction.rolled_back_statements", "string[]",
    TRANSACTION, column="rolled_back_statements",
    meaning="Span ids of statements that had been exported as `open` and were undone by a savepoint.")
SAMPLE_RATIO: Final = attribute("trueline.sample.ratio", "double", STATEMENT, TRANSACTION, EVENT,
    column="sample_ratio", meaning="Share of identities that is kept; absent where everything is. What did not "
    "commit is kept whatever the share.")

# -- errors -----------------------------------------------------------------------------------------------
CONSTRAINT_NAME: Final = attribute("trueline.constraint.name", "string", STATEMENT, TRANSACTION,
    column="constraint_name", meaning="The violated constraint, from the driver's diagnostics.")
CONSTRAINT_KIND: Final = attribute("trueline.constraint.kind", "string", STATEMENT, TRANSACTION,
    column="constraint_kind", values=tuple(ConstraintKind), meaning="Its kind.")
CONSTRAINT_TABLE: Final = attribute("trueline.constraint.table", "string", STATEMENT, TRANSACTION,
    column="constraint_table", meaning="The table it stands on.")
CONSTRAINT_COLUMNS: Final = attribute("trueline.constraint.columns", "string[]", STATEMENT, TRANSACTION,
    column="constraint_columns", meaning="Its columns, where the driver tells; never their values.")
ERROR_TYPE: Final = attribute("error.type", "string", STATEMENT, ENTRY, AI, column="error_type",
    meaning="SQLSTATE or vendor code of a database error, else the class of the exception.")
DB_RESPONSE_STATUS_CODE: Final = attribute("db.response.status_code", "string", STATEMENT,
    column="status_code", meaning="SQLSTATE or vendor code.")

# -- OpenTelemetry's own names on database spans ----------------------------------------------------------
DB_SYSTEM_NAME: Final = attribute("db.system.name", "string", STATEMENT, TRANSACTION, EVENT,
    column="db_system", older=("db.system",), meaning="postgresql, sqlite, mysql ...")
DB_NAMESPACE: Final = attribute("db.namespace", "string", STATEMENT, TRANSACTION, EVENT,
    column="db_namespace", older=("db.name",), meaning="The database's name as configured.")
DB_COLLECTION_NAME: Final = attribute("db.collection.name", "string", STATEMENT,
    meaning="The one table of a statement on one table.")
DB_OPERATION_NAME: Final = attribute("db.operation.name", "string", STATEMENT, column="operation",
    older=("db.operation",), meaning="INSERT, SELECT ...")
DB_OPERATION_BATCH_SIZE: Final = attribute("db.operation.batch.size", "int", STATEMENT,
    column="batch_size", meaning="Parameter sets of one executemany.")
DB_QUERY_TEXT: Final = attribute("db.query.text", "string", STATEMENT, column="query_text",
    older=("db.statement",), meaning="The statement without parameter values and with its literals masked.")
DB_QUERY_SUMMARY: Final = attribute("db.query.summary", "string", STATEMENT, column="query_summary",
    meaning="INSERT expenses: low cardinality, the span's name.")
SERVER_ADDRESS: Final = attribute("server.address", "string", STATEMENT, TRANSACTION, AI, EVENT,
    column="server_address", older=("net.peer.name",), meaning="The configured host.")
SERVER_PORT: Final = attribute("server.port", "int", STATEMENT, TRANSACTION, AI, EVENT,
    column="server_port", older=("net.peer.port",), meaning="The configured port.")

# -- entries ----------------------------------------------------------------------------------------------
ENTRY_KIND: Final = attribute("trueline.entry.kind", "string", ENTRY, column="entry_kind",
    values=("request", "message", "job", "script"), meaning="What entered, on entry spans that Trueline opened.")
JOB_OUTCOME: Final = attribute("trueline.job.outcome", "string", ENTRY, column="job_outcome",
    values=("done", "failed", "retried", "ignored", "revoked"), meaning="How a job ended, as its queue sees it.")
HTTP_REQUEST_METHOD: Final = attribute("http.request.method", "string", ENTRY, column="http_method",
    older=("http.method",), meaning="GET, POST ...")
HTTP_ROUTE: Final = attribute("http.route", "string", ENTRY, column="http_route",
    meaning="The route's template.")
HTTP_RESPONSE_STATUS_CODE: Final = attribute("http.response.status_code", "int", ENTRY, AI,
    column="http_status", older=("http.status_code",), meaning="The answer's status.")
CLIENT_GONE: Final = attribute("trueline.request.client_gone", "boolean", ENTRY, column="client_gone",
    meaning="The client went away before the answer.")
MESSAGING_MESSAGE_ID: Final = attribute("messaging.message.id", "string", ENTRY, column="message_id",
    meaning="The delivery's id.")

# -- AI calls ---------------------------------------------------------------------------------------------
GEN_AI_OPERATION_NAME: Final = attribute("gen_ai.operation.name", "string", AI, column="operation",
    meaning="chat, embeddings ...")
GEN_AI_PROVIDER_NAME: Final = attribute("gen_ai.provider.name", "string", AI, column="provider",
    older=("gen_ai.system",), meaning="openai, anthropic ...")
GEN_AI_REQUEST_MODEL: Final = attribute("gen_ai.request.model", "string", AI, column="model",
    meaning="The model that was asked.")
GEN_AI_RESPONSE_FINISH_REASONS: Final = attribute("gen_ai.response.finish_reasons", "string[]", AI,
    column="finish_reasons", meaning="Why each choice ended: stop, length, content_filter, refusal ...")
GEN_AI_USAGE_OUTPUT_TOKENS: Final = attribute("gen_ai.usage.output_tokens", "int", AI,
    column="output_tokens", meaning="Tokens of the answer.")
AI_ROLE: Final = attribute("trueline.ai.role", "string", AI, column="role", values=("call", "attempt"),
    meaning="Whether the span is a call, or one attempt inside a call: a client's retries, or the HTTP of it.")
AI_PROBLEM: Final = attribute("trueline.ai.problem", "string", AI, column="problem",
    values=tuple(AiProblem), meaning="What was wrong with the call; absent where nothing shows.")
AI_ATTEMPTS: Final = attribute("trueline.ai.attempts", "int", AI, column="attempts",
    meaning="How many attempts were seen inside the call, where it was more than one.")
AI_FALLBACK: Final = attribute("trueline.ai.fallback", "string", AI, column="fallback",
    meaning="What answered instead of the model, as `ai_call` was told.")

# -- events and losses ------------------------------------------------------------------------------------
LOSS_REASON: Final = attribute("trueline.loss.reason", "string", EVENT,
    meaning="Why spans were dropped: queue_full, export_failed, internal_error ...")
LOSS_COUNT: Final = attribute("trueline.loss.count", "int", EVENT, meaning="How many.")
LOSS_SECONDS: Final = attribute("trueline.loss.seconds", "double", EVENT,
    meaning="Within how many seconds before the event.")

# -- the inventory: what one process saw, all of it counted before sampling ---------------------------------
INVENTORY_TRIGGER: Final = attribute("trueline.inventory.trigger", "string", EVENT,
    values=("first", "news", "hourly", "end"), meaning="Why it is sent now.")
INVENTORY_SECONDS: Final = attribute("trueline.inventory.seconds", "double", EVENT,
    meaning="For how many seconds the process has been counting.")
INVENTORY_STATEMENTS: Final = attribute("trueline.inventory.statements", "int", EVENT,
    meaning="Statements of every kind.")
INVENTORY_WRITES: Final = attribute("trueline.inventory.writes", "int[]", EVENT,
    meaning="Writes by what names their identity: a column, the bound identity only, nothing, the row.")
INVENTORY_READS: Final = attribute("trueline.inventory.reads", "int[]", EVENT, meaning="Reads, likewise.")
INVENTORY_UNPARSED: Final = attribute("trueline.inventory.parsed_by_keywords", "int", EVENT,
    meaning="Statements too odd to be parsed wholly.")
INVENTORY_WITH_ENTRY: Final = attribute("trueline.inventory.with_entry", "int", EVENT,
    meaning="Statements that ran inside of an entry span.")
INVENTORY_DATABASES: Final = attribute("trueline.inventory.databases", "string[]", EVENT,
    meaning="Fingerprints of the databases; aligned with their rungs and URLs.")
INVENTORY_DATABASE_RUNGS: Final = attribute("trueline.inventory.database.rungs", "string[]", EVENT,
    meaning="Name of the best rung of each.")
INVENTORY_DATABASE_URLS: Final = attribute("trueline.inventory.database.urls", "string[]", EVENT,
    meaning="URL of each, without credentials and query string.")
INVENTORY_TABLES: Final = attribute("trueline.inventory.tables", "string[]", EVENT,
    meaning="Tables, busiest first; aligned with the five counts below.")
INVENTORY_TABLE_READS: Final = attribute("trueline.inventory.table.reads", "int[]", EVENT,
    meaning="Reads that name the table.")
INVENTORY_TABLE_WRITES_COLUMN: Final = attribute("trueline.inventory.table.writes_by_column", "int[]", EVENT,
    meaning="Writes to it whose identity a column names.")
INVENTORY_TABLE_WRITES_BOUND: Final = attribute("trueline.inventory.table.writes_by_bound", "int[]", EVENT,
    meaning="Writes to it that carry the bound identity only.")
INVENTORY_TABLE_WRITES_NONE: Final = attribute("trueline.inventory.table.writes_by_none", "int[]", EVENT,
    meaning="Writes to it that name nobody.")
INVENTORY_TABLE_WRITES_ROW: Final = attribute("trueline.inventory.table.writes_by_row", "int[]", EVENT,
    meaning="Writes to it whose row names somebody, as the ORM session has it loaded.")
INVENTORY_COLUMNS: Final = attribute("trueline.inventory.columns", "string[]", EVENT,
    meaning="Identity columns as `table.column`, once an encoding and clause; aligned with the four below.")
INVENTORY_COLUMN_DOMAINS: Final = attribute("trueline.inventory.column.domains", "string[]", EVENT,
    meaning="user, tenant, message ...")
INVENTORY_COLUMN_CLAUSES: Final = attribute("trueline.inventory.column.clauses", "string[]", EVENT,
    values=tuple(Clause), meaning="Whether the column is filtered or set.")
INVENTORY_COLUMN_ENCODINGS: Final = attribute("trueline.inventory.column.encodings", "string[]", EVENT,
    meaning="How identities are written there.")
INVENTORY_COLUMN_STATEMENTS: Final = attribute("trueline.inventory.column.statements", "int[]", EVENT,
    meaning="Statements that use it so.")
INVENTORY_MORE: Final = attribute("trueline.inventory.more", "int", EVENT,
    meaning="Statements on tables beyond those that are listed.")
INVENTORY_HASHES: Final = attribute("trueline.inventory.hashes", "string", EVENT,
    values=("keyed", "unkeyed", "left_out"),
    meaning="Whether identities leave as hashes under a secret, under none, or not at all.")
INVENTORY_SPANS: Final = attribute("trueline.inventory.spans", "string", EVENT, values=("own", "contrib"),
    meaning="Whose spans the statements have.")
INVENTORY_FOLLOWS_SAMPLER: Final = attribute("trueline.inventory.follows_trace_sampler", "boolean", EVENT,
    meaning="Statements of traces that the trace sampler dropped are dropped as well.")
INVENTORY_UNSEEN_CHECKOUTS: Final = attribute("trueline.inventory.unseen.checkouts", "int", EVENT,
    meaning="Times that a connection was taken and no statement of SQLAlchemy's ran on it.")
INVENTORY_UNSEEN_TRANSACTIONS: Final = attribute("trueline.inventory.unseen.transactions", "int", EVENT,
    meaning="Such times at which the driver had a transaction open: work that was done past SQLAlchemy.")
INVENTORY_LOST: Final = attribute("trueline.inventory.lost", "int", EVENT,
    meaning="Spans that were made and did not leave.")
INVENTORY_ERRORS: Final = attribute("trueline.inventory.internal_errors", "int", EVENT,
    meaning="Errors inside of Trueline.")

EVENT_DATABASE_CONNECTED: Final = event("trueline.database.connected",
    meaning="This process made its first connection to a database.",
    attributes=(DATABASE_FINGERPRINT, DATABASE_FINGERPRINTS, DATABASE_ROLE, DATABASE_SCHEMA,
        DATABASE_VERSION, DATABASE_URL, DATABASE_URL_VARIABLE, DB_SYSTEM_NAME, DB_NAMESPACE, SERVER_ADDRESS,
        SERVER_PORT))
EVENT_WRITE_COMMITTED: Final = event("trueline.write.committed",
    meaning="A transaction that wrote was committed while an identity or a message was bound.",
    attributes=(TRANSACTION_ID, IDENTITY_BOUND, HASH_KEY_ID, DATABASE_FINGERPRINT, STATEMENT_TABLES))
EVENT_AI_COMPLETED: Final = event("trueline.ai.completed",
    meaning="An AI call ended well while an identity or a message was bound.",
    attributes=(IDENTITY_BOUND, HASH_KEY_ID, GEN_AI_OPERATION_NAME, GEN_AI_PROVIDER_NAME, GEN_AI_REQUEST_MODEL))
EVENT_EXPORT_LOSS: Final = event("trueline.export.loss",
    meaning="Spans were dropped before they reached the store.",
    attributes=(LOSS_REASON, LOSS_COUNT, LOSS_SECONDS))
EVENT_INVENTORY: Final = event("trueline.inventory",
    meaning="What this process saw: databases, tables, identity columns, and what it cannot see.",
    attributes=(INVENTORY_TRIGGER, INVENTORY_SECONDS, INVENTORY_STATEMENTS, INVENTORY_WRITES, INVENTORY_READS,
        INVENTORY_UNPARSED, INVENTORY_WITH_ENTRY, INVENTORY_DATABASES, INVENTORY_DATABASE_RUNGS,
        INVENTORY_DATABASE_URLS, INVENTORY_TABLES, INVENTORY_TABLE_READS, INVENTORY_TABLE_WRITES_COLUMN,
        INVENTORY_TABLE_WRITES_BOUND, INVENTORY_TABLE_WRITES_NONE, INVENTORY_TABLE_WRITES_ROW, INVENTORY_COLUMNS, INVENTORY_COLUMN_DOMAINS,
        INVENTORY_COLUMN_CLAUSES, INVENTORY_COLUMN_ENCODINGS, INVENTORY_COLUMN_STATEMENTS, INVENTORY_MORE,
        INVENTORY_HASHES, HASH_KEY_ID, SAMPLE_RATIO, INVENTORY_SPANS, INVENTORY_FOLLOWS_SAMPLER,
        INVENTORY_UNSEEN_CHECKOUTS, INVENTORY_UNSEEN_TRANSACTIONS, INVENTORY_LOST, INVENTORY_ERRORS))
# fmt: on
