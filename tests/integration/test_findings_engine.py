"""The engine against a real store: windows by the ledger, findings that count each occurrence once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.engine_bench import NOON, Bench, empty_tables, schema_store, write_rule

from trueline.monitor.engine.evaluate import apply, evaluate
from trueline.monitor.engine.finding import Cause, State, acknowledge, resolve
from trueline.monitor.engine.rule import Rule
from trueline.monitor.engine.schedule import Scheduler
from trueline.monitor.engine.windows import Window
from trueline.monitor.errors import QueryError
from trueline.monitor.store.client import Store
from trueline.monitor.store.findings import StoredFindings
from trueline.monitor.store.ledger import StoredArrivals


@pytest.fixture(scope="module")
def shared_store(store_folder: Path) -> Iterator[Store]:
    """One store with the schema for all tests of this file."""
    with schema_store(store_folder, "test_engine") as store:
        yield store


@pytest.fixture
def make_rule(tmp_path: Path) -> Callable[..., Rule]:
    return lambda *changes: write_rule(tmp_path, *changes)


@pytest.fixture
def bench(shared_store: Store, make_rule: Callable[..., Rule]) -> Bench:
    empty_tables(shared_store)
    return Bench(shared_store, make_rule())


def actions(bench: Bench) -> list[str]:
    return [event["action"] for event in bench.findings.events(bench.only().id)]


def test_a_finding_opens_with_its_texts_and_one_event(bench: Bench) -> None:
    bench.lose()
    bench.clock.forward(seconds=1)
    bench.tick()
    finding = bench.only()
    assert (finding.state, finding.count, finding.service) == (State.OPEN, 1, "web")
    assert finding.texts.summary == "web lost 1 write since 2026-11-20 11:59:59 UTC"
    assert finding.texts.explanation == "1 of 1.0"
    assert finding.group == {"environment": "unset", "application": "shop", "service": "web"}
    assert actions(bench) == ["opened"]


def test_an_occurrence_seen_by_overlapping_windows_counts_once(bench: Bench) -> None:
    bench.lose()
    for _ in range(3):
        bench.clock.forward(seconds=2)
        bench.tick()
    starts = [parameters["start"] for parameters in bench.seen[-2:]]
    assert starts == ["2026-11-20 11:59:52.000", "2026-11-20 11:59:54.000"], "the windows did overlap"
    assert bench.only().count == 1
    bench.lose(version="1.1")
    bench.clock.forward(seconds=2)
    bench.tick()
    finding = bench.only()
    assert (finding.count, finding.versions) == (2, ("1.0", "1.1"))
    assert actions(bench) == ["opened", "new_version"]


@pytest.mark.parametrize("broken", ["save", "copy_evidence", "add_occurrences"])
def test_a_crash_half_way_is_made_good_and_counts_nothing_twice(
    bench: Bench, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    bench.lose()

    def crash(*_: object) -> None:
        raise QueryError("the process was killed here")

    bench.clock.forward(seconds=2)
    with monkeypatch.context() as patch:
        patch.setattr(bench.findings, broken, crash)
        bench.tick()
    bench.restart()
    bench.clock.forward(seconds=2)
    bench.tick()
    finding = bench.only()
    assert finding.count == 2
    assert bench.findings.occurrence_counts([finding.id]) == {finding.id: 2}
    assert actions(bench) == ["opened"]


def covered(bench: Bench) -> list[tuple[datetime, datetime]]:
    return sorted((start, end) for start, end, result in bench.runs() if result == "ok")


def test_a_restart_judges_no_window_twice_and_misses_none(bench: Bench) -> None:
    for _ in range(4):
        bench.lose()
        bench.clock.forward(seconds=2)
        bench.tick()
    bench.lose()
    bench.restart()
    bench.clock.forward(seconds=7)
    bench.tick()
    windows = covered(bench)
    assert windows[0][0] == NOON + timedelta(seconds=2) - timedelta(hours=1), "it begins with its lookback"
    assert windows[-1][1] == bench.clock.now
    assert all(before[1] == after[0] for before, after in pairwise(windows))
    assert bench.only().count == 5


def test_missed_windows_are_caught_up_oldest_first_in_bounded_steps(bench: Bench) -> None:
    bench.tick()
    begun = len(bench.runs())
    for _ in range(9):
        bench.lose()
        bench.clock.forward(minutes=2)
    bench.tick()
    caught_up = covered(bench)[begun:]
    assert [end - start for start, end in caught_up] == [timedelta(minutes=m) for m in (5, 5, 5, 3)]
    assert [parameters["end"][11:16] for parameters in bench.seen] == ["12:05", "12:10", "12:15", "12:18"]
    assert bench.only().count == 9


def test_time_in_which_nothing_arrived_is_covered_without_a_query(bench: Bench) -> None:
    for _ in range(4):
        bench.tick()
        bench.clock.forward(seconds=10)
    assert (bench.seen, len(covered(bench))) == ([], 1), "and is not written down each time"
    bench.clock.forward(minutes=40)
    bench.lose()
    bench.clock.forward(minutes=3)
    bench.tick()
    assert [parameters["start"][11:] for parameters in bench.seen] == ["12:40:40.000"]
    windows = covered(bench)
    assert all(before[1] == after[0] for before, after in pairwise(windows))
    assert windows[-1][1] == bench.clock.now
    assert bench.only().count == 1


def test_what_is_too_old_to_be_caught_up_is_given_up_and_said(bench: Bench) -> None:
    bench.tick()
    bench.clock.forward(hours=30)
    bench.tick()
    skipped = [(start, end) for start, end, result in bench.runs() if result == "skipped"]
    assert skipped == [(NOON, NOON + timedelta(hours=6))]
    assert covered(bench)[-1] == (NOON + timedelta(hours=6), bench.clock.now)


def test_an_error_leaves_the_window_open_and_is_no_silence(bench: Bench) -> None:
    bench.tick()
    bench.lose()
    bench.fail = True
    for _ in range(3):
        bench.clock.forward(seconds=400)
        bench.tick()
    state = bench.scheduler.states["lost_writes"]
    assert (state.error, state.failures) == ("out of memory", 3)
    assert not bench.all()
    errors = [(start, end) for start, end, result in bench.runs() if result == "error"]
    assert {start for start, _ in errors} == {NOON}
    lengths = [end - start for start, end in errors]
    assert lengths == [timedelta(seconds=seconds) for seconds in (300, 150, 75)], "ever smaller parts"
    bench.fail = False
    bench.clock.forward(seconds=100)
    bench.tick()
    assert (state.error, state.failures, bench.only().count) == ("", 0, 1)
    assert covered(bench)[-1][1] == bench.clock.now


def hear(bench: Bench) -> None:
    """A healthy statement of the same application arrives."""
    row = {"received_at": bench.clock.now, "application": "shop", "kind": "read", "outcome": "committed"}
    bench.store.insert("statements", {name: [value] for name, value in row.items()})


def test_silence_resolves_and_says_so(bench: Bench) -> None:
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    for _ in range(2):
        bench.clock.forward(minutes=16)
        hear(bench)
        bench.clock.forward(seconds=2)
        bench.tick()
    finding = bench.only()
    assert (finding.state, finding.resolved_by) == (State.RESOLVED, Cause.SILENCE)
    (why,) = [event["why"] for event in bench.findings.events(finding.id) if event["action"] == "resolved"]
    assert why == "no new occurrence for 30 minutes, while telemetry kept arriving"


def test_no_telemetry_is_no_health(bench: Bench) -> None:
    bench.lose()
    hear(bench)
    bench.clock.forward(seconds=2)
    bench.tick()
    bench.clock.forward(minutes=90)
    bench.tick()
    assert bench.only().state is State.OPEN


def test_a_rule_that_cannot_run_resolves_nothing(bench: Bench) -> None:
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    bench.fail = True
    for _ in range(3):
        bench.clock.forward(minutes=16)
        hear(bench)
        bench.tick()
    assert bench.only().state is State.OPEN


def change(bench: Bench, how: Callable[..., Any], **more: Any) -> None:
    changed, events = how(bench.only(), "ann", "because", bench.clock.now, **more)
    bench.findings.save([changed], events)


def test_an_acknowledged_finding_stays_so_while_it_goes_on(bench: Bench) -> None:
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    change(bench, acknowledge)
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    assert (bench.only().state, bench.only().count) == (State.ACKNOWLEDGED, 2)
    assert actions(bench) == ["opened", "acknowledged"]


def test_a_resolved_finding_reopens_on_what_happens_later_only(bench: Bench) -> None:
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    change(bench, resolve, cause=Cause.PERSON)
    early = int((NOON - timedelta(minutes=5)).timestamp() * 1e9)
    bench.clock.forward(seconds=1)
    bench.lose(started_at=early, ended_at=early)
    bench.clock.forward(seconds=1)
    bench.tick()
    assert (bench.only().state, bench.only().count) == (State.RESOLVED, 2), (
        "it happened before, and came late"
    )
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    assert (bench.only().state, bench.only().count) == (State.REOPENED, 3)
    assert actions(bench) == ["opened", "resolved", "reopened"]


def test_a_changed_rule_resolves_its_findings_and_finds_again_what_is_still_there(
    bench: Bench, make_rule: Callable[..., Rule]
) -> None:
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    bench.rule = make_rule(("version: 1", "version: 2"), ("default: 1", "default: 2"))
    bench.restart()
    assert (bench.only().state, bench.only().resolved_by) == (State.RESOLVED, Cause.RULE_CHANGED)
    bench.tick()
    assert bench.only().state is State.RESOLVED, "one is not enough for the new version"
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    assert (bench.only().state, bench.only().rule_version) == (State.REOPENED, 2)
    events = bench.findings.events(bench.only().id)
    assert [(event["action"], event["why"]) for event in events[1:]] == [
        ("resolved", "rule lost_writes was changed, now version 2"),
        ("reopened", "still there under the changed rule"),
    ]


def test_new_words_leave_findings_as_they_are(bench: Bench, make_rule: Callable[..., Rule]) -> None:
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    bench.rule = make_rule(("stop it", "stop it at once"))
    bench.restart()
    assert bench.only().state is State.OPEN


@pytest.mark.parametrize(("complete", "state"), [(True, State.RESOLVED), (False, State.OPEN)])
def test_a_removed_rule_resolves_but_an_unreadable_one_does_not(
    bench: Bench, complete: bool, state: State
) -> None:
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    arrivals = StoredArrivals(bench.store)
    nothing = Scheduler([], bench.query, bench.clock, arrivals, bench.ledger, bench.findings)
    nothing.begin(complete=complete)
    assert bench.only().state is state


def test_an_aggregate_rule_judges_each_bucket_once(bench: Bench, make_rule: Callable[..., Rule]) -> None:
    bench.rule = make_rule(("type: event", "type: aggregate"))
    bench.restart()
    bench.clock.now = NOON - timedelta(minutes=7)
    bench.lose()
    bench.clock.now = NOON + timedelta(seconds=1)
    bench.lose()
    bench.tick()
    assert covered(bench)[-1][1] == NOON - timedelta(minutes=5), "the last bucket is still left to settle"
    assert bench.only().count == 1
    for _ in range(6):
        bench.clock.forward(minutes=1)
        bench.tick()
    buckets = [(parameters["start"][11:19], parameters["end"][11:19]) for parameters in bench.seen]
    assert buckets == [("11:50:00", "11:55:00"), ("12:00:00", "12:05:00")]
    assert bench.only().count == 2


def test_a_trigger_that_finds_nothing_spares_the_query(bench: Bench, make_rule: Callable[..., Rule]) -> None:
    trigger = (
        "trigger: SELECT 1 FROM transactions WHERE received_at >= {start:DateTime64(3)} AND writes > 0\n"
    )
    bench.rule = make_rule(("query: |", f"{trigger}query: |"))
    bench.restart()
    bench.lose(writes=0)
    bench.clock.forward(seconds=2)
    bench.tick()
    assert (len(bench.seen), bench.all()) == (1, [])
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    assert (len(bench.seen), bench.only().count) == (3, 1)


def test_an_accepted_group_raises_nothing(bench: Bench, make_rule: Callable[..., Rule]) -> None:
    accepted = "exceptions: [{match: {service: 'w*', application: shop}, reason: known}]\nquery: |"
    bench.rule = make_rule(("query: |", accepted))
    bench.restart()
    bench.lose()
    bench.lose(service="other")
    bench.clock.forward(seconds=2)
    bench.tick()
    assert bench.only().service == "other"


def insert_spans(bench: Bench, *spans: dict[str, Any]) -> None:
    """Raw spans of the first transaction's trace that arrive now."""
    rows = [
        {
            "Timestamp": int(bench.clock.now.timestamp() * 1e9),
            "TraceId": f"{1:032x}",
            "SpanId": f"{1:016x}",
            "SpanName": "TRANSACTION shop",
            "ServiceName": "web",
            "ResourceAttributes": {"service.version": "1.0"},
            "SpanAttributes": {},
            "Duration": 5_000_000,
            **span,
        }
        for span in spans
    ]
    bench.store.insert("otel_traces", {name: [row[name] for row in rows] for name in rows[0]})


def test_evidence_is_copied_and_completed_while_it_is_young(bench: Bench) -> None:
    attributes = {
        "trueline.transaction.outcome": "rolled_back",
        "trueline.transaction.reason": "exception",
        "customer.name": "not to be kept",
    }
    insert_spans(bench, {"SpanAttributes": attributes})
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    (item,) = bench.findings.evidence([bench.only().id])[bench.only().id]
    assert (item["named"], item["name"], item["outcome"]) == (True, "TRANSACTION shop", "rolled_back")
    assert "customer.name" not in item["attributes"]
    insert_spans(bench, {"SpanName": "POST /orders", "SpanId": "ab" * 8})
    bench.clock.forward(seconds=11)
    bench.tick()
    bench.store.command("TRUNCATE TABLE otel_traces")
    items = bench.findings.evidence([bench.only().id])[bench.only().id]
    assert {item["name"]: item["named"] for item in items} == {
        "TRANSACTION shop": True,
        "POST /orders": False,
    }


def test_evidence_is_capped_and_keeps_what_the_rule_named(bench: Bench) -> None:
    bench.findings = StoredFindings(bench.store, evidence_limit=5)
    bench.restart()
    steps = [{"SpanName": f"step {number}", "SpanId": f"{number + 1000:016x}"} for number in range(40)]
    insert_spans(bench, *steps, {})
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    items = bench.findings.evidence([bench.only().id])[bench.only().id]
    assert len(items) == 5
    assert [item["name"] for item in items if item["named"]] == ["TRANSACTION shop"]


def test_a_row_that_makes_no_sense_is_an_error_of_the_rule(
    bench: Bench, make_rule: Callable[..., Rule]
) -> None:
    bench.rule = make_rule(("min(started_at) AS first_seen", "'noon' AS first_seen"))
    bench.restart()
    bench.lose()
    bench.clock.forward(seconds=2)
    bench.tick()
    assert bench.scheduler.states["lost_writes"].error == (
        "rule lost_writes returned a row that cannot be read: 'noon' is not a time"
    )


def test_rows_of_one_group_are_one_finding(bench: Bench, make_rule: Callable[..., Rule]) -> None:
    """A query that groups more finely than its rule loses no row."""
    bench.rule = make_rule(
        ("GROUP BY environment, application, service", "GROUP BY environment, application, service, version")
    )
    bench.lose(version="1.0")
    bench.lose(version="1.1")
    early, end = NOON - timedelta(hours=1), NOON + timedelta(seconds=1)
    window = Window(query_start=early, start=NOON, end=end, since=early, settled=end)
    sightings = evaluate(bench.rule, window, bench.query).sightings
    apply(bench.rule, sightings, window, bench.findings, NOON)
    assert (bench.only().count, set(bench.only().versions)) == (2, {"1.0", "1.1"})
