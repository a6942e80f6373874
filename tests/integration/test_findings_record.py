"""Findings on a real store: the limit of a rule, the deploy they began with, health that is proved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support.engine_bench import NOON, Bench, empty_tables, schema_store, write_rule

from trueline.monitor.engine.evaluate import evaluate
from trueline.monitor.engine.finding import Cause, State, acknowledge, prove_healthy, reopen
from trueline.monitor.engine.record import OVER_LIMIT, apply
from trueline.monitor.engine.windows import Window
from trueline.monitor.store.client import Store


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    with schema_store(store_folder, "test_record") as store:
        yield store


@pytest.fixture
def bench(shared_store: Store, tmp_path: Path) -> Bench:
    empty_tables(shared_store)
    return Bench(shared_store, write_rule(tmp_path))


def lose(bench: Bench, **times: int) -> None:
    for service, count in times.items():
        for _ in range(count):
            bench.lose(service=service)


def judge(bench: Bench, limit: int = 2) -> None:
    """Judge all that has arrived, with few places."""
    early, end = NOON - timedelta(hours=1), bench.clock.forward(seconds=1)
    window = Window(query_start=early, start=early, end=end, since=early, settled=end)
    seen = evaluate(bench.rule, window, bench.query).sightings
    apply(bench.rule, seen, window, bench.findings, bench.clock.now, limit)


def active(bench: Bench) -> dict[str, int]:
    return {one.service: one.count for one in bench.findings.active() if one.group != OVER_LIMIT}


def over(bench: Bench) -> list[tuple[int, str]]:
    return [(one.count, one.state.value) for one in bench.all() if one.group == OVER_LIMIT]


def test_the_worst_are_kept_and_one_finding_says_so(bench: Bench) -> None:
    lose(bench, a=1, b=3, c=2, d=1)
    judge(bench)
    assert active(bench) == {"b": 3, "c": 2}
    assert over(bench) == [(2, "open")]
    (said,) = [one for one in bench.all() if one.group == OVER_LIMIT]
    assert said.texts.summary == "lost_writes keeps its 2 worst findings; 2 more are not shown."
    judge(bench)
    assert (active(bench), over(bench)) == ({"b": 3, "c": 2}, [(2, "open")]), "the same again changes nothing"
    assert len(bench.findings.events(said.id)) == 1


def test_a_much_worse_one_takes_the_place_of_the_least_bad(bench: Bench) -> None:
    lose(bench, a=1, b=3)
    judge(bench)
    lose(bench, c=5)
    judge(bench)
    assert active(bench) == {"b": 3, "c": 5}
    (gone,) = [one for one in bench.all() if one.service == "a"]
    assert (gone.state, gone.resolved_by) == (State.RESOLVED, Cause.OVER_LIMIT)
    lose(bench, a=4)
    judge(bench)
    assert active(bench) == {"b": 3, "c": 5}, "not twice as bad as any: places do not go to and fro"
    assert over(bench) == [(1, "open")]


def test_what_somebody_works_on_keeps_its_place(bench: Bench) -> None:
    lose(bench, a=1, b=1)
    judge(bench)
    for finding in bench.all():
        taken, events = acknowledge(finding, "ann", "", NOON)
        bench.findings.save([taken], events)
    lose(bench, c=50)
    judge(bench)
    assert active(bench) == {"a": 1, "b": 1}
    assert over(bench) == [(1, "open")]


def test_a_group_that_was_left_out_comes_when_there_is_room(bench: Bench) -> None:
    lose(bench, a=2, b=3, c=1)
    judge(bench)
    judge(bench, limit=3)
    assert active(bench) == {"a": 2, "b": 3, "c": 1}


def test_a_finding_tells_the_deploy_that_it_began_with(bench: Bench) -> None:
    bench.tick()
    for minutes, version in ((-30, "1.0"), (-5, "1.1")):
        at = int((NOON + timedelta(minutes=minutes)).timestamp() * 1e9)
        row = {"service": "web", "application": "shop", "version": version, "started_at": at, "ended_at": at}
        bench.store.insert("statements", {name: [value] for name, value in row.items()})
    bench.lose(version="1.1")
    bench.clock.forward(minutes=5)
    bench.tick()
    since = bench.only().since
    assert since is not None
    assert (since.version, since.previous, since.likely) == ("1.1", "1.0", True)
    bench.lose(version="1.2")
    bench.clock.forward(minutes=5)
    bench.tick()
    assert (bench.only().count, bench.only().since) == (2, since), "later versions do not change it"


def test_proof_of_health_resolves_only_what_is_older(bench: Bench) -> None:
    bench.lose()
    bench.clock.forward(minutes=5)
    bench.tick()
    finding = bench.only()
    assert prove_healthy(finding, finding.last_seen, "reads meet writes", bench.clock.now) == (finding, [])
    well, (event,) = prove_healthy(
        finding, finding.last_seen + timedelta(seconds=1), "reads meet writes", bench.clock.now
    )
    bench.findings.save([well], [event])
    assert (bench.only().state, bench.only().resolved_by) == (State.RESOLVED, Cause.HEALTH)
    assert event.why == "reads meet writes"
    again, (event,) = reopen(bench.only(), "ann", "it is not", bench.clock.now)
    bench.findings.save([again], [event])
    assert bench.only() == replace(again, updated_at=bench.only().updated_at)
    assert bench.only().state is State.REOPENED
