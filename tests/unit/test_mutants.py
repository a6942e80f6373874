"""Mutants of rules: one change each, named by where and what; known equivalents are found by their names."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutations.equivalent import Equivalents, fits, read_equivalents
from mutations.mutants import mutants
from mutations.report import Result, read_results, result_of, write_results
from mutations.trial import Trial

from trueline.monitor.engine.load import load_rule

REPOSITORY = Path(__file__).parents[2]


def of(sql: str, *decisive: str) -> dict[str, str]:
    return {one.name: one.sql for one in mutants(sql, decisive)}


@pytest.mark.parametrize(
    ("sql", "name", "changed"),
    [
        ("SELECT 1 FROM t WHERE a AND b AND c", "without `b`", "SELECT 1 FROM t WHERE a AND c"),
        ("SELECT 1 FROM t WHERE a OR b", "without `a`", "SELECT 1 FROM t WHERE b"),
        ("SELECT 1 FROM t WHERE a > 3", "without `WHERE a > 3`", "SELECT 1 FROM t"),
        ("SELECT 1 FROM t WHERE a > 3", "turned round `a > 3`", "SELECT 1 FROM t WHERE a <= 3"),
        ("SELECT 1 FROM t WHERE a > 3", "boundary of `a > 3`", "SELECT 1 FROM t WHERE a >= 3"),
        ("SELECT 1 FROM t WHERE NOT a", "without NOT `NOT a`", "SELECT 1 FROM t WHERE a"),
        (
            "SELECT 1 FROM t WHERE a IN ('x', 'y')",
            "`'y'` is not in `a IN ('x', 'y')`",
            "SELECT 1 FROM t WHERE a IN ('x')",
        ),
        (
            "SELECT 1 FROM t WHERE (a, b) IN (SELECT c, d FROM u)",
            "`b` is no key of `(a, b) IN`",
            "SELECT 1 FROM t WHERE (a) IN (SELECT c FROM u)",
        ),
        ("SELECT DISTINCT a FROM t", "without DISTINCT `a`", "SELECT a FROM t"),
        ("SELECT 1 FROM t LIMIT 5 BY a", "without `LIMIT 5 BY a`", "SELECT 1 FROM t"),
        ("SELECT 1 FROM t LEFT JOIN u USING (a)", "INNER JOIN `u`", "SELECT 1 FROM t INNER JOIN u USING (a)"),
        (
            "SELECT 1 FROM t INNER JOIN u USING (a, b)",
            "`a` does not join `u`",
            "SELECT 1 FROM t INNER JOIN u USING (b)",
        ),
        (
            "SELECT 1 FROM t WHERE multiIf(a, b, c, d, e)",
            "never `c`",
            "SELECT 1 FROM t WHERE multiIf(a, b, FALSE, d, e)",
        ),
        (
            "SELECT 1 FROM t HAVING countIf(a) > 1",
            "without the condition of `countIf(a)`",
            "SELECT 1 FROM t HAVING countIf(TRUE) > 1",
        ),
    ],
)
def test_one_condition_at_a_time(sql: str, name: str, changed: str) -> None:
    assert of(sql)[f"result: {name}"].lower() == changed.lower()


def test_both_sides_of_a_union() -> None:
    made = of("WITH u AS (SELECT a FROM t UNION ALL SELECT b FROM s) SELECT 1 FROM u")
    assert {text for name, text in made.items() if name.startswith("u: only the ")} == {
        "WITH u AS (SELECT a FROM t) SELECT 1 FROM u",
        "WITH u AS (SELECT b FROM s) SELECT 1 FROM u",
    }


def test_words_are_left_alone_and_what_decides_is_not() -> None:
    sql = "SELECT countIf(a) AS count, anyIf(b, c) AS said, countIf(d) AS much FROM t HAVING much > 2"
    names = " ".join(of(sql))
    assert "countIf(a)" in names
    assert "countIf(d)" in names
    assert "anyIf" not in names
    assert "anyIf" in " ".join(of(sql, "said"))


def test_a_shipped_rule_has_mutants_and_each_is_another_one() -> None:
    rule = load_rule(REPOSITORY / "rules" / "constraint_violation_burst.yaml")
    made = of(rule.query.sql, *rule.definition.group_by)
    assert len(made) > 50
    assert rule.query.sql not in made.values()
    assert len(set(made.values())) == len(made)


def test_equivalents_are_found_by_name_and_old_ones_are_told() -> None:
    known = read_equivalents()
    assert known.reason("any", "query, x: without `received_at >= {since: DateTime64(3)}`")
    assert not known.reason("any", "query, x: without `started_at >= {since: DateTime64(3)}`")
    assert fits("a*", "abc")
    assert fits("*c", "abc")
    assert not fits("b*", "abc")
    for rule in known.patterns:
        assert rule == "all" or known.unused(rule, []) == list(known.patterns[rule])


def test_survivors_that_are_tried_again_are_joined_to_what_was_noticed(tmp_path: Path) -> None:
    known = Equivalents({"r": {"without `b`": "It says a again."}})
    first = result_of(
        Trial("r", {"without `a`": ["one"]}, ["without `b`", "without `c`"], ["without `d`"]), known
    )
    assert (first.judged, first.missed, list(first.equivalent)) == (2, ["without `c`"], ["without `b`"])
    write_results(tmp_path / "results.json", [first])
    held = read_results(tmp_path / "results.json")["r"]
    assert held == first and held.settled(known) == {"without `a`", "without `b`", "without `d`"}
    assert held.of(["without `b`"]) == Result("r", {}, [], {"without `b`": "It says a again."}, [])
    again = result_of(Trial("r", {"without `c`": ["two"]}, [], []), known, held)
    assert again == Result(
        "r",
        {"without `a`": ["one"], "without `c`": ["two"]},
        [],
        {"without `b`": "It says a again."},
        ["without `d`"],
    )
    assert again.lines() == ["r: 2 of 2 noticed (100.0%); 1 mean the same, 1 cannot be run"]
