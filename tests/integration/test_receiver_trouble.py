"""A receiver that is away, silent, slow or refusing, while a service is under load.

The service works on, its memory stays bounded, what was lost is counted by reason, and the process ends
within seconds. What latency does is measured by benchmarks/receiver.py, in ratios.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.collector import Collector, Mode, collector

from trueline.instrumentation import semconv

PROGRAM = Path(__file__).parents[1] / "data" / "processes" / "loaded.py"
#: Queues at their fullest, with room to spare: they hold 16,384 spans and 8,192 transactions.
MEMORY = 120_000_000
#: No time limit of a fast machine: only that nobody waits through all retries, which take minutes.
EXIT = 60
STATEMENTS = 1000
#: The spans that cannot arrive, and must be counted.
LOSING = {Mode.REFUSE, Mode.SILENT, Mode.BUSY, Mode.BUSY_RETRY_AFTER, Mode.BAD_REQUEST, Mode.CUT}


def load(
    received: Collector, seconds: float, statements: int = STATEMENTS, **environment: str
) -> tuple[dict[str, Any], float]:
    """Run the service; what it says, and how long it took from there to its end."""
    result = subprocess.run(
        [sys.executable, str(PROGRAM), received.endpoint, str(seconds), str(statements)],
        capture_output=True,
        text=True,
        timeout=600 + seconds,
        env={**os.environ, "OTEL_EXPORTER_OTLP_TIMEOUT": "3", "TRUELINE_EXIT_WAIT": "60", **environment},
    )
    ended = time.time()
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    said = json.loads(result.stdout)
    return said, ended - said["ended_at"]


def unharmed(said: dict[str, Any], exit_took: float, statements: int = STATEMENTS) -> None:
    assert said["ran"] >= 4 * statements
    assert said["errors"] == []
    assert said["internal_errors"] == {}
    assert max(said["memory"]) < MEMORY, said
    assert exit_took < EXIT


@pytest.mark.parametrize(
    "mode",
    [
        Mode.REFUSE,
        Mode.SILENT,
        pytest.param(Mode.BAD_REQUEST, marks=pytest.mark.nightly),
        pytest.param(Mode.BUSY, marks=pytest.mark.nightly),
        pytest.param(Mode.BUSY_RETRY_AFTER, marks=pytest.mark.nightly),
        pytest.param(Mode.SLOW, marks=pytest.mark.nightly),
        pytest.param(Mode.CUT, marks=pytest.mark.nightly),
    ],
)
def test_the_service_works_on(mode: Mode) -> None:
    for seconds in (1, 5, 25):
        with collector(mode) as received:
            said, exit_took = load(received, seconds, TRUELINE_EXIT_WAIT="1")
            received.released.set()
        unharmed(said, exit_took)
        if received.requests or mode is Mode.REFUSE:
            break
    else:
        raise AssertionError("nothing was even tried")
    if mode is Mode.BAD_REQUEST:
        # An answer that is final: every batch is counted as it is refused.
        assert said["losses"]["export_failed"] > 0


def test_a_receiver_that_takes_everything_gets_everything() -> None:
    with collector() as received:
        said, exit_took = load(received, seconds=1)
        unharmed(said, exit_took)
        inserts = [span for span in received.spans("loaded") if span.name == "INSERT t"]
    lost = sum(said["losses"].values())
    assert len({span.span_id for span in inserts}) == len(inserts)
    assert len(inserts) + lost >= said["ran"]
    assert lost == 0, said["losses"]
    assert len(inserts) == said["ran"]


def test_losses_are_said_in_the_telemetry() -> None:
    """`trueline.export.loss` takes the way of the logs, which works where the spans' does not."""
    # What fails at the very end cannot be told any more, and on a busy machine two seconds are the very end.
    for seconds in (2, 15, 60):
        with collector(Mode.BAD_REQUEST) as received:
            received.logs_mode = Mode.ACCEPT
            said, _ = load(received, seconds)
            events = [log for log in received.logs("loaded") if log.event_name == semconv.EVENT_EXPORT_LOSS]
        if events:
            break
    else:
        raise AssertionError("no loss was told")
    for event in events:
        assert event.attributes[semconv.LOSS_REASON] == "export_failed"
        assert event.attributes[semconv.LOSS_SECONDS] > 0
    told = sum(event.attributes[semconv.LOSS_COUNT] for event in events)
    # The logs leave last, and tell what failed at the very end too.
    assert said["ran"] <= told <= 3 * said["ran"]


@pytest.mark.nightly
@pytest.mark.parametrize("mode", sorted(LOSING))
def test_for_minutes(mode: Mode) -> None:
    """Longer than every retry and every queue: losses are counted by reason, memory no longer grows."""
    with collector(mode) as received:
        said, exit_took = load(received, seconds=150, statements=20_000, TRUELINE_EXIT_WAIT="5")
        received.released.set()
    unharmed(said, exit_took, 20_000)
    assert sum(said["losses"].values()) > 0, said
    assert said["losses"].keys() <= {"queue_full", "export_failed"}
    first, second = said["memory"]
    assert second < first * 1.5 + 5_000_000, said["memory"]
