"""The lab's judge: what counts as found, missed, false, a consequence or a remark. Pure."""

from __future__ import annotations

from typing import Any

import pytest
from scenarios.catalogue import all_scenarios, available, choose, rules
from scenarios.judge import Result, judge
from scenarios.scenario import Book, Expected, Scenario
from scenarios.scoreboard import sums

SPLIT = Expected("env_split", {"table": "expenses"}, ("web",), ("2.4.0",), ("DATABASE_URL",))


def finding(rule: str = "env_split", **changes: Any) -> dict[str, Any]:
    base = {
        "id": rule,
        "rule": rule,
        "group": {"table": "expenses", "environment": "lab"},
        "services": ["worker", "web"],
        "versions": ["web 2.3.0", "worker 2.4.0"],
        "summary": "worker reads elsewhere",
        "explanation": "Both take it from DATABASE_URL.",
    }
    return base | changes


def scenario(*expected: Expected, also: tuple[str, ...] = (), verdict: str | None = None) -> Scenario:
    first = expected[0].rule if expected else None
    return Scenario(
        "env_split/x", "env_split", "t", "", "postgresql", expected, also, verdict, first, lambda _: None
    )


def judged(one: Scenario, *findings: dict[str, Any], **more: Any) -> Result:
    incidents = more.pop("incidents", [[each["rule"]] for each in findings])
    seen = {each["id"]: 12.5 for each in findings}
    return judge(one, findings, seen, 10.0, verdict=more.pop("verdict", None), incidents=incidents, **more)


def test_an_expected_finding_is_found_and_timed() -> None:
    result = judged(scenario(SPLIT), finding())
    assert result.right
    assert result.seconds == 2.5


@pytest.mark.parametrize(
    "changes",
    [
        {"group": {"table": "budgets"}},
        {"services": ["worker"]},
        {"versions": ["web 2.3.0"]},
        {"explanation": ""},
        {"rule": "key_mismatch"},
    ],
)
def test_another_finding_is_missed_and_false_at_once(changes: dict[str, Any]) -> None:
    result = judged(scenario(SPLIT), finding(**changes))
    assert result.missed == ("env_split",)
    assert len(result.false) == 1
    assert result.seconds is None
    assert not result.right


def test_any_finding_on_a_twin_is_false() -> None:
    assert judged(scenario()).right
    assert not judged(scenario(), finding()).right


def test_a_second_finding_of_the_rule_is_false() -> None:
    assert not judged(scenario(SPLIT), finding(), finding(id="other"), incidents=[["env_split"]]).right


def test_a_declared_consequence_is_no_mistake() -> None:
    lost = finding("acknowledged_but_lost")
    one = scenario(SPLIT, also=("acknowledged_but_lost",))
    result = judged(one, finding(), lost, incidents=[["env_split", "acknowledged_but_lost"]])
    assert result.right
    assert result.consequences == ("acknowledged_but_lost",)
    assert not judged(scenario(SPLIT), finding(), lost, incidents=[["env_split"]]).right


def test_experimental_rules_prove_nothing_on_scenarios_of_others() -> None:
    result = judged(
        scenario(SPLIT),
        finding(),
        finding("lost_update"),
        on_trial={"lost_update"},
        incidents=[["lost_update", "env_split"]],
    )
    assert result.right
    assert len(result.remarks) == 1
    assert not judged(scenario(), finding(), on_trial={"env_split"}).right, "but on their own twins they do"


@pytest.mark.parametrize(
    "incidents", [[], [["key_mismatch", "env_split"]], [["env_split"], ["acknowledged_but_lost"]]]
)
def test_there_is_one_incident_with_its_cause_first(incidents: list[list[str]]) -> None:
    assert not judged(scenario(SPLIT), finding(), incidents=incidents).right


def test_a_wrong_verdict_is_wrong() -> None:
    one = scenario(SPLIT, verdict="environment")
    assert judged(one, finding(), verdict="environment").right
    assert not judged(one, finding(), verdict="healthy").right
    assert not judged(one, finding()).right, "nobody was asked about"


def test_sums_count_findings_not_scenarios() -> None:
    right, wrong = judged(scenario(SPLIT), finding()), judged(scenario(SPLIT, SPLIT), finding())
    total = sums([right, wrong, judged(scenario())])
    assert (total["found"], total["expected_findings"], total["twins"]) == (2, 3, 1)
    assert not total["right"]


def test_the_catalogue_has_variants_and_twins_of_every_subject() -> None:
    ready, _ = available(all_scenarios())
    for about in {one.about for one in ready}:
        kinds = {one.kind for one in choose(ready, about=[about])}
        assert kinds == {"incident", "twin"}, about
    known = set(rules())
    assert {rule for one in ready for rule in one.also} <= known, "a rule in `also` that is not there"


def test_a_book_makes_one_scenario_for_each_database() -> None:
    book = Book("env_split", verdict="environment")

    @book.variant(on=("postgresql", "sqlite"), group={"table": "expenses"})
    def somewhere(stage: object) -> None:
        """It goes wrong."""

    assert [one.name for one in book.scenarios] == ["env_split/somewhere", "env_split/somewhere[sqlite]"]
    assert len({one.application for one in book.scenarios}) == 2
