"""What holds for every shipped rule: it loads, and its query survives being parsed and written out again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.telemetry import PATIENT, RULES, clear_telemetry, insert_telemetry

from trueline.monitor.engine.evaluate import parameters, select
from trueline.monitor.engine.fence import RULE_TABLES
from trueline.monitor.engine.load import load_rule, load_rules
from trueline.monitor.engine.rule import CANDIDATES, Rule
from trueline.monitor.engine.windows import Window
from trueline.monitor.store.client import Store
from trueline.monitor.store.ledger import StoredArrivals

IDS = sorted(path.stem for path in RULES.glob("*.yaml"))


def test_all_shipped_rules_load() -> None:
    loaded = load_rules([RULES])
    assert loaded.problems == ()
    assert [rule.id for rule in loaded.rules] == IDS


def bound(rule: Rule, now: datetime) -> dict[str, Any]:
    start = now - rule.definition.lookback
    return parameters(rule, Window(start, start, now, start, now))


@pytest.mark.parametrize("rule_id", IDS)
def test_the_text_and_what_runs_give_the_same_rows(store: Store, rule_id: str) -> None:
    rule = load_rule(RULES / f"{rule_id}.yaml")
    test = next(test for test in rule.definition.tests if test.expect)
    now = insert_telemetry(store, **(test.model_extra or {})["rows"])
    texts = {rule.query.sql: rule.definition.query}
    if rule.trigger is not None:
        texts[rule.trigger.sql] = rule.definition.trigger or ""
    asked: list[str] = []

    def query(sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        asked.append(sql)
        rows = store.query_read_only(sql, parameters, PATIENT)
        assert repr(store.query_read_only(texts[sql], parameters, PATIENT)) == repr(rows)
        return rows.dicts()

    assert len(select(rule, bound(rule, now), query)) == len(test.expect)
    assert len(asked) == len(texts)


@pytest.mark.parametrize("rule_id", IDS)
def test_a_rule_on_an_empty_store_finds_nothing(store: Store, rule_id: str) -> None:
    """Not even where its trigger let it through."""
    rule = load_rule(RULES / f"{rule_id}.yaml")
    clear_telemetry(store)
    values = bound(rule, datetime.now(UTC))
    if rule.trigger is not None:
        assert len(store.query_read_only(rule.trigger.sql, values, PATIENT)) == 0
    values |= {name: [] for name in rule.query.parameters if name.startswith(CANDIDATES)}
    assert len(store.query_read_only(rule.query.sql, values, PATIENT)) == 0


def test_arrivals_are_known_for_every_table_that_a_rule_may_read(store: Store) -> None:
    """A rule is judged when something arrived: one whose tables nobody can look through never would be."""
    arrivals, now = StoredArrivals(store), datetime.now(UTC)
    start, end = now - timedelta(hours=1), now + timedelta(hours=1)
    clear_telemetry(store)
    for table in sorted(RULE_TABLES):
        assert arrivals([table], start, end) is None, table
    one = {"at": "-5s", "write": "drops", "ids": ["drops.n set raw drop:D1"]}
    insert_telemetry(store, statements=[one, {**one, "error": "refused", "constraint_kind": "unique"}])
    told = {table for table in RULE_TABLES if arrivals([table], start, end) is not None}
    assert told >= {"statements_resolved", "identity_uses", "access", "traffic", "violations"}
