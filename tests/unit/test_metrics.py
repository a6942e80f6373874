"""What /metrics tells, and that its reference page is the one that the code makes."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

from trueline.monitor import metrics
from trueline.monitor.engine.rule_state import RuleState
from trueline.monitor.errors import StoreUnavailableError
from trueline.monitor.otlp.errors import TooLargeError
from trueline.monitor.otlp.examine import Verdict

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def test_the_page_is_what_the_code_makes() -> None:
    assert PAGE.read_text(encoding="utf-8") == metrics.reference()


def test_everything_that_happens_is_counted_by_its_reason() -> None:
    intake = metrics.IntakeMetrics()
    intake.accepted("traces", Verdict(7, {"too odd": 2}))
    intake.refused("logs", TooLargeError("no"))
    intake.repeated("otel_traces", 3)
    intake.inserted("otel_traces", 7, 2, 0.2, "engine")
    intake.failed("otel_logs", StoreUnavailableError("full"))
    intake.watch(lambda: [(metrics.WAITING, {("rows",): 5.0})])
    said = intake.render().decode()
    for line in (
        'trueline_intake_requests_total{reason="partial",signal="traces",status="200"} 1.0',
        'trueline_intake_items_total{result="acknowledged",signal="traces"} 7.0',
        'trueline_intake_items_total{result="rejected",signal="traces"} 2.0',
        'trueline_intake_items_total{result="repeated",signal="traces"} 3.0',
        'trueline_intake_rejected_items_total{reason="too odd",signal="traces"} 2.0',
        'trueline_intake_requests_total{reason="TooLarge",signal="logs",status="413"} 1.0',
        'trueline_insert_rows_total{decoder="engine",table="otel_traces"} 7.0',
        'trueline_insert_failures_total{reason="unavailable",table="otel_logs"} 1.0',
        'trueline_intake_waiting{what="rows"} 5.0',
    ):
        assert line in said.splitlines()


def test_a_rules_lag_is_read_from_its_state() -> None:
    known = {field.name for field in fields(RuleState)}
    assert {"covered_until", "evaluations", "milliseconds", "error"} <= known
    now = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)

    class State:
        covered_until = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
        evaluations, milliseconds, error = 3, 250.0, ""

    found = {text.name: dict(values) for text, values in metrics.rule_gauges({"env_split": State()}, now)}
    assert found["trueline_rule_lag_seconds"] == {("env_split",): 30.0}
    assert found["trueline_rule_last_seconds"] == {("env_split",): 0.25}
    assert found["trueline_rule_failing"] == {("env_split",): 0.0}
