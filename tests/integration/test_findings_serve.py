"""Findings of the real ``trueline serve``: from OTLP to the command line, and over a kill -9."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engine_bench import write_rule
from support.monitor_process import PATIENCE, MonitorProcess, run_trueline
from support.otlp import PROTOBUF, trace_request

from trueline.instrumentation.identity import IdentityHasher, canonicalize
from trueline.monitor.main import main

Run = Callable[..., tuple[int, str]]
SECRET = "the services' secret"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    write_rule(folder)
    return folder


@pytest.fixture
def serve(tmp_path: Path, rules: Path) -> Iterator[Callable[[], MonitorProcess]]:
    """Starts monitors on one data folder, one after the other."""
    started: list[MonitorProcess] = []

    def serve() -> MonitorProcess:
        monitor = MonitorProcess(
            tmp_path / "data", "--rules", str(rules), environment={"TRUELINE_SHIPPED_RULES": "false"}
        )
        started.append(monitor)
        return monitor

    yield serve
    for monitor in started:
        monitor.end(signal.SIGKILL)


def lose(monitor: MonitorProcess, service: str = "web") -> str:
    """Send one transaction that was rolled back, as OTLP; returns its trace id."""
    trace_id = os.urandom(16)
    request = trace_request(trace_id, service=service, name="TRANSACTION shop")
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.kind = 1
    span.attributes.add(key="trueline.transaction.outcome").value.string_value = "rolled_back"
    span.attributes.add(key="trueline.transaction.reason").value.string_value = "exception"
    span.attributes.add(key="trueline.transaction.writes").value.int_value = 1
    answer = monitor.http.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF)
    assert answer.status_code == 200
    return trace_id.hex()


def findings(monitor: MonitorProcess) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = monitor.http.get("/api/v1/findings").raise_for_status().json()["items"]
    return items


def eventually(done: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (result := done()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return result


def test_a_killed_monitor_keeps_its_findings_and_goes_on_where_it_was(
    serve: Callable[[], MonitorProcess],
) -> None:
    first = serve()
    lose(first)
    (before,) = eventually(lambda: findings(first))
    acknowledged = first.http.post(f"/api/v1/findings/{before['id']}/acknowledge", json={"who": "ann"})
    assert acknowledged.status_code == 200
    late = lose(first)
    first.end(signal.SIGKILL)
    second = serve()
    after = eventually(lambda: [item for item in findings(second) if item["count"] == 2])
    assert [(item["id"], item["state"]) for item in after] == [(before["id"], "acknowledged")]
    finding = second.http.get(f"/api/v1/findings/{before['id']}").json()
    assert [event["action"] for event in finding["events"]] == ["opened", "acknowledged"]
    assert late in finding["trace_ids"]
    assert {item["trace_id"] for item in finding["evidence"]} == set(finding["trace_ids"])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process, which is quicker; returns its status and what it said."""
    monkeypatch.setenv("USER", "ann")

    def run(*arguments: str, **environment: str) -> tuple[int, str]:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr("sys.argv", ["trueline", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(ended.value.code or 0), said.out + said.err

    return run


def test_the_commands_tell_and_change_findings(
    serve: Callable[[], MonitorProcess], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = serve()
    monkeypatch.setenv("TRUELINE_URL", monitor.url)
    assert run("findings") == (0, "no findings are open; --state all shows resolved ones too\n")
    trace_id = lose(monitor, "web[red]")
    (item,) = eventually(lambda: findings(monitor))
    status, listed = run("findings", "--state", "active", "--rule", "lost_writes")
    assert (status, item["id"] in listed, "web[red] lost 1 write" in listed) == (0, True, True)
    status, text = run("findings", "show", item["id"][:6])
    assert status == 0
    for part in (
        "ERROR",
        "Writes are rolled back",
        "DO NOW",
        "stop it",
        trace_id,
        "transaction with 1 write",
    ):
        assert part in text
    status, text = run("findings", "show", item["id"], "--json")
    assert json.loads(text)["id"] == item["id"]
    assert run("findings", "ack", item["id"]) == (0, f"finding {item['id']} is acknowledged\n")
    assert run("findings", "resolve", item["id"], "--why", "mended") == (
        0,
        f"finding {item['id']} is resolved\n",
    )
    assert "resolved by ann: mended" in run("findings", "show", item["id"])[1]
    assert run("findings", "resolve", item["id"])[1].endswith("is resolved already: nothing was changed\n")
    assert run("findings", "reopen", item["id"], "--why", "too early") == (
        0,
        f"finding {item['id']} is reopened\n",
    )
    assert run("findings", "ack", item["id"], "--by", "bob")[0] == 0
    taken = f"finding {item['id']} was acknowledged by bob already\n"
    assert run("findings", "ack", item["id"]) == (3, taken), "somebody else has it"
    assert run("findings", "comment", item["id"], "the pool") == (0, f"finding {item['id']}: comment added\n")
    status, told = run("findings", "history", item["id"])
    assert (status, [word for word in ("too early", "the pool", "bob") if word not in told]) == (0, [])
    assert run("findings", "--fail")[0] == 1
    status, told = run("incidents")
    assert (status, "web[red] lost 1 write" in told) == (0, True)
    (incident,) = json.loads(run("incidents", "--json")[1])["items"]
    status, told = run("incidents", "show", incident["id"])
    assert (status, f"trueline findings show {item['id']}" in told, "LIKELY CAUSE" in told) == (0, True, True)
    assert run("incidents", "show", "nothing")[0] == 1
    status, told = run("silences", "preview", "service=~web.*")
    assert (status, told.splitlines()[0]) == (0, "this silence would hide 1 finding of those that are active")
    status, told = run("silences", "add", "service=~web.*", "--why", "moving", "--for", "30m")
    assert (status, "hides 1 finding now" in told) == (0, True)
    (silence,) = json.loads(run("silences", "--json")[1])["items"]
    assert "acknowledged by bob, silenced" in run("findings", "list")[1]
    assert "moving" in run("silences", "show", silence["id"])[1]
    assert run("silences", "extend", silence["id"], "--for", "1h")[0] == 0
    assert run("silences", "end", silence["id"]) == (0, f"silence {silence['id']} is over\n")
    assert run("silences")[1] == "no silences hold now; --expired shows those that are over\n"
    assert "service=~web.*: moving" in run("silences", "--expired")[1]
    assert run("silences", "add", "nonsense", "--why", "x")[0] == 2
    assert run("silences", "add", "a=b", "--why", "x", "--for", "soon")[0] == 2
    assert run("silences", "end", "nothing")[0] == 1
    assert run("notify")[1].startswith("nobody is told: set TRUELINE_NOTIFY")
    assert run("notify", "test", "oncall")[0] == 1
    assert run("findings", "resolve", item["id"])[0] == 0
    assert json.loads(run("findings", "--state", "active", "--json")[1])["items"] == []
    status, said = run("findings", "show", "nothing")
    assert (status, said) == (1, "trueline: There is no finding 'nothing'; /api/v1/findings lists them.\n")
    status, said = run("findings", "--state", "broken")
    assert (status, said.startswith("trueline: state: input should be")) == (2, True)
    status, listed = run("rules", "list")
    assert (status, "lost_writes" in listed, "running" in listed) == (0, True, True)


def test_last_write_hashes_here_and_compares(serve: Callable[[], MonitorProcess], run: Run) -> None:
    monitor = serve()
    request = trace_request(os.urandom(16), name="INSERT expenses")
    span = request.resource_spans[0].scope_spans[0].spans[0]
    exported = IdentityHasher(SECRET).export("user", canonicalize("12345"))
    for name, value in [
        ("trueline.statement.kind", "write"),
        ("trueline.transaction.outcome", "committed"),
        ("trueline.hash.key_id", IdentityHasher(SECRET).key_id),
        ("db.namespace", "main"),
    ]:
        span.attributes.add(key=name).value.string_value = value
    for name, value in [
        ("trueline.statement.tables", "expenses"),
        ("trueline.identity.columns", "expenses.user_id"),
        ("trueline.identity.clauses", "set"),
        ("trueline.identity.encodings", "integer"),
        ("trueline.identity.values", exported),
        ("trueline.identity.domains", "user"),
    ]:
        span.attributes.add(key=name).value.array_value.values.add(string_value=value)
    assert (
        monitor.http.post("/v1/traces", content=request.SerializeToString(), headers=PROTOBUF).status_code
        == 200
    )
    status, said = run("last-write", "12345", TRUELINE_URL=monitor.url, TRUELINE_HASH_SECRET=SECRET)
    assert status == 1
    assert "expenses was not read since" in said
    assert "expenses.user_id (integer)" in said
    status, said = run("last-write", "12345", TRUELINE_URL=monitor.url)
    assert status == 1
    assert "this value was hashed with no secret" in said


def test_no_monitor_is_one_sentence_and_status_2(run: Run) -> None:
    for command in (["findings"], ["rules", "list"], ["last-write", "12345"]):
        status, said = run(*command, TRUELINE_URL="http://127.0.0.1:9")
        assert status == 2
        assert said.startswith("trueline: No monitor answers at http://127.0.0.1:9 (")
        assert len(said.splitlines()) == 1


def test_a_rule_file_that_cannot_be_used_is_one_sentence_and_status_2(
    tmp_path: Path, rules: Path, run: Run
) -> None:
    bad = rules / "bad.yaml"
    bad.write_text("id: [bad\n", encoding="utf-8")
    served = run_trueline("serve", "--data-dir", str(tmp_path / "data"), "--port", "0", "--rules", str(rules))
    said = f"trueline: {bad}:2:1: the file is not valid YAML: expected ',' or ']', but got '<stream end>'\n"
    assert (served.returncode, served.stdout, served.stderr) == (2, "", said)
    assert run("rules", "check", str(rules)) == (2, said)
    status, said = run("rules", "check", str(tmp_path / "nowhere"))
    assert (status, "there is no such file or folder" in said) == (2, True)
    bad.unlink()
    assert run("rules", "check", str(rules)) == (0, "1 rule: all can be used\n")


@pytest.mark.nightly
def test_rules_are_tested_from_the_command_line(rules: Path) -> None:
    rows = "rows: {transactions: [{at: -5s, outcome: committed}]}"
    passing = f"tests: [{{name: all is well, {rows}, expect: []}}]\nsummary:"
    failing = f"tests: [{{name: too much is expected, {rows}, expect: [{{service: web}}]}}]\nsummary:"
    for path in rules.iterdir():
        path.unlink()
    write_rule(rules, ("summary:", passing))
    good = run_trueline("rules", "test", str(rules))
    assert good.returncode == 0
    assert good.stdout.startswith("lost_writes: 1 of 1 tests pass (")
    write_rule(rules, ("summary:", failing), ("lost_writes", "other_rule"))
    bad = run_trueline("rules", "test", str(rules), "--rule", "other_rule")
    assert bad.returncode == 1
    assert "FAILED too much is expected" in bad.stderr
