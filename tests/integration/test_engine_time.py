"""The engine and time: clocks that jump or are wrong, spans that were lost, much to catch up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.engine_bench import NOON, Bench, empty_tables, schema_store, write_rule

from trueline.instrumentation import semconv
from trueline.monitor.engine.load import RuleFileError
from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.windows import MAX_WINDOWS
from trueline.monitor.store.client import Store


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    """One store with the schema for all tests of this file."""
    with schema_store(store_folder, "test_engine_time") as store:
        yield store


@pytest.fixture
def make_rule(tmp_path: Path) -> Callable[..., Rule]:
    return lambda *changes: write_rule(tmp_path, *changes)


@pytest.fixture
def bench(shared_store: Store, make_rule: Callable[..., Rule]) -> Bench:
    empty_tables(shared_store)
    return Bench(shared_store, make_rule())


def ledger(bench: Bench) -> list[dict[str, Any]]:
    return list(reversed(bench.ledger.last("lost_writes", 1000)))


def lose_and_tick(bench: Bench) -> None:
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()


@pytest.mark.parametrize("restarted", [False, True])
def test_a_clock_that_goes_back_leaves_nothing_unjudged(bench: Bench, restarted: bool) -> None:
    lose_and_tick(bench)
    bench.clock.jump(hours=-1)
    if restarted:
        bench.restart()
    lose_and_tick(bench)
    lose_and_tick(bench)
    assert bench.only().count == 3, "what arrives now was stamped with times that had been judged"
    (line,) = [line for line in ledger(bench) if line["result"] == "clock"]
    assert "the store's clock went back by" in line["note"]
    assert "are judged again" in line["note"]
    after = ledger(bench)[ledger(bench).index(line) + 1 :]
    assert after[0]["start"] == line["end"]
    bench.restart()
    assert bench.scheduler.states["lost_writes"].covered_until == bench.clock.now, (
        "not the hour that is to come"
    )


def test_buckets_are_judged_again_after_the_clock_went_back(
    bench: Bench, make_rule: Callable[..., Rule]
) -> None:
    bench.rule = make_rule(("type: event", "type: aggregate"))
    bench.restart()
    for _ in range(6):
        bench.lose()
        bench.clock.forward(minutes=1)
        bench.tick()
    assert bench.only().count == 5, "the sixth is in the next bucket"
    bench.clock.jump(minutes=-5)
    for _ in range(6):
        bench.lose()
        bench.clock.forward(minutes=1)
        bench.tick()
    assert bench.only().count == 9, "the five and the four that arrived in the same bucket after the jump"
    bench.clock.forward(minutes=4)
    bench.tick()
    assert bench.only().count == 12, "each once, whenever its bucket was judged"


def test_a_clock_that_jumps_forward_is_no_silence(bench: Bench) -> None:
    def hear() -> None:
        row = {"received_at": bench.clock.now, "application": "shop", "kind": "read", "outcome": "committed"}
        bench.store.insert("statements", {name: [value] for name, value in row.items()})

    lose_and_tick(bench)
    bench.clock.jump(hours=2)
    hear()
    bench.clock.forward(seconds=2)
    bench.tick()
    assert bench.only().is_active
    assert any("forward, or the process stood still" in line["note"] for line in ledger(bench))
    for _ in range(2):
        bench.clock.forward(minutes=16)
        hear()
        bench.clock.forward(seconds=2)
        bench.tick()
    assert not bench.only().is_active, "half an hour that did pass"


def test_more_windows_than_can_be_caught_up_are_given_up_and_said(
    bench: Bench, make_rule: Callable[..., Rule]
) -> None:
    bench.rule = make_rule(("type: event", "type: aggregate"), ("window: 5m", "window: 2s"))
    bench.restart()
    bench.tick()
    begun = bench.clock.now
    bench.clock.forward(hours=1)
    bench.tick()
    (skipped,) = [line for line in ledger(bench) if line["result"] == "skipped"]
    reach = timedelta(seconds=2) * MAX_WINDOWS
    assert (skipped["start"], skipped["end"]) == (
        begun - timedelta(seconds=2),
        bench.clock.now - timedelta(seconds=2) - reach,
    )
    assert skipped["error"] == "too old or too many to be caught up"


def test_clients_whose_clocks_are_wrong_are_named(bench: Bench) -> None:
    def say(service: str, **off: float) -> None:
        at = int((bench.clock.now + timedelta(**off)).timestamp() * 1e9)
        row = {"received_at": bench.clock.now, "service": service, "environment": "prod"}
        bench.store.insert(
            "statements",
            {name: [value] for name, value in (row | {"started_at": at, "ended_at": at}).items()},
        )

    say("fast", minutes=10)
    say("fine", seconds=-3)
    say("slow", hours=-2)
    lose_and_tick(bench)
    lose_and_tick(bench)
    note = bench.scheduler.states["lost_writes"].note
    assert "clocks ahead, read as the time of arrival: fast in prod by 600 s (1 spans)" in note
    assert "not judged: older on arrival than the lookback of 1 hour: 1 spans of slow in prod" in note
    assert "fine" not in note
    assert ledger(bench)[-1]["note"] == note


def tell_loss(
    bench: Bench, at: datetime, seconds: float = 10, count: int = 40, service: str = "worker"
) -> None:
    """The log event of a service that lost spans, as it arrives."""
    row = {
        "Timestamp": int(at.timestamp() * 1e9),
        "received_at": bench.clock.now,
        "EventName": semconv.EVENT_EXPORT_LOSS,
        "ScopeName": semconv.SCOPE_NAME,
        "ServiceName": service,
        "ResourceAttributes": {"service.namespace": "shop"},
        "LogAttributes": {
            semconv.LOSS_REASON: "queue_full",
            semconv.LOSS_COUNT: str(count),
            semconv.LOSS_SECONDS: str(seconds),
        },
    }
    bench.store.insert("otel_logs", {name: [value] for name, value in row.items()})


ABSENCE = ("group_by:", "absence: identities\ngroup_by:")


def test_what_may_only_have_been_lost_is_not_judged_and_the_ledger_says_so(
    bench: Bench, make_rule: Callable[..., Rule]
) -> None:
    bench.rule = make_rule(ABSENCE)
    bench.restart()
    bench.clock.forward(seconds=10)
    tell_loss(bench, NOON + timedelta(seconds=10))
    bench.lose(environment="unset")
    bench.lose(environment="staging")
    bench.clock.forward(seconds=2)
    bench.tick()
    assert [finding.environment for finding in bench.all()] == ["staging"], "nothing was lost there"
    line = ledger(bench)[-1]
    assert (line["result"], line["rows"], line["withheld"]) == ("ok", 2, 1)
    assert "not judged: 1 of 2 groups, since worker in unset lost 40 spans (queue_full)" in line["note"]
    bench.clock.forward(seconds=30)
    bench.tick()
    lose_and_tick(bench)
    assert len(bench.all()) == 2, "what happens after the loss is judged"


def test_a_rule_that_does_not_conclude_from_absence_does_not_care(bench: Bench) -> None:
    tell_loss(bench, NOON + timedelta(seconds=1))
    lose_and_tick(bench)
    assert bench.only().count == 1


def test_a_loss_that_is_told_later_is_remarked(bench: Bench, make_rule: Callable[..., Rule]) -> None:
    bench.rule = make_rule(ABSENCE)
    bench.restart()
    lose_and_tick(bench)
    bench.clock.forward(seconds=5)
    tell_loss(bench, bench.clock.now)
    bench.lose(service="other", application="quiet")
    for _ in range(3):
        bench.clock.forward(seconds=2)
        bench.tick()
    (finding,) = [one for one in bench.all() if one.application == "shop"]
    remarks = [event["why"] for event in bench.findings.events(finding.id) if event["action"] == "commented"]
    assert len(remarks) == 1
    assert "worker in unset lost 40 spans (queue_full)" in remarks[0]


def test_what_is_sampled_is_judged_by_identity_only(bench: Bench, make_rule: Callable[..., Rule]) -> None:
    def sample() -> None:
        row = {"received_at": bench.clock.now, "application": "shop", "service": "web", "sample_ratio": 0.01}
        bench.store.insert("statements", {name: [value] for name, value in row.items()})

    bench.rule = make_rule(("group_by:", "absence: anything\ngroup_by:"))
    bench.restart()
    sample()
    lose_and_tick(bench)
    assert bench.all() == []
    assert "web in unset sends 0.01 of its identities" in ledger(bench)[-1]["note"]
    bench.rule = make_rule(ABSENCE)
    bench.restart()
    sample()
    lose_and_tick(bench)
    assert len(bench.all()) == 1


def test_rules_are_replaced_while_they_run(bench: Bench, make_rule: Callable[..., Rule]) -> None:
    lose_and_tick(bench)
    state = bench.scheduler.states["lost_writes"]
    bench.scheduler.replace([make_rule(("stop it", "stop it at once"))])
    assert bench.scheduler.states["lost_writes"] is state, "only its words changed"
    assert state.rule.definition.remediation.now == "stop it at once"
    bench.scheduler.replace([make_rule(("version: 1", "version: 2"))])
    assert not bench.only().is_active
    lose_and_tick(bench)
    assert bench.only().rule_version == 2
    bench.scheduler.replace([], complete=False)
    assert bench.only().is_active, "its file may only be broken"
    bench.scheduler.replace([])
    assert not bench.only().is_active


REVISITED = (
    ("interval: 2s", "interval: 2s\nrevisit: [10m]"),
    (
        "WHERE received_at >= {start:DateTime64(3)} AND received_at < {end:DateTime64(3)}",
        "WHERE received_at >= {start:DateTime64(3)} - INTERVAL 10 MINUTE"
        " AND received_at < {end:DateTime64(3)} - INTERVAL 10 MINUTE",
    ),
)


@pytest.mark.parametrize("restarted", [False, True])
def test_arrivals_are_looked_at_again_although_nothing_else_arrives(
    bench: Bench, make_rule: Callable[..., Rule], restarted: bool
) -> None:
    bench.rule = make_rule(*REVISITED)
    bench.restart()
    bench.lose()
    for _ in range(9):
        bench.clock.forward(minutes=1)
        bench.tick()
    assert bench.findings.active("lost_writes") == [], "it is not due for another look yet"
    if restarted:
        bench.restart()
    asked = len(bench.seen)
    bench.clock.forward(minutes=2)
    bench.tick()
    assert bench.only().count == 1
    for _ in range(5):
        bench.clock.forward(minutes=1)
        bench.tick()
    assert bench.only().count == 1
    assert len(bench.seen) <= asked + 2, "time in which nothing is due is covered without a query"


def test_without_another_look_the_same_is_never_found(bench: Bench, make_rule: Callable[..., Rule]) -> None:
    bench.rule = make_rule(REVISITED[1])
    bench.restart()
    bench.lose()
    for _ in range(20):
        bench.clock.forward(minutes=1)
        bench.tick()
    assert bench.findings.active("lost_writes") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("interval: 2s", "interval: 2s\nrevisit: [2h]"), "revisit: each must be longer than 0s and shorter"),
        (("type: event", "type: aggregate\nrevisit: [10m]"), "revisit: buckets are judged once"),
    ],
)
def test_another_look_that_makes_no_sense_is_refused(
    make_rule: Callable[..., Rule], change: tuple[str, str], said: str
) -> None:
    with pytest.raises(RuleFileError, match=said):
        make_rule(change)
