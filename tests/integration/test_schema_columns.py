"""The schema's files, the contract and the real tables say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.store_fixtures import create_schema

from trueline.instrumentation.semconv.registry import ATTRIBUTES, Attribute, Table
from trueline.monitor.settings import StoreSettings
from trueline.monitor.store import generate
from trueline.monitor.store.client import Store, open_store

CLICKHOUSE_TYPES = {
    "string": {"String", "LowCardinality(String)"},
    "string[]": {"Array(String)", "Array(LowCardinality(String))"},
    "int": {"Int64"},
    "double": {"Float64"},
    "boolean": {"Bool"},
}
SPAN_COLUMNS = {
    "received_at": "DateTime64(3, 'UTC')",
    "request_hash": "LowCardinality(FixedString(16))",
    "started_at": "DateTime64(9, 'UTC')",
    "ended_at": "DateTime64(9, 'UTC')",
    "trace_id": "String",
    "span_id": "String",
    "parent_span_id": "String",
    "span_name": "LowCardinality(String)",
    "span_kind": "LowCardinality(String)",
    "status": "LowCardinality(String)",
    "status_message": "String",
}
DERIVED = {
    Table.STATEMENTS: {"exception_type"},
    Table.TRANSACTIONS: {"exception_type"},
    Table.ENTRIES: {"exception_type", "exception_message", "failed"},
    Table.AI_CALLS: {"exception_type", "exception_message", "failed"},
}
COLLECTOR_TRACES = (
    "Timestamp TraceId SpanId ParentSpanId TraceState SpanName SpanKind ServiceName ResourceAttributes"
    " ScopeName ScopeVersion SpanAttributes Duration StatusCode StatusMessage Events.Timestamp Events.Name"
    " Events.Attributes Links.TraceId Links.SpanId Links.TraceState Links.Attributes"
)
COLLECTOR_LOGS = (
    "Timestamp TraceId SpanId TraceFlags SeverityText SeverityNumber ServiceName Body ResourceSchemaUrl"
    " ResourceAttributes ScopeSchemaUrl ScopeName ScopeVersion ScopeAttributes LogAttributes EventName"
)


def described(store: Store, table: str) -> dict[str, str]:
    return {name: kind for name, kind, *_ in store.query(f"DESCRIBE TABLE {table}")}


def registered(table: Table) -> dict[str, Attribute]:
    return {
        attribute.column: attribute
        for attribute in ATTRIBUTES.values()
        if table in attribute.tables and attribute.column is not None
    }


def test_checked_in_files_are_what_the_contract_renders() -> None:
    for name, content in generate.render_all().items():
        path = generate.SCHEMA_FOLDER / name
        assert path.read_text(encoding="utf-8") == content, (
            f"{path.name} differs: run python -m trueline.monitor.store.generate"
        )


def test_check_tells_which_file_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "SCHEMA_FOLDER", tmp_path)
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0
    (tmp_path / "0010_statements.sql").write_text("SELECT 1")
    assert generate.main(["--check"]) == 1
    assert "0010_statements.sql differs" in capsys.readouterr().err


@pytest.mark.parametrize("table", list(Table))
def test_a_typed_table_has_exactly_the_registered_columns(store: Store, table: Table) -> None:
    columns = described(store, table)
    attributes = registered(table)
    assert set(columns) == {*SPAN_COLUMNS, *attributes, *DERIVED[table]}
    for name, kind in SPAN_COLUMNS.items():
        assert columns[name] == kind
    for name, attribute in attributes.items():
        assert columns[name] in CLICKHOUSE_TYPES[attribute.type], name


def test_the_resolved_view_has_the_columns_of_statements(store: Store) -> None:
    assert list(described(store, "statements_resolved")) == list(described(store, "statements"))


def test_raw_tables_have_the_collectors_columns_and_the_arrival(store: Store) -> None:
    assert list(described(store, "otel_traces")) == [*COLLECTOR_TRACES.split(), "received_at", "request_hash"]
    assert list(described(store, "otel_logs")) == [*COLLECTOR_LOGS.split(), "received_at", "request_hash"]


def test_every_file_is_one_statement_that_can_run_again(store: Store) -> None:
    before = store.query("SHOW TABLES").rows
    create_schema(store)
    assert store.query("SHOW TABLES").rows == before
    for path in generate.SCHEMA_FOLDER.glob("00*.sql"):
        text = path.read_text(encoding="utf-8")
        code = [line for line in text.splitlines() if not line.startswith("--")]
        assert ";" not in "".join(code), path.name
        assert "IF NOT EXISTS" in text or "CREATE OR REPLACE VIEW" in text, path.name


@pytest.mark.parametrize("database", ["s", "t", "statements", "settlements", "databases", "exported"])
def test_the_database_may_have_any_name(store_folder: Path, database: str) -> None:
    """An alias in a view that is also the database's name would hide its tables."""
    store = open_store(StoreSettings(data_dir=store_folder, database=database))
    try:
        create_schema(store)
        for view in ("statements_resolved", "identity_uses", "databases"):
            assert store.query(f"SELECT count() FROM {view}").scalar() == 0
    finally:
        store.command(f"DROP DATABASE {database}")
        store.close()
