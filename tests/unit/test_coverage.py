"""Which rules are blind for a service and why: each fact gives its sentence, for the rules that ship."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from trueline.instrumentation.inventory_report import Sources
from trueline.monitor.engine.coverage import RuleNeeds, Sends, ServiceFacts, judge, needs_of
from trueline.monitor.engine.coverage_reasons import _TEXTS, Cause, Status
from trueline.monitor.engine.coverage_text import sentence_of
from trueline.monitor.engine.load import load_rule

RULES = Path(__file__).parents[2] / "rules"
NEEDS = {path.stem: needs_of(load_rule(path)) for path in sorted(RULES.glob("*.yaml"))}

WELL = ServiceFacts(
    environment="production",
    application="shop",
    service="web",
    process_kinds=frozenset({"web"}),
    reads=Sources(90, 5, 5),
    writes=Sources(90, 5, 5),
    statements=200,
    with_entry=200,
    ai_calls=3,
    key_ids=("aaaa0000",),
    keys_of_others={"aaaa0000": ("worker",)},
    rungs={"f1": "system_identifier"},
)
ALL = {"constraint_violation_burst", "env_split", "key_mismatch", "rollback_after_ai_error"}
IDENTITIES = {"env_split", "key_mismatch"}
NOTHING = {"statements": 0, "reads": Sources(), "writes": Sources(), "rungs": {}}
#: What is changed, and which rules then say what, how bad.
CASES: dict[str, tuple[dict[str, Any], set[str], Cause, str]] = {
    "only logs": ({"sends": Sends.LOGS}, ALL, Cause.ONLY_LOGS, "logs only"),
    "no database spans": ({"sends": Sends.SPANS}, ALL, Cause.NO_DATABASE_SPANS, "none of a database"),
    "plain contrib": ({"sends": Sends.FOREIGN}, ALL, Cause.FOREIGN_SPANS, "another instrumentation's alone"),
    "no entry spans": ({"with_entry": 0}, ALL, Cause.NO_ENTRY_NAMES, "told apart"),
    "few entry spans": (
        {"with_entry": 40},
        ALL,
        Cause.FEW_ENTRIES,
        "80 % of statements ran outside",
    ),
    "no fingerprint": ({"rungs": {}}, {"env_split"}, Cause.NO_FINGERPRINT, "could not be asked"),
    "in memory": (
        {"rungs": {"a": "memory"}},
        {"env_split"},
        Cause.MEMORY_FINGERPRINT,
        "memory of one process",
    ),
    "weak fingerprint": (
        {"rungs": {"a": "endpoint", "b": "system_identifier"}},
        {"env_split"},
        Cause.WEAK_FINGERPRINT,
        "1 of 2 databases can be told by address",
    ),
    "no secret": ({"hashes_left_out": True}, IDENTITIES, Cause.HASHES_LEFT_OUT, "no secret to hash"),
    "no identity": (
        {"reads": Sources(0, 0, 9), "writes": Sources(0, 0, 9)},
        IDENTITIES,
        Cause.NO_IDENTITY,
        "No statement carries an identity",
    ),
    "no column": (
        {"reads": Sources(0, 9, 0), "writes": Sources(0, 9, 0)},
        {"key_mismatch"},
        Cause.NO_IDENTITY_COLUMN,
        "no column names one",
    ),
    "few identities": (
        {"writes": Sources(80, 5, 15), "nameless_tables": ("audit", "jobs")},
        IDENTITIES,
        Cause.FEW_IDENTITIES,
        "Only 85 % of writes carry an identity; none of those to audit, jobs does",
    ),
    "another key": (
        {"key_ids": ("bbbb0000",)},
        IDENTITIES,
        Cause.OTHER_KEY,
        "hashed under key id bbbb0000, unlike those of worker (under key id aaaa0000)",
    ),
    "no secret beside one": (
        {"key_ids": ("unkeyed",)},
        IDENTITIES,
        Cause.OTHER_KEY,
        "hashed without a secret",
    ),
    "one of three has another key": (
        {"keys_of_others": {"aaaa0000": ("worker",), "bbbb0000": ("cron",)}},
        IDENTITIES,
        Cause.OTHERS_HAVE_ANOTHER_KEY,
        "cannot be compared with those of cron (under key id bbbb0000)",
    ),
    "two keys": (
        {"key_ids": ("aaaa0000", "bbbb0000")},
        IDENTITIES,
        Cause.TWO_KEYS,
        "(under key id aaaa0000 and under key id bbbb0000)",
    ),
    "unparsed": ({"parsed_by_keywords": 0.2}, IDENTITIES, Cause.UNPARSED, "20 % of statements"),
    "sampled": ({"sample": 0.01}, IDENTITIES, Cause.SAMPLED, "1 % of identities are kept"),
    "follows the trace sampler": (
        {"follows_trace_sampler": True},
        ALL,
        Cause.FOLLOWS_TRACE_SAMPLER,
        "trace sampler dropped",
    ),
    "raw connections": (
        {"unseen_transactions": 2},
        ALL,
        Cause.RAW_CONNECTIONS,
        "2 transactions ran on connections",
    ),
    "losses": (
        {"lost": {"queue_full": 7}},
        ALL,
        Cause.LOSSES,
        "7 spans got lost on the way here (7 queue full)",
    ),
    "internal errors": ({"internal_errors": 1}, ALL, Cause.INTERNAL_ERRORS, "failed 1 time inside"),
    "perhaps raw connections": (
        {"unseen_checkouts": 3},
        ALL,
        Cause.IDLE_CHECKOUTS,
        "3 times a connection was taken and no statement",
    ),
    "nothing arrived": (
        {**NOTHING, "ran": 12},
        ALL,
        Cause.NOTHING_ARRIVED,
        "It counted 12 statements, and none of them",
    ),
    "no statement for once": (
        {**NOTHING, "ran": 12, "ever_arrived": True},
        ALL,
        Cause.NO_STATEMENT,
        "ran no statement",
    ),
    "no statement": (
        NOTHING,
        ALL,
        Cause.NO_STATEMENT,
        "ran no statement",
    ),
    "no AI call": ({"ai_calls": 0}, {"rollback_after_ai_error"}, Cause.NO_AI_CALL, "No call of a model"),
    "tests": ({"process_kinds": frozenset({"test"})}, ALL, Cause.TESTS_IGNORED, "test runs"),
    "ignored": (
        {"environment": "ci"},
        {"constraint_violation_burst", "env_split"},
        Cause.ENVIRONMENT_IGNORED,
        "leaves the environment ci alone",
    ),
}


def reasons(facts: ServiceFacts) -> dict[str, dict[Cause, str]]:
    """Sentences by rule and cause."""
    return {
        one.rule: {why.cause: why.sentence for why in one.reasons}
        for one in judge(facts, list(NEEDS.values()))
    }


def test_the_shipped_rules_need_what_they_compare() -> None:
    assert set(NEEDS) >= ALL
    assert NEEDS["env_split"].compares_databases
    assert not NEEDS["key_mismatch"].compares_databases
    assert NEEDS["key_mismatch"].compares_columns
    assert NEEDS["rollback_after_ai_error"].needs_ai
    assert NEEDS["env_split"].ignored_environments == ("test", "testing", "ci")


def test_where_all_is_well_nothing_is_said() -> None:
    running = {rule: needs for rule, needs in NEEDS.items() if needs.on}
    judged = judge(WELL, list(running.values()))
    expected = dict.fromkeys(running, (Status.OK, ()))
    assert {one.rule: (one.status, one.reasons) for one in judged} == expected
    told = f"95 % of 100 writes carry an identity. {len(running)} rules see it well."
    assert sentence_of(WELL, judged) == told


def test_an_experimental_rule_is_said_to_be_off() -> None:
    off = [needs for needs in NEEDS.values() if not needs.on]
    assert off
    assert {reason.cause for one in judge(WELL, off) for reason in one.reasons} == {Cause.RULE_IS_OFF}


@pytest.mark.parametrize("case", CASES)
def test_each_cause_gives_its_sentence(case: str) -> None:
    changes, rules, cause, said = CASES[case]
    found = reasons(dataclasses.replace(WELL, **changes))
    assert {rule for rule in ALL if cause in found[rule]} == rules
    for rule in rules:
        assert said in found[rule][cause]
        assert list(found[rule]) == [cause], "one thing is wrong, so one thing is said"


def test_every_cause_has_a_sentence_and_a_way_out() -> None:
    assert set(_TEXTS) == set(Cause)
    for status, sentence, way_out in _TEXTS.values():
        assert status is not Status.OK
        assert sentence[0].isupper() or sentence[0] == "{"
        assert sentence.rstrip("}")[-1] in ".r"
        assert way_out.endswith(".")


def test_a_rule_that_reads_entries_is_blind_without_them() -> None:
    rule = dataclasses.replace(NEEDS["env_split"], needs_entries=True)
    (judged,) = judge(dataclasses.replace(WELL, with_entry=0), [rule])
    assert (judged.status, judged.reasons[0].cause) == (Status.BLIND, Cause.NO_ENTRY)


def test_a_rule_that_fails_is_blind_and_an_experimental_one_is_idle() -> None:
    rule = NEEDS["env_split"]
    (failing,) = judge(WELL, [dataclasses.replace(rule, error="no such column")])
    assert (failing.status, failing.reasons[0].sentence) == (
        Status.BLIND, "The rule itself fails just now: no such column",
    )  # fmt: skip
    (off,) = judge(WELL, [dataclasses.replace(rule, on=False, error="x")])
    assert (off.status, off.reasons[0].cause) == (Status.IDLE, Cause.RULE_IS_OFF)


def test_the_worst_reason_comes_first_and_decides() -> None:
    facts = dataclasses.replace(WELL, sample=0.5, lost={"queue_full": 1}, hashes_left_out=True)
    judged = {one.rule: one for one in judge(facts, [NEEDS[rule] for rule in sorted(ALL)])}
    assert judged["env_split"].status is Status.BLIND
    assert [one.cause for one in judged["env_split"].reasons] == [Cause.HASHES_LEFT_OUT, Cause.LOSSES]
    assert judged["constraint_violation_burst"].status is Status.DEGRADED
    assert sentence_of(facts, list(judged.values())) == (
        "95 % of 100 writes carry an identity. Blind: env_split, key_mismatch. "
        "Degraded: constraint_violation_burst, rollback_after_ai_error."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sends": Sends.LOGS}, "It sends logs only."),
        ({"sends": Sends.SPANS}, "It sends spans, but none of a database."),
        ({"sends": Sends.FOREIGN}, "Its database spans are another instrumentation's alone."),
        ({"statements": 0}, "It ran no statement."),
        ({"writes": Sources()}, "It wrote nothing; 95 % of 100 reads carry an identity."),
        ({"writes": Sources(1999, 0, 1)}, "over 99 % of 2000 writes carry an identity."),
    ],
)
def test_a_service_in_a_few_words(changes: dict[str, Any], said: str) -> None:
    assert sentence_of(dataclasses.replace(WELL, **changes), ()) == said


def test_needs_of_a_rule_without_any_are_none() -> None:
    bare = load_rule(Path(__file__).parents[1] / "data" / "rules" / "good" / "minimal.yaml")
    needs = needs_of(bare)
    assert isinstance(needs, RuleNeeds)
    assert not (needs.compares_identities or needs.compares_databases or needs.needs_ai)
