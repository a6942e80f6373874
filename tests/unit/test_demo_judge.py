"""The demo's comparison: what it expects, what the monitor has, and the status that it ends with."""

from __future__ import annotations

from typing import Any

from trueline.monitor.demo.judge import Place, Verdict, judge
from trueline.monitor.demo.scenarios import INCIDENTS, TWINS, Incident, Twin
from trueline.monitor.demo.sites import DEPLOYMENTS

SPLIT = Place("env_split", "expenses-lisbon")
REPLICA = Place("env_split", "expenses-zurich", table="expenses")
OWN_TABLE = Place("env_split", "expenses-zurich", table="receipts")


def finding(
    finding_id: str, place: Place, *, table: str = "expenses", environment: str | None = None
) -> dict[str, Any]:
    return {
        "id": finding_id,
        "rule": place.rule,
        "application": place.application,
        "environment": environment or place.environment,
        "group": {"table": table},
    }


def verdict(*findings: dict[str, Any]) -> Verdict:
    return judge(
        [(SPLIT, "read from another database", 2.5 if findings else None)],
        [(REPLICA, "replica", "one database"), (OWN_TABLE, "own table", "its own")],
        findings,
    )


def test_right_if_exactly_the_incident_is_found() -> None:
    result = verdict(finding("f1", SPLIT))

    assert result.right
    assert result.as_dict()["incidents"][0]["found"]
    assert result.as_dict()["incidents"][0]["finding"] == "f1"
    assert result.as_dict()["incidents"][0]["seconds"] == 2.5


def test_wrong_if_an_incident_is_not_found() -> None:
    result = verdict()

    assert not result.right
    assert not result.as_dict()["ok"]


def test_wrong_if_another_rule_found_it() -> None:
    other = Place("key_mismatch", SPLIT.application)

    result = verdict(finding("f1", other))

    assert not result.right
    assert result.unexpected == ("f1",)


def test_wrong_if_a_twin_raises_a_finding_which_is_booked_on_that_twin() -> None:
    result = verdict(finding("f1", SPLIT), finding("f2", OWN_TABLE, table="receipts"))

    assert not result.right
    assert [twin.findings for twin in result.twins] == [(), ("f2",)]
    assert result.unexpected == ()


def test_wrong_if_something_else_is_found() -> None:
    result = verdict(finding("f1", SPLIT), finding("f2", SPLIT), finding("f3", SPLIT, environment="staging"))

    assert not result.right
    assert result.unexpected == ("f2", "f3")


def test_what_follows_from_an_incident_is_told_with_it() -> None:
    lost = Place("acknowledged_but_lost", SPLIT.application)
    findings = [finding("f1", SPLIT), finding("f2", lost)]

    result = judge([(SPLIT, "read from another database", 2.5)], [], findings, [["f1", "f2"]])

    assert result.right
    assert result.incidents[0].consequences == (("f2", "acknowledged_but_lost"),)
    assert result.as_dict()["incidents"][0]["consequences"] == [
        {"finding": "f2", "rule": "acknowledged_but_lost"}
    ]


def test_wrong_if_the_effect_is_told_as_the_cause_or_by_itself() -> None:
    lost = Place("acknowledged_but_lost", SPLIT.application)
    findings = [finding("f1", SPLIT), finding("f2", lost)]

    for together in ([["f2", "f1"]], [["f1"], ["f2"]]):
        result = judge([(SPLIT, "read from another database", 2.5)], [], findings, together)
        assert result.unexpected == ("f2",)


def test_a_twin_is_to_blame_even_if_its_finding_was_told_with_an_incident() -> None:
    findings = [finding("f1", SPLIT), finding("f2", OWN_TABLE, table="receipts")]

    result = judge([(SPLIT, "x", 2.5)], [(OWN_TABLE, "own table", "its own")], findings, [["f1", "f2"]])

    assert not result.right


def test_twins_on_one_place_share_the_blame() -> None:
    result = judge([], [(REPLICA, "one", "x"), (REPLICA, "another", "y")], [finding("f1", REPLICA)])

    assert [twin.right for twin in result.twins] == [False, False]


def test_what_is_played_is_deployed_and_watched_apart() -> None:
    scenarios: list[Incident | Twin] = [*INCIDENTS, *TWINS]
    for scenario in scenarios:
        for name in scenario.deployments:
            assert DEPLOYMENTS[name].application == scenario.place.application
    # A finding on an incident can never be taken for one on a twin, nor the other way round.
    for incident in INCIDENTS:
        for twin in TWINS:
            assert (incident.place.rule, incident.place.application, incident.place.environment) != (
                twin.place.rule,
                twin.place.application,
                twin.place.environment,
            )
    assert {twin.place.rule for twin in TWINS} == {incident.place.rule for incident in INCIDENTS}
