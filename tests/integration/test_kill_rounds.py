"""kill -9 of the real ``trueline serve`` at random points: nothing is lost, doubled or left unjudged."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.engine_bench import write_rule
from support.monitor_process import PATIENCE, MonitorProcess, clean_environment
from support.otlp import PROTOBUF, trace_request

#: Run beside the dead monitor, since a process can open one embedded store only.
_DUMP = """
import json, sys
from pathlib import Path
from trueline.monitor.settings import StoreSettings
from trueline.monitor.store.client import open_store

store = open_store(StoreSettings(data_dir=Path(sys.argv[1])))
tables = {
    "runs": "SELECT rule, toUnixTimestamp64Milli(start), toUnixTimestamp64Milli(end), result FROM rule_runs "
            "ORDER BY sequence",
    "findings": "SELECT rule, id, service, count FROM findings FINAL",
    "opened": "SELECT finding_id, count() FROM finding_events WHERE action = 'opened' GROUP BY finding_id",
    "occurrences": "SELECT finding_id, uniqExact(occurrence) FROM finding_occurrences GROUP BY finding_id",
    "transactions": "SELECT service, count(), uniqExact(trace_id) FROM transactions GROUP BY service",
}
print(json.dumps({name: store.query(sql).rows for name, sql in tables.items()}))
store.close()
"""


class Sender(threading.Thread):
    """Sends one rolled back transaction after the other until the monitor is gone."""

    def __init__(self, url: str, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._url, self._chance = url, chance
        self.acknowledged: Counter[str] = Counter()
        self.uncertain: Counter[str] = Counter()

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=PATIENCE) as http:
            while True:
                service = f"service{self._chance.randrange(4)}"
                request = trace_request(os.urandom(16), service=service, name="TRANSACTION shop")
                attributes = request.resource_spans[0].scope_spans[0].spans[0].attributes
                attributes.add(key="trueline.transaction.outcome").value.string_value = "rolled_back"
                attributes.add(key="trueline.transaction.reason").value.string_value = "exception"
                attributes.add(key="trueline.transaction.writes").value.int_value = 1
                try:
                    answer = http.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)
                except httpx.HTTPError:
                    self.uncertain[service] += 1
                    return
                assert answer.status_code == 200
                self.acknowledged[service] += 1
                time.sleep(self._chance.random() * 0.1)


def dump(data: Path) -> dict[str, list[list[Any]]]:
    done = subprocess.run(
        [sys.executable, "-c", _DUMP, str(data)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    found: dict[str, list[list[Any]]] = json.loads(done.stdout)
    return found


def judged_until(monitor: MonitorProcess, rule: str) -> str:
    covered: str = monitor.http.get(f"/api/v1/rules/{rule}").raise_for_status().json()["covered_until"] or ""
    return covered


@pytest.mark.nightly
@pytest.mark.parametrize("rounds", [2, 50])
def test_nothing_is_lost_doubled_or_unjudged(tmp_path: Path, rounds: int) -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    rules = tmp_path / "rules"
    rules.mkdir()
    write_rule(rules)
    write_rule(
        rules,
        ("lost_writes", "lost_buckets"),
        ("type: event", "type: aggregate"),
        ("window: 5m", "window: 3s"),
    )
    data = tmp_path / "data"
    acknowledged: Counter[str] = Counter()
    uncertain: Counter[str] = Counter()
    for _ in range(rounds):
        monitor = MonitorProcess(data, "--rules", str(rules))
        sender = Sender(monitor.url, chance)
        sender.start()
        time.sleep(chance.random() * 4)
        monitor.end(signal.SIGKILL)
        sender.join(PATIENCE)
        acknowledged += sender.acknowledged
        uncertain += sender.uncertain
    monitor = MonitorProcess(data, "--rules", str(rules))
    try:
        last = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 1))
        deadline = time.monotonic() + PATIENCE
        while min(judged_until(monitor, "lost_writes"), judged_until(monitor, "lost_buckets")) < last:
            assert time.monotonic() < deadline, "the rules do not catch up"
            time.sleep(0.2)
    finally:
        monitor.end(signal.SIGTERM)
    found = dump(data)

    said = f"seed {seed}, acknowledged {acknowledged}, uncertain {uncertain}"
    stored = {service: count for service, count, _ in found["transactions"]}
    for service, count, distinct in found["transactions"]:
        assert count == distinct, f"stored twice: {said}"
        assert acknowledged[service] <= count <= acknowledged[service] + uncertain[service], said
    assert {one for one, count in acknowledged.items() if count} <= set(stored), said

    named = {(rule, service): (one, count) for rule, one, service, count in found["findings"]}
    assert len(named) == len(found["findings"]), "a finding is there twice"
    assert set(named) == {(rule, one) for rule in ("lost_writes", "lost_buckets") for one in stored}, said
    occurrences, opened = dict(map(tuple, found["occurrences"])), dict(map(tuple, found["opened"]))
    for (rule, service), (one, count) in named.items():
        assert occurrences[one] == stored[service] == count, f"{rule}: {said}"
        assert opened[one] == 1, f"{rule} was opened {opened[one]} times: {said}"

    for rule in ("lost_writes", "lost_buckets"):
        lines = [(start, end) for of, start, end, result in found["runs"] if of == rule and result == "ok"]
        assert all(before[1] == after[0] for before, after in pairwise(lines)), f"{rule} has a gap: {said}"
        assert not [line for line in found["runs"] if line[0] == rule and line[3] not in ("ok", "error")]
