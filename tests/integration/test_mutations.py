"""The trial of mutants: on a small rule whose tests notice some and miss one, and nightly on shipped ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutations.equivalent import read_equivalents
from mutations.trial import attempt, variants
from mutations.workers import opened, share_out

from trueline.monitor.engine.load import load_rule
from trueline.monitor.store.client import Store

REPOSITORY = Path(__file__).parents[2]
RULE = """
id: unfinished
version: 1
title: Writes that were never committed
severity: warning
type: event
interval: 5s
delay: 1s
lookback: 1h
group_by: [environment, application, service]
resolve: {after: 1h}
params:
  least: {type: UInt32, default: 2, meaning: How many.}
query: |
  SELECT
      environment, application, service, min(started_at) AS first_seen, max(started_at) AS last_seen,
      count() AS count, 0. AS value,
      groupArray(50)(trace_id) AS trace_ids, groupArray(50)(span_id) AS span_ids
  FROM transactions
  WHERE received_at >= {start:DateTime64(3)} AND received_at < {end:DateTime64(3)}
      AND reason = 'not_committed' AND writes > 0 AND process_kind != 'test'
  GROUP BY environment, application, service
  HAVING count >= {least:UInt32}
summary: "{{ service }} leaves writes uncommitted."
explanation: It is.
remediation: {now: Look., then: Mend., check: See.}
false_positives: [None.]
tests:
  - name: two at once
    rows:
      transactions: [&lost {at: -10s, ms: 0, writes: 1, outcome: rolled_back, reason: not_committed}, *lost]
    expect: [{count: 2}]
  - name: one
    rows: {transactions: [*lost]}
    expect: []
  - name: on purpose
    rows: {transactions: [&meant {<<: *lost, reason: explicit}, *meant]}
    expect: []
  - name: in a test
    rows: {transactions: [&tested {<<: *lost, process_kind: test}, *tested]}
    expect: []
  - name: the second comes too late to be judged with the first
    rows: {transactions: [*lost, {<<: *lost, received: -4500ms}]}
    expect: []
"""


def test_what_no_test_looks_at_survives(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "unfinished.yaml"
    path.write_text(RULE, encoding="utf-8")
    trial = attempt(load_rule(path), store)
    assert trial.refused == []
    # No test has a transaction without writes.
    assert sorted(trial.survivors) == [
        "query, result: boundary of `writes > 0`",
        "query, result: without `writes > 0`",
    ]
    noticed = trial.noticed
    assert noticed["query, result: without `reason = 'not_committed'`"] == ["on purpose"]
    assert noticed["query, result: without `process_kind <> 'test'`"] == ["in a test"]
    assert noticed["params, least: halved"] == ["one"]
    # Only the order of arrival tells.
    assert "query, result: without `received_at >= {start: DateTime64(3)}`" in noticed


@pytest.mark.nightly
def test_two_processes_say_the_same(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "unfinished.yaml"
    path.write_text(RULE, encoding="utf-8")
    rule = load_rule(path)
    alone = attempt(rule, store)
    with opened(2) as pool:
        assert share_out(pool, 2, rule, [one.name for one in variants(rule)]) == alone


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("rule_id", "share"), [("constraint_violation_burst", 0.95), ("rollback_after_ai_error", 0.85)]
)
def test_tests_of_shipped_rules_notice_nearly_all(store: Store, rule_id: str, share: float) -> None:
    trial = attempt(load_rule(REPOSITORY / "rules" / f"{rule_id}.yaml"), store)
    known = read_equivalents()
    missed = [name for name in trial.survivors if not known.reason(rule_id, name)]
    assert len(trial.noticed) >= share * (len(trial.noticed) + len(missed)), missed
