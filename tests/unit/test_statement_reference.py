"""The reference page counts the corpus as it is."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

DATA = Path(__file__).parent / "data" / "statements"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "statements.md"


def test_the_page_counts_the_corpus() -> None:
    page = PAGE.read_text(encoding="utf-8")
    statements = plans = 0
    for file in sorted(DATA.glob("*.yaml")):
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))
        row = [len(entries), *(sum(letter in entry["d"] for entry in entries) for letter in "psm")]
        written = re.search(rf"^\| {file.stem}\b[^|]*\|(.*)\|$", page, re.MULTILINE)
        assert written is not None, file.stem
        assert [int(cell) for cell in written[1].split("|")] == row, file.stem
        statements, plans = statements + row[0], plans + sum(row[1:])
    assert f"{statements} statements, {plans:,} plans" in page
