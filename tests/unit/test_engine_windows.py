"""Windows of arrivals, property by property: contiguous, bounded, settled, and never later than now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trueline.monitor.engine.load import load_rule
from trueline.monitor.engine.rule import RuleDefinition
from trueline.monitor.engine.windows import MAX_CATCH_UP, OVERLAP, SETTLE, next_window, without_idle_time

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
EVENT = load_rule(Path(__file__).parents[1] / "data" / "rules" / "good" / "minimal.yaml").definition
AGGREGATE = load_rule(Path(__file__).parents[1] / "data" / "rules" / "good" / "full.yaml").definition
RULES = pytest.mark.parametrize("rule", [EVENT, AGGREGATE], ids=["event", "aggregate"])
PAUSES = st.lists(st.floats(0.001, 200_000), min_size=1, max_size=8)


@RULES
@given(pauses=PAUSES)
def test_whatever_the_pauses_windows_join_without_gap_or_overlap(
    rule: RuleDefinition, pauses: list[float]
) -> None:
    now, covered = NOON, None
    for pause in pauses:
        now += timedelta(seconds=pause)
        for _ in range(1000):
            window = next_window(rule, covered, now)
            if window is None:
                break
            if covered is not None:
                assert window.start == covered or window.skipped_from == covered
            assert window.start < window.end <= window.settled <= now - rule.delay
            assert window.end - window.start <= rule.window
            assert window.since == window.end - rule.lookback
            assert now - window.start <= MAX_CATCH_UP + rule.window + SETTLE + rule.delay
            covered = window.end
        else:
            raise AssertionError("catching up never ends")


@given(st.integers(1, 10_000))
def test_buckets_are_aligned_and_settled(seconds: int) -> None:
    now = NOON + timedelta(seconds=seconds)
    window = next_window(AGGREGATE, None, now)
    assert window is not None
    assert window.start.timestamp() % 300 == 0
    assert window.end - window.start == AGGREGATE.window
    assert window.settled <= now - SETTLE
    assert window.query_start == window.start, "a bucket is judged by itself"


def test_event_windows_look_again_at_the_last_arrivals() -> None:
    window = next_window(EVENT, NOON - timedelta(seconds=2), NOON)
    assert window is not None
    assert window.query_start == window.start - OVERLAP


def test_what_is_too_old_is_given_up_and_named() -> None:
    covered = NOON - timedelta(days=3)
    window = next_window(EVENT, covered, NOON)
    assert window is not None
    assert (window.skipped_from, window.start) == (covered, NOON - MAX_CATCH_UP)


def test_failures_halve_the_window_down_to_the_interval() -> None:
    lengths = []
    for failures in (0, 1, 2, 30):
        window = next_window(EVENT, NOON - timedelta(hours=1), NOON, failures)
        assert window is not None
        lengths.append((window.end - window.start).total_seconds())
    assert lengths == [600, 300, 150, 2]


@RULES
def test_idle_time_is_left_out_but_covered(rule: RuleDefinition) -> None:
    window = next_window(rule, NOON - timedelta(hours=2), NOON)
    assert window is not None
    idle = without_idle_time(rule, window, None)
    assert (idle.idle, idle.start, idle.end, idle.backlog) == (True, window.start, window.settled, False)
    late = NOON - timedelta(minutes=23)
    found = without_idle_time(rule, window, late)
    assert not found.idle
    assert found.start == window.start
    assert found.query_start <= late < found.end
    assert found.since == found.end - rule.lookback
    early = window.start + timedelta(seconds=1)
    assert without_idle_time(rule, window, early) == window


def test_a_clock_that_falls_back_waits() -> None:
    assert next_window(EVENT, NOON, NOON - timedelta(hours=1)) is None
