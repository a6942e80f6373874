"""What runs on a cluster is rendered from the schema's files; the golden text shows all of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trueline.monitor.errors import MigrationError, SettingsError
from trueline.monitor.store.client import Store
from trueline.monitor.store.cluster import SHARDED_BY, render, require_cluster_name
from trueline.monitor.store.migrate import read_migrations

GOLDEN = Path(__file__).parent / "data" / "schema_on_a_cluster.sql"
#: Written anew by: python tests/unit/test_store_cluster.py
RENDERED = {migration.label: render(migration.sql, "main", "trueline") for migration in read_migrations()}


def golden() -> str:
    parts = [f"-- {label}\n" + ";\n".join(statements) + ";\n" for label, statements in RENDERED.items()]
    return "\n".join(parts)


def test_the_whole_schema_is_what_was_looked_at() -> None:
    assert golden() == GOLDEN.read_text(encoding="utf-8"), f"look at it, then: python {Path(__file__).name}"


def test_the_engine_can_parse_each_statement(shared_store: Store) -> None:
    for label, statements in RENDERED.items():
        for statement in statements:
            assert shared_store.query(f"EXPLAIN AST {statement}").rows, label


def test_nothing_local_is_written_or_read_by_chance() -> None:
    """Insert views work on local tables only; a view over everything names no local table."""
    for label, statements in RENDERED.items():
        first = statements[0]
        if "MATERIALIZED VIEW" in first:
            sources = re.findall(r"\b(?:FROM|(?<!ARRAY )JOIN|TO) (\w+)", first)
            assert sources, label
            assert "arrayConcat_local" not in first
            assert all(source.endswith("_local") for source in sources), label
        if "MergeTree" in first:
            assert "ENGINE = Replicated" in first, label
            assert "non_replicated" not in first, label
            assert "ENGINE = Distributed" in statements[1], label


def test_every_sharding_key_is_of_a_table_that_there_is() -> None:
    tables = {
        name
        for (statements) in RENDERED.values()
        for name in re.findall(r"TABLE IF NOT EXISTS (\w+) ON", statements[-1])
    }
    assert set(SHARDED_BY) <= tables


def test_a_column_is_added_to_both() -> None:
    added = render("ALTER TABLE findings ADD COLUMN IF NOT EXISTS x String CODEC(ZSTD(1))", "c", "d")
    assert added == [
        "ALTER TABLE findings_local ON CLUSTER 'c' ADD COLUMN IF NOT EXISTS x String CODEC(ZSTD(1))",
        "ALTER TABLE findings ON CLUSTER 'c' ADD COLUMN IF NOT EXISTS x String",
    ]
    assert len(render("ALTER TABLE findings ADD INDEX i x TYPE minmax", "c", "d")) == 1


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(MigrationError, match="on a cluster: OPTIMIZE TABLE x"):
        render("OPTIMIZE TABLE x", "c", "d")
    with pytest.raises(MigrationError, match="table t has no trace_id: say in SHARDED_BY"):
        render("CREATE TABLE IF NOT EXISTS t\n(\n    n Int8\n)\nENGINE = MergeTree\nORDER BY n", "c", "d")
    with pytest.raises(SettingsError, match="cannot be a cluster's name"):
        require_cluster_name("a'b")


if __name__ == "__main__":
    GOLDEN.write_text(golden(), encoding="utf-8")
