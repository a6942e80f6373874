"""What holds for every shipped rule: it loads, and its query survives being parsed and written out again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from support.telemetry import RULES, clear_telemetry, insert_telemetry

from trueline.monitor.engine.load import load_rule, load_rules
from trueline.monitor.store.client import Store

IDS = sorted(path.stem for path in RULES.glob("*.yaml"))


def test_all_shipped_rules_load() -> None:
    loaded = load_rules([RULES])
    assert loaded.problems == ()
    assert [rule.id for rule in loaded.rules] == IDS


@pytest.mark.parametrize("rule_id", IDS)
def test_the_text_and_what_runs_give_the_same_rows(store: Store, rule_id: str) -> None:
    rule = load_rule(RULES / f"{rule_id}.yaml")
    test = next(test for test in rule.definition.tests if test.expect)
    now = insert_telemetry(store, **(test.model_extra or {})["rows"])
    start = datetime(2020, 1, 1, tzinfo=UTC)
    parameters: dict[str, Any] = {**rule.parameters, "start": start, "end": now, "since": start}

    rows = store.query_read_only(rule.query.sql, parameters)
    assert len(rows) == len(test.expect)
    assert repr(store.query_read_only(rule.definition.query, parameters)) == repr(rows)


@pytest.mark.parametrize("rule_id", IDS)
def test_a_rule_on_an_empty_store_finds_nothing(store: Store, rule_id: str) -> None:
    rule = load_rule(RULES / f"{rule_id}.yaml")
    clear_telemetry(store)
    start, now = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC)
    parameters: dict[str, Any] = {**rule.parameters, "start": start, "end": now, "since": start}
    assert len(store.query_read_only(rule.query.sql, parameters)) == 0
