"""The oracle agrees with every hand-written case of the core rules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from support.oracle import BEYOND, ORACLES
from support.telemetry import RULES

from trueline.monitor.engine.load import load_rule
from trueline.monitor.engine.rule import RuleTest
from trueline.monitor.engine.rule_rows import span_rows

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
RULE = {rule: load_rule(RULES / f"{rule}.yaml").definition for rule in ORACLES}
CASES = [(rule, test) for rule in ORACLES for test in RULE[rule].tests if (rule, test.name) not in BEYOND]


@pytest.mark.parametrize(("rule", "test"), CASES, ids=[f"{rule}: {test.name}" for rule, test in CASES])
def test_the_oracle_finds_what_the_case_expects(rule: str, test: RuleTest) -> None:
    compact: dict[str, Any] = (test.model_extra or {})["rows"]
    tables = {name: span_rows(name, rows, now=NOW, seed=test.name) for name, rows in compact.items()}
    names = RULE[rule].group_by
    found = [dict(zip(names, group, strict=True)) for group in ORACLES[rule](tables)]
    assert len(found) == len(test.expect), found
    for wanted in test.expect:
        stable = {name: value for name, value in wanted.items() if name in names}
        assert any(stable.items() <= group.items() for group in found), f"{stable} is not in {found}"
