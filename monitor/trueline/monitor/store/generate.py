"""Renders the SQL of the typed tables from the telemetry contract.

The typed tables (``statements``, ``transactions``, ``entries``, ``ai_calls``) are narrow copies of the raw
spans with one column for each attribute of the registry. Their files under ``schema/`` are checked in, so
that what runs can be read; a test holds them equal to what this module renders. After a change of the
registry::

    python -m trueline.monitor.store.generate            # writes the files
    python -m trueline.monitor.store.generate --check    # says which differ, exit status 1
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trueline.instrumentation.ai.conventions import NOT_MODEL_CALLS, OPENINFERENCE_MODEL_KINDS
from trueline.instrumentation.ai.hosts import PROVIDER_PATTERN, PROVIDERS
from trueline.instrumentation.ai.problems import FAILURES
from trueline.instrumentation.semconv import attributes as names
from trueline.instrumentation.semconv.registry import ATTRIBUTES, Attribute, Signal, Table
from trueline.monitor.store import identity_rows

SCHEMA_FOLDER: Final = Path(__file__).parent / "schema"

#: The pattern of hosts of models, as a literal of ClickHouse's SQL.
MODEL_PROVIDER_HOST_PATTERN: Final = PROVIDER_PATTERN.replace("\\", "\\\\")
#: Finish reasons that mean "no usable answer".
FAILED_FINISH_REASONS: Final = ("content_filter", "refusal", "error")
#: Attributes of other AI conventions (OpenInference, OpenLLMetry) that fill a column of ``ai_calls``.
FOREIGN_AI_NAMES: Final[dict[str, tuple[str, ...]]] = {
    names.GEN_AI_OPERATION_NAME: ("llm.request.type", "openinference.span.kind"),
    names.GEN_AI_PROVIDER_NAME: ("llm.provider", "llm.system"),
    names.GEN_AI_REQUEST_MODEL: ("gen_ai.response.model", "llm.model_name", "embedding.model_name"),
}

PROVENANCE: Final = (
    "-- Made by trueline.monitor.store.generate from the telemetry contract: change that, not this file.\n"
)
#: String columns with as many values as rows: a dictionary would not pay.
HIGH_CARDINALITY: Final = frozenset(
    {
        "entry_span_id",
        "identity_bound",
        "identity_row",
        "identity_values",
        "instance",
        "message_id",
        "orm_session_id",
        "rolled_back_statements",
        "row_key",
        "transaction_id",
    }
)
#: Values of columns whose attribute is missing, where that is not the type's empty value.
MISSING: Final[dict[str, str]] = {"environment": "'unset'", "rows": "-1"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a typed table: its type and the expression over ``otel_traces`` that fills it."""

    name: str
    type: str
    expression: str
    codec: str = ""

    @property
    def ddl(self) -> str:
        """The column's line in CREATE TABLE."""
        default = f" DEFAULT {MISSING[self.name]}" if self.name in MISSING else ""
        codec = f" CODEC({self.codec or 'ZSTD(3)'})"
        return f"{self.name} {self.type}{default}{codec}"


@dataclass(frozen=True, slots=True)
class TypedTable:
    """A typed table: which spans it takes, and the columns that are derived rather than copied."""

    table: Table
    number: int
    meaning: str
    spans: str
    derived: tuple[Column, ...] = ()
    indexes: tuple[str, ...] = ()


def quoted(values: tuple[str, ...]) -> str:
    """A parenthesised list of SQL string literals."""
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"


def lookup(map_column: str, *attribute_names: str) -> str:
    """The first of some attributes that is present, as text."""
    first, *others = (f"{map_column}['{name}']" for name in attribute_names)
    if not others:
        return first
    present = ", ".join(f"{value} != '', {value}" for value in (first, *others[:-1]))
    return f"multiIf({present}, {others[-1]})"


HOST: Final = lookup("SpanAttributes", "server.address", "net.peer.name", "http.host")
URL_HOST: Final = f"domain({lookup('SpanAttributes', 'url.full', 'http.url')})"
HAS_GENAI: Final = (
    "SpanAttributes['gen_ai.operation.name'] != '' OR SpanAttributes['gen_ai.provider.name'] != ''"
    " OR SpanAttributes['gen_ai.system'] != '' OR SpanAttributes['llm.request.type'] != ''"
    f" OR SpanAttributes['openinference.span.kind'] IN {quoted(OPENINFERENCE_MODEL_KINDS)}"
)
IS_PROVIDER_CALL: Final = (
    "SpanKind IN ('Client', 'SPAN_KIND_CLIENT')"
    " AND (SpanAttributes['http.request.method'] != '' OR SpanAttributes['http.method'] != '')"
    f" AND (lower({HOST}) IN {quoted(PROVIDERS)}"
    f" OR lower({URL_HOST}) IN {quoted(PROVIDERS)}"
    f" OR match(lower({HOST}), '{MODEL_PROVIDER_HOST_PATTERN}')"
    f" OR match(lower({URL_HOST}), '{MODEL_PROVIDER_HOST_PATTERN}'))"
)
IS_ERROR: Final = "StatusCode IN ('Error', 'STATUS_CODE_ERROR')"
IS_STATEMENT: Final = f"SpanAttributes['{names.STATEMENT_KIND}'] != ''"
HTTP_STATUS: Final = (
    "toInt64OrZero(" + lookup("SpanAttributes", "http.response.status_code", "http.status_code") + ")"
)
FIRST_EXCEPTION: Final = (
    "arrayFirst((attributes, name) -> name = 'exception', Events.Attributes, Events.Name)"
)

EXCEPTION: Final = (
    Column("exception_type", "LowCardinality(String)", f"{FIRST_EXCEPTION}['exception.type']"),
    Column("exception_message", "String", f"{FIRST_EXCEPTION}['exception.message']", "ZSTD(3)"),
)

TYPED_TABLES: Final = (
    TypedTable(
        Table.STATEMENTS,
        10,
        "One row for each executed SQL statement, as it was exported. Rules read statements_resolved\n"
        "-- instead, where the outcome is final.",
        IS_STATEMENT,
        derived=EXCEPTION[:1],
        indexes=("identity_values", "identity_bound", "identity_row", "transaction_id"),
    ),
    TypedTable(
        Table.TRANSACTIONS,
        12,
        "One row for each transaction that wrote or failed.",
        f"SpanAttributes['{names.TRANSACTION_OUTCOME}'] != '' AND NOT {IS_STATEMENT}",
        derived=EXCEPTION[:1],
        indexes=("transaction_id",),
    ),
    TypedTable(
        Table.ENTRIES,
        14,
        "One row for each span at which work entered a service.",
        "(ParentSpanId = '' OR SpanKind IN ('Server', 'SPAN_KIND_SERVER', 'Consumer', 'SPAN_KIND_CONSUMER')"
        f" OR SpanAttributes['{names.ENTRY_KIND}'] != '') AND NOT {IS_STATEMENT}",
        derived=(
            *EXCEPTION,
            Column("failed", "Bool", f"{IS_ERROR} OR {HTTP_STATUS} >= 500"),
        ),
        indexes=("identity_bound", "message_id"),
    ),
    TypedTable(
        Table.AI_CALLS,
        16,
        "One row for each call of a model: a GenAI span of any convention, or HTTP to a known provider.\n"
        "-- Attempts inside a call are none.",
        f"NOT {IS_STATEMENT} AND SpanAttributes['{names.AI_ROLE}'] != 'attempt'"
        f" AND (SpanAttributes['{names.AI_ROLE}'] != ''"
        f" OR (SpanAttributes['gen_ai.operation.name'] NOT IN {quoted(NOT_MODEL_CALLS)}"
        f" AND ({HAS_GENAI} OR ({IS_PROVIDER_CALL}))))",
        derived=(
            *EXCEPTION,
            Column(
                "failed",
                "Bool",
                f"{IS_ERROR} OR SpanAttributes['error.type'] != '' OR has(Events.Name, 'exception')"
                f" OR {HTTP_STATUS} >= 400"
                " OR hasAny(JSONExtract(SpanAttributes['gen_ai.response.finish_reasons'], 'Array(String)'),"
                f" [{quoted(FAILED_FINISH_REASONS)[1:-1]}])"
                f" OR SpanAttributes['{names.AI_PROBLEM}'] IN {quoted(tuple(sorted(FAILURES)))}",
            ),
        ),
    ),
)

#: A year and a day: a longer span is a broken clock, and its end must not overflow.
LONGEST_SPAN_NS: Final = 366 * 86_400 * 10**9

SPAN_COLUMNS: Final = (
    Column("received_at", "DateTime64(3, 'UTC') DEFAULT now64(3)", "received_at", "Delta(8), ZSTD(3)"),
    Column("request_hash", "LowCardinality(FixedString(16))", "request_hash", "ZSTD(3)"),
    Column("started_at", "DateTime64(9, 'UTC')", "Timestamp", "Delta(8), ZSTD(3)"),
    Column(
        "ended_at",
        "DateTime64(9, 'UTC')",
        "fromUnixTimestamp64Nano(toUnixTimestamp64Nano(Timestamp)"
        f" + toInt64(least(Duration, {LONGEST_SPAN_NS})), 'UTC')",
        "Delta(8), ZSTD(3)",
    ),
    Column("trace_id", "String", "lower(TraceId)", "ZSTD(3)"),
    Column("span_id", "String", "lower(SpanId)", "ZSTD(3)"),
    Column("parent_span_id", "String", "lower(ParentSpanId)", "ZSTD(3)"),
    Column("span_name", "LowCardinality(String)", "SpanName"),
    Column("span_kind", "LowCardinality(String)", "lower(replaceOne(SpanKind, 'SPAN_KIND_', ''))"),
    Column(
        "status",
        "LowCardinality(String)",
        f"multiIf({IS_ERROR}, 'error', StatusCode IN ('Ok', 'STATUS_CODE_OK'), 'ok', 'unset')",
    ),
    Column("status_message", "String", "StatusMessage", "ZSTD(3)"),
)


def attribute_column(attribute: Attribute, table: Table) -> Column:
    """The column that carries an attribute in a typed table."""
    assert attribute.column is not None
    if attribute.name == names.SERVICE_NAME:
        return Column(attribute.column, "LowCardinality(String)", "ServiceName")
    map_column = "ResourceAttributes" if Signal.RESOURCE in attribute.signals else "SpanAttributes"
    foreign = FOREIGN_AI_NAMES.get(attribute.name, ()) if table is Table.AI_CALLS else ()
    text = lookup(map_column, attribute.name, *attribute.older, *foreign)
    string = "String" if attribute.column in HIGH_CARDINALITY else "LowCardinality(String)"
    missing = MISSING.get(attribute.column)
    match attribute.type:
        case "string":
            expression = f"if({text} = '', {missing}, {text})" if missing else text
            return Column(
                attribute.column,
                string,
                expression,
                "ZSTD(3)" if attribute.column in HIGH_CARDINALITY else "",
            )
        case "string[]":
            return Column(
                attribute.column, f"Array({string})", f"JSONExtract({text}, 'Array(String)')", "ZSTD(3)"
            )
        case "int":
            expression = f"ifNull(toInt64OrNull({text}), {missing})" if missing else f"toInt64OrZero({text})"
            return Column(attribute.column, "Int64", expression, "ZSTD(3)")
        case "int[]":
            return Column(attribute.column, "Array(Int64)", f"JSONExtract({text}, 'Array(Int64)')", "ZSTD(3)")
        case "double":
            return Column(attribute.column, "Float64", f"toFloat64OrZero({text})", "ZSTD(3)")
        case "boolean":
            return Column(attribute.column, "Bool", f"{text} = 'true'")


def columns(table: Table) -> tuple[Column, ...]:
    """All columns of a typed table: of the span, of the registry, derived, in this order."""
    typed = next(typed for typed in TYPED_TABLES if typed.table is table)
    registered = [
        attribute_column(attribute, table)
        for attribute in ATTRIBUTES.values()
        if table in attribute.tables and attribute.column is not None
    ]
    return (*SPAN_COLUMNS, *registered, *typed.derived)


def render_table(typed: TypedTable) -> str:
    """CREATE TABLE of a typed table."""
    lines = [column.ddl for column in columns(typed.table)]
    lines += [f"INDEX {name} {name} TYPE bloom_filter(0.01) GRANULARITY 1" for name in typed.indexes]
    lines += [
        "INDEX trace_id trace_id TYPE bloom_filter(0.001) GRANULARITY 1",
        "INDEX received_at received_at TYPE minmax GRANULARITY 1",
    ]
    body = ",\n    ".join(lines)
    return (
        f"-- {typed.meaning}\n"
        f"{PROVENANCE}"
        f"CREATE TABLE IF NOT EXISTS {typed.table}\n(\n    {body}\n)\n"
        "ENGINE = MergeTree\n"
        "PARTITION BY toDate(received_at)\n"
        "PRIMARY KEY (toStartOfFiveMinutes(started_at), environment, service)\n"
        "ORDER BY (toStartOfFiveMinutes(started_at), environment, service, trace_id, started_at)\n"
        "SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1\n"
    )


def render_view(typed: TypedTable) -> str:
    """CREATE MATERIALIZED VIEW that fills a typed table from arriving spans."""
    body = ",\n    ".join(f"{column.expression} AS {column.name}" for column in columns(typed.table))
    return (
        f"-- Fills {typed.table} from arriving spans. No expression in it can fail, whatever a client\n"
        "-- sends: an error here would refuse the whole batch.\n"
        f"{PROVENANCE}"
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {typed.table}_from_traces TO {typed.table} AS\n"
        f"SELECT\n    {body}\nFROM otel_traces\nWHERE {typed.spans}\n"
    )


def render_resolved() -> str:
    """CREATE VIEW of the statements with their final outcomes."""
    undone = "has(settlement_row.undone, exported_row.span_id)"
    late = "exported_row.received_at < now64(3) - INTERVAL 10 MINUTE"
    final = {
        "outcome": f"multiIf(exported_row.outcome != 'open', exported_row.outcome, {undone}, 'rolled_back',"
        f" settlement_row.outcome != '', settlement_row.outcome, {late}, 'rolled_back', 'open')",
        "reason": f"multiIf(exported_row.outcome != 'open', exported_row.reason, {undone}, 'savepoint',"
        f" settlement_row.outcome != '', settlement_row.reason, {late}, 'abandoned', '')",
        "transaction_error_type": "if(exported_row.outcome = 'open' AND settlement_row.outcome != '',"
        " settlement_row.error_type, exported_row.transaction_error_type)",
    }
    body = ",\n    ".join(
        f"{final.get(column.name, f'exported_row.{column.name}')} AS {column.name}"
        for column in columns(Table.STATEMENTS)
    )
    return (
        "-- Statements with their final outcome, whatever the order of arrival: the view that rules read.\n"
        "-- A statement that was exported before its transaction ended (outcome 'open') takes the outcome\n"
        "-- of its transaction's span; ten minutes after its arrival without one it reads as abandoned.\n"
        f"{PROVENANCE}"
        f"CREATE OR REPLACE VIEW statements_resolved AS\nSELECT\n    {body}\n"
        "FROM statements AS exported_row\nANY LEFT JOIN settlements AS settlement_row\n"
        "    ON settlement_row.transaction_id\n"
        "    = if(exported_row.outcome = 'open', exported_row.transaction_id, '')\n"
    )


def render_violations() -> str:
    """CREATE TABLE of the statements that a constraint refused: statements' columns, and a key of its own."""
    body = ",\n    ".join(column.ddl for column in columns(Table.STATEMENTS))
    return (
        "-- Statements that a constraint refused: few rows beside statements, so that slow drips can be\n"
        "-- counted over a week. Rules read the view violations instead, where the outcome is final.\n"
        f"{PROVENANCE}"
        f"CREATE TABLE IF NOT EXISTS violation_statements\n(\n    {body}\n)\n"
        "ENGINE = MergeTree\n"
        "PARTITION BY toDate(received_at)\n"
        "PRIMARY KEY (environment, application, service)\n"
        "ORDER BY (environment, application, service, started_at)\n"
        "SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1\n"
    )


def render_all() -> dict[str, str]:
    """Every generated file: name under ``schema/`` to content."""
    files = {}
    for typed in TYPED_TABLES:
        files[f"{typed.number:04}_{typed.table}.sql"] = render_table(typed)
        files[f"{typed.number + 1:04}_{typed.table}_from_traces.sql"] = render_view(typed)
    files["0030_statements_resolved.sql"] = render_resolved()
    files["0032_identity_statements_from_statements.sql"] = identity_rows.render_insert_view()
    files["0037_identity_arrivals.sql"] = identity_rows.render_arrivals()
    files["0136_violation_statements.sql"] = render_violations()
    return files


def main(arguments: list[str] | None = None) -> int:
    """Write the generated files, or with ``--check`` say which differ; returns the exit status."""
    parser = argparse.ArgumentParser(description="Render the typed tables' SQL from the telemetry contract.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file differs")
    check = parser.parse_args(arguments).check
    status = 0
    for name, content in render_all().items():
        path = SCHEMA_FOLDER / name
        if path.exists() and path.read_text(encoding="utf-8") == content:
            continue
        if check:
            print(f"{path} differs from the telemetry contract", file=sys.stderr)
            status = 1
        else:
            path.write_text(content, encoding="utf-8")
            print(f"wrote {path}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
