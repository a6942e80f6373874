"""The fence: hostile and careless rule SQL, each refused by name; what is fine passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from trueline.monitor.engine.fence import FenceError, fence
from trueline.monitor.engine.functions import FUNCTIONS, is_allowed

DATA = Path(__file__).parents[1] / "data" / "rules" / "fence"


def corpus(name: str) -> list[Any]:
    listed = yaml.safe_load((DATA / f"{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(listed, list)
    return listed


@pytest.mark.parametrize("case", corpus("refused"), ids=lambda case: case["sql"][:60])
def test_hostile_queries_are_refused_by_name(case: dict[str, str]) -> None:
    with pytest.raises(FenceError) as refused:
        fence(case["sql"])
    assert case["says"] in str(refused.value)


@pytest.mark.parametrize("sql", corpus("passes"), ids=lambda sql: sql[:60])
def test_harmless_queries_pass(sql: str) -> None:
    passed = fence(sql)
    assert passed.tables
    assert fence(passed.sql).sql == passed.sql


@pytest.mark.parametrize("case", corpus("stopped"), ids=lambda case: case["name"])
def test_what_limits_have_to_stop_passes(case: dict[str, str]) -> None:
    # tests/integration/test_fence_engine.py sees that they do.
    assert fence(case["sql"]).tables == {"entries"}


def test_what_runs_is_the_tree_written_out_again() -> None:
    query = fence("select /* ; drop */ count( ) n -- x\nfrom transactions where reads>{least:UInt32}")
    assert query.sql == "SELECT count() AS n FROM transactions WHERE reads > {least: UInt32}"
    assert (query.columns, query.parameters) == (("n",), {"least": "UInt32"})
    assert query.tables == {"transactions"}


@pytest.mark.parametrize(
    ("sql", "line", "column"),
    [
        ("SELECT trace_id,\n  hostName()\nFROM entries", 2, 3),
        ("SELECT trace_id,\n  version()\nFROM entries", 2, 3),
        ("SELECT\n  arrayMap(upper, tables)\nFROM statements_resolved", 2, 12),
        ("SELECT 1\nFROM findings", 2, 6),
        ("SELECT 1,\n \u2018x\u2019 FROM entries", 2, 2),
        ("SELECT 1,\n\t\x00 FROM entries", 2, 2),
    ],
)
def test_a_refusal_says_where(sql: str, line: int, column: int) -> None:
    with pytest.raises(FenceError) as refused:
        fence(sql)
    assert (refused.value.line, refused.value.column) == (line, column)


def test_one_parameter_has_one_type() -> None:
    with pytest.raises(FenceError, match="least is declared as UInt32 and as String"):
        fence("SELECT 1 FROM entries WHERE http_status > {least:UInt32} OR service = {least:String}")


def test_a_star_hides_the_columns() -> None:
    assert fence("SELECT t.*, 1 AS one FROM transactions AS t").columns is None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "(" * 5000 + "1" + ")" * 5000 + " FROM entries",
        "SELECT " + "[" * 61 + "1" + "]" * 61 + " FROM entries",
        "SELECT * FROM " + "(SELECT * FROM " * 61 + "entries" + ")" * 61,
        "SELECT " + ", ".join(["1"] * 20_000) + " FROM entries",
        "SELECT '" + "x" * 70_000 + "' FROM entries",
        "SELECT * FROM (" + " UNION ALL ".join(["SELECT 1 FROM entries"] * 201) + ")",
    ],
    ids=["parentheses", "brackets", "queries", "words", "characters", "unions"],
)
def test_too_much_of_anything_is_refused_and_not_a_crash(sql: str) -> None:
    with pytest.raises(FenceError, match="more than"):
        fence(sql)


@pytest.mark.parametrize(
    "name",
    ["uniqExact", "UNIQEXACT", "uniqExactArrayIf", "argMaxOrNullIf", "countMerge", "sumMap", "quantileState"],
)
def test_combinators_are_of_aggregates(name: str) -> None:
    assert is_allowed(name)


@pytest.mark.parametrize("name", ["lowerIf", "fileIf", "hostNameArray", "sumResample", "", "Array_If"])
def test_and_of_nothing_else(name: str) -> None:
    assert not is_allowed(name)


def test_no_function_that_reaches_out_is_among_those_allowed() -> None:
    reaching = (
        "dict",
        "file",
        "url(",
        "host",
        "setting",
        "sleep",
        "random",
        "ai",
        "filesystem",
        "server",
        "query",
    )
    known = {"queryString", "airport"}
    assert [name for name in FUNCTIONS - known if name.lower().startswith(reaching)] == []
