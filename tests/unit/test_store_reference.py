"""The page about the store's tables is what the schema renders, and names every table and column."""

from __future__ import annotations

from pathlib import Path

from trueline.monitor.store.client import Store
from trueline.monitor.store.reference import render

PAGE = Path(__file__).parents[2] / "docs/reference/store.md"


def test_the_page_is_what_the_schema_renders() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), (
        "run: python -m trueline.monitor.store.reference > docs/reference/store.md"
    )


def test_it_tells_every_column_that_there_really_is(shared_store: Store) -> None:
    page = render()
    columns = shared_store.query(
        "SELECT c.table, c.name FROM system.columns AS c JOIN system.tables AS t"
        " ON t.name = c.table AND t.database = c.database"
        " WHERE c.database = currentDatabase() AND t.engine LIKE '%MergeTree'"
    ).rows
    assert len(columns) > 100
    for table, name in columns:
        section = page.partition(f"\n## {table}\n")[2].partition("\n## ")[0]
        assert section, table
        assert f"| `{name.partition('.')[0]}` |" in section, f"{table}.{name}"
