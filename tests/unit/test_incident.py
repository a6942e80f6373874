"""Which findings are one incident, what its cause is, and that neither depends on the order of anything."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.findings import NOON, make_finding

from trueline.monitor.engine.finding import Finding, Since, State
from trueline.monitor.engine.incident import CAUSES, Incident, group, survivor

HOUR = timedelta(hours=1)
DEPLOY = Since("web", "2.0", NOON, "1.9", healthy=True, likely=True)


def find(rule: str, number: int = 0, **fields: Any) -> Finding:
    return make_finding(rule, group={"n": number, **fields.pop("group", {})}, **fields)


def members(incidents: list[Incident]) -> list[set[str]]:
    return sorted(({one.rule for one in incident.findings} for incident in incidents), key=sorted)


def test_what_shares_nothing_stays_apart() -> None:
    found = group([find("env_split"), find("key_mismatch")], {})
    assert members(found) == [{"env_split"}, {"key_mismatch"}]


def test_a_shared_trace_makes_one_incident_with_the_cause_first() -> None:
    lost = find("acknowledged_but_lost", trace_ids=("t1", "t2"), first_seen=NOON - 5 * HOUR)
    rolled = find("rollback_after_ai_error", trace_ids=("t2", "t3"))
    (incident,) = group([lost, rolled], {})
    assert [one.rule for one in incident.findings] == ["rollback_after_ai_error", "acknowledged_but_lost"]
    assert incident.links == ("they share traces",)
    assert incident.because == (
        "Writes are rolled back. It comes first of all here: a model's error rolled back what had been "
        "written. The other finding most likely follows from it."
    )


def test_the_same_trace_in_another_environment_is_another_one() -> None:
    one = find("env_split", trace_ids=("t1",))
    other = find("key_mismatch", trace_ids=("t1",), environment="staging")
    assert len(group([one, other], {})) == 2


def test_one_database_counts_only_for_what_began_together() -> None:
    database = {"database": "f1"}
    first = find("key_mismatch", facts=database)
    second = find("stale_summary", facts=database, first_seen=NOON + HOUR)
    third = find("lost_update", facts=database, first_seen=NOON + 3 * HOUR)
    foreign = find("dual_writer", facts=database, application="other")
    found = group([first, second, third, foreign], {})
    assert members(found) == [{"dual_writer"}, {"key_mismatch", "stale_summary"}, {"lost_update"}]


def test_one_deploy_is_named() -> None:
    found = group(
        [
            find("key_mismatch", since=DEPLOY),
            find("constraint_violation_burst", since=DEPLOY),
        ],
        {},
    )
    (incident,) = found
    assert incident.links == ("they began with web 2.0",)
    assert incident.deploy == DEPLOY
    assert incident.because.endswith(
        "Since version 2.0 of web: 1.9 before it was healthy, so that deploy is the likely cause."
    )


def test_services_of_one_name_in_two_applications_are_two() -> None:
    found = group([find("key_mismatch", since=DEPLOY), find("env_split", application="b", since=DEPLOY)], {})
    assert members(found) == [{"env_split"}, {"key_mismatch"}]


def test_one_fault_in_several_places_is_said_so() -> None:
    (incident,) = group([find("env_split", number, trace_ids=("t",)) for number in range(3)], {})
    assert incident.because == "Writes are rolled back. The same is found in 3 places: look at each."


def test_the_ranking_of_causes() -> None:
    rules = list(CAUSES)
    wanted = [
        "env_split",
        "schema_mismatch_errors",
        "key_mismatch",
        "rollback_after_ai_error",
        "uncommitted_write",
        "constraint_violation_burst",
        "acknowledged_but_lost",
        "expected_write_missing",
        "log_claims_write",
        "read_before_commit",
        "stale_summary",
    ]
    assert [rule for rule in rules if rule in wanted] == wanted
    unknown = find("my_own_rule", trace_ids=("t",), severity="critical")
    known = find("stale_summary", trace_ids=("t",), severity="info")
    (incident,) = group([unknown, known], {})
    assert incident.cause == known
    assert incident.severity == "critical", "how bad it is does not depend on what caused it"


def test_an_incident_keeps_its_id_while_findings_join() -> None:
    first = find("stale_summary", trace_ids=("t1",))
    (alone,) = group([first], {})
    earlier = find("env_split", trace_ids=("t1",), opened_at=NOON - HOUR, first_seen=NOON - HOUR)
    (joined,) = group([earlier, first], {first.id: alone.id})
    assert joined.id == alone.id
    assert joined.cause.rule == "env_split"


def test_a_finding_stays_where_it_is_when_nothing_links_it_any_more() -> None:
    one, two = find("env_split"), find("key_mismatch")
    (incident,) = group([one, two], {one.id: "i1", two.id: "i1"})
    assert (incident.id, len(incident.findings)) == ("i1", 2)


def test_two_incidents_that_are_one_become_the_older() -> None:
    old = find("stale_summary", trace_ids=("t1",), opened_at=NOON - HOUR)
    young = find("env_split", trace_ids=("t2",))
    bridge = find("key_mismatch", trace_ids=("t1", "t2"), opened_at=NOON + HOUR)
    (incident,) = group([young, bridge, old], {old.id: "old", young.id: "young"})
    assert (incident.id, incident.merged) == ("old", ("young",))
    (again,) = group([young, old], {old.id: "old", young.id: "young"}, {"young": "old"})
    assert (again.id, again.merged) == ("old", ("young",))
    assert survivor("young", {"young": "old", "old": "oldest"}) == "oldest"
    assert survivor("a", {"a": "b", "b": "a"}) in ("a", "b"), "it ends even where the log makes a circle"


def test_the_state_is_that_of_what_is_left() -> None:
    def state(*states: State) -> State:
        findings = [find("env_split", n, trace_ids=("t",), state=one) for n, one in enumerate(states)]
        return group(findings, {})[0].state

    assert state(State.OPEN, State.RESOLVED) is State.OPEN
    assert state(State.ACKNOWLEDGED, State.RESOLVED) is State.ACKNOWLEDGED
    assert state(State.ACKNOWLEDGED, State.REOPENED) is State.REOPENED
    assert state(State.RESOLVED, State.RESOLVED) is State.RESOLVED


RULES = st.sampled_from([*list(CAUSES)[:6], "my_own_rule"])


@st.composite
def some_findings(draw: st.DrawFn) -> list[Finding]:
    made = {}
    for number in range(draw(st.integers(0, 12))):
        minutes = draw(st.integers(0, 400))
        finding = find(
            draw(RULES),
            number,
            environment=draw(st.sampled_from(["production", "staging"])),
            trace_ids=tuple(draw(st.lists(st.sampled_from("abcdefgh"), max_size=2, unique=True))),
            facts={"database": draw(st.sampled_from(["", "f1", "f2"]))},
            first_seen=NOON + timedelta(minutes=minutes),
            opened_at=NOON + timedelta(minutes=draw(st.integers(0, 400))),
            since=draw(st.sampled_from([None, None, DEPLOY])),
        )
        made[finding.id] = finding
    return list(made.values())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some_findings(), st.randoms(use_true_random=False))
def test_the_order_of_findings_makes_no_difference(findings: list[Finding], chance: random.Random) -> None:
    shuffled = list(findings)
    chance.shuffle(shuffled)
    assert group(shuffled, {}) == group(findings, {})


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some_findings())
def test_every_finding_is_in_one_incident_and_grouping_again_changes_nothing(findings: list[Finding]) -> None:
    incidents = group(findings, {})
    known = {one.id: incident.id for incident in incidents for one in incident.findings}
    assert sorted(known) == sorted(one.id for one in findings)
    assert sum(len(incident.findings) for incident in incidents) == len(findings)
    assert [(one.id, one.findings) for one in group(findings, known)] == [
        (one.id, one.findings) for one in incidents
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(some_findings(), st.randoms(use_true_random=False))
def test_findings_that_come_one_by_one_end_in_the_same_incidents(
    findings: list[Finding], chance: random.Random
) -> None:
    """Members are the same in whatever order they come; ids are those of the first that were there."""
    shuffled = list(findings)
    chance.shuffle(shuffled)
    known: dict[str, str] = {}
    gone: dict[str, str] = {}
    ids: set[str] = set()
    for number in range(1, len(shuffled) + 1):
        incidents = group(shuffled[:number], known, gone)
        for incident in incidents:
            gone.update(dict.fromkeys(incident.merged, incident.id))
            known.update({one.id: incident.id for one in incident.findings})
        now = {incident.id for incident in incidents}
        assert {survivor(one, gone) for one in ids} <= now, "no id is ever lost"
        ids |= now
    together = {frozenset(one.id for one in incident.findings) for incident in group(findings, {})}
    assert together == {frozenset(one.id for one in i.findings) for i in group(shuffled, known, gone)}


def test_what_is_replaced_is_still_equal() -> None:
    finding = find("env_split")
    assert group([finding], {}) == group([replace(finding)], {})
