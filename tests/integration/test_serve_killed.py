"""kill -9 in the middle of inserts, again and again: what was acknowledged is stored once, whole, everywhere.

Each round posts requests from several threads, kills the monitor amid them, starts it again and sends every
request of the round once more, as an exporter does that got no answer. At the end each request is there once,
with all its spans, and each derived table equals what its view makes of the raw tables anew.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support import stored
from support.monitor_process import PATIENCE, MonitorProcess
from support.otlp import PROTOBUF

RECORDED = Path(__file__).parents[1] / "data" / "otlp" / "own-traces.pb"
THREADS = 3


def request(name: str) -> tuple[bytes, int]:
    """A request like a real service's, with ids of its own; the number of its spans."""
    message = ExportTraceServiceRequest.FromString(RECORDED.read_bytes())
    now, count = time.time_ns(), 0
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.trace_id, span.span_id = os.urandom(16), os.urandom(8)
                span.trace_state = name
                span.start_time_unix_nano, span.end_time_unix_nano = now - 1_000_000, now
                count += 1
    return message.SerializeToString(), count


class Round:
    """Requests posted until the monitor is killed."""

    def __init__(self, monitor: MonitorProcess, number: int) -> None:
        self.sent: dict[str, tuple[bytes, int]] = {}
        self.acknowledged: set[str] = set()
        self._monitor = monitor
        self._number = number
        self._enough = threading.Event()

    def play(self, pause: float) -> None:
        threads = [threading.Thread(target=self._post, args=(index,)) for index in range(THREADS)]
        for thread in threads:
            thread.start()
        assert self._enough.wait(PATIENCE)
        time.sleep(pause)
        self._monitor.end(signal.SIGKILL)
        for thread in threads:
            thread.join(PATIENCE)

    def _post(self, index: int) -> None:
        with httpx.Client(base_url=self._monitor.url, timeout=PATIENCE) as http:
            for count in range(10_000):
                name = f"r{self._number}-{index}-{count}"
                body, spans = request(name)
                self.sent[name] = (body, spans)
                try:
                    response = http.post("/v1/traces", content=body, headers=PROTOBUF)
                except httpx.TransportError:
                    return
                assert response.status_code == 200, response.text
                self.acknowledged.add(name)
                if len(self.acknowledged) >= THREADS:
                    self._enough.set()


@pytest.mark.parametrize("rounds", [1, pytest.param(100, marks=pytest.mark.nightly)])
def test_killed_amid_inserts(tmp_path: Path, rounds: int) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    pauses = random.Random(seed)
    data = tmp_path / "data"
    sent: dict[str, int] = {}
    acknowledged: set[str] = set()
    monitor = MonitorProcess(data)
    for number in range(rounds):
        played = Round(monitor, number)
        played.play(pauses.uniform(0, 0.25))
        acknowledged |= played.acknowledged
        monitor = MonitorProcess(data)
        again = list(played.sent.items())
        pauses.shuffle(again)
        for name, (body, spans) in again:
            response = monitor.http.post("/v1/traces", content=body, headers=PROTOBUF)
            assert response.status_code == 200, response.text
            sent[name] = spans
    assert monitor.end() == 0
    print(f"{len(sent)} requests, {len(acknowledged)} acknowledged at once")
    read = subprocess.run(
        [sys.executable, stored.__file__, str(data)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert read.returncode == 0, read.stderr
    there = json.loads(read.stdout)
    assert there["requests"] == {name: [spans, spans] for name, spans in sent.items()}
    assert acknowledged <= set(there["requests"])
    assert there["differences"] == {}
    assert list((data / "intake").glob("*")) == []
