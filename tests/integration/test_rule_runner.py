"""The runner of rule tests tells right from wrong, and says what is wrong with a test."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from support.telemetry import RULES, clear_telemetry

from trueline.monitor.engine.load import load_rule
from trueline.monitor.engine.rule import RuleTest
from trueline.monitor.engine.rule_rows import RuleTestError, parse_offset, span_rows
from trueline.monitor.engine.rule_tests import RuleTestResult, run_rule_tests, shared_parameters
from trueline.monitor.store.client import Store

ROW = {"write": "drops", "error": "refused", "constraint_name": "one", "ids": ["drops.n set raw drop:D1"]}
BURST = {"statements": [{**ROW, "at": "-60s"}, {**ROW, "at": "-50s"}, {**ROW, "at": "-40s", "trace": "t3"}]}
SILENT = {"statements": [{**ROW, "at": "-60s"}]}


def run(store: Store, *tests: dict[str, Any]) -> list[RuleTestResult]:
    rule = load_rule(RULES / "constraint_violation_burst.yaml")
    definition = rule.definition.model_copy(update={"tests": [RuleTest(**test) for test in tests]})
    return run_rule_tests(
        replace(rule, definition=definition),
        query=lambda sql, parameters: store.query_read_only(sql, parameters).dicts(),
        insert=store.insert,
        clear=lambda: clear_telemetry(store),
        now=datetime.now(UTC),
    )


def test_each_test_is_judged_by_its_own_rows(store: Store) -> None:
    results = run(
        store,
        {"name": "found", "rows": BURST, "expect": [{"table": "drops", "count": 3, "application": ""}]},
        {"name": "silent", "rows": SILENT, "expect": []},
        {"name": "wrongly silent", "rows": BURST, "expect": []},
        {"name": "wrongly expected", "rows": SILENT, "expect": [{"table": "drops"}]},
        {"name": "wrong number", "rows": BURST, "expect": [{"count": 4}]},
        {"name": "wrong text", "rows": BURST, "expect": [{"summary": "something else"}]},
        {"name": "wrong column", "rows": BURST, "expect": [{"colour": "blue"}]},
        {"name": "no such table", "rows": {"spans": [{}]}, "expect": []},
        {"name": "bad identity", "rows": {"statements": [{"ids": ["user u1"]}]}, "expect": []},
        {"name": "no rows", "expect": []},
        {"name": "misspelt", "rows": SILENT, "row": {}, "expect": []},
    )
    assert [result.name for result in results if result.passed] == ["found", "silent"]
    problems = {result.name: " ".join(result.problems) for result in results}
    assert "not expected: {'environment': 'prod', 'application': ''" in problems["wrongly silent"]
    assert "nothing was found" in problems["wrongly expected"]
    assert "count is 3" in problems["wrong number"]
    assert "summary has no 'something else'" in problems["wrong text"]
    assert "there is no column colour" in problems["wrong column"]
    assert "no table 'spans'" in problems["no such table"]
    assert "write 'table.column clause encoding domain:value'" in problems["bad identity"]
    assert "rows is missing" in problems["no rows"]
    assert "unknown field 'row'" in problems["misspelt"]
    assert store.query("SELECT count() FROM statements").scalar() == 0


def test_bounds_of_what_is_looked_at_hold_for_each_test() -> None:
    rule = load_rule(RULES / "env_split.yaml")
    bounds = {name: rule.parameters[name] for name in ("most_identities", "most_rows")}
    assert shared_parameters(rule, 1) == bounds
    assert shared_parameters(rule, 40) == {name: 40 * value for name, value in bounds.items()}


@pytest.mark.parametrize(
    ("text", "seconds"), [("-90s", -90), ("-5m", -300), ("-2h", -7200), ("-3d", -259200)]
)
def test_times_are_relative(text: str, seconds: int) -> None:
    assert parse_offset(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["yesterday", "-5", "", None, 5])
def test_other_times_are_refused(text: object) -> None:
    with pytest.raises(RuleTestError, match="is not a time"):
        parse_offset(text)


def test_ids_are_the_same_for_the_same_seed_and_differ_otherwise() -> None:
    now = datetime.now(UTC)
    first, second = span_rows("statements", [ROW, ROW], now=now, seed="a")
    assert span_rows("statements", [ROW], now=now, seed="a") == [first]
    assert first["span_id"] != second["span_id"]
    assert first["transaction_id"] != second["transaction_id"]
