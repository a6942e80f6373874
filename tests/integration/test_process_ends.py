"""What arrives of a process that ends: real processes of every kind, a real receiver, every span counted.

The table in docs/reference/processes.md says the same in words.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from support.collector import Collector, Span, collector
from support.postgres import Postgres

from trueline.instrumentation import semconv

pytestmark = pytest.mark.sqlalchemy_rest

PROGRAM = Path(__file__).parents[1] / "data" / "processes" / "ends.py"

#: Scenario: exit code, outcomes of the INSERTs that must arrive, how many more may arrive or be lost.
EXPECTED: dict[str, tuple[int, dict[str, int], int]] = {
    "falls_off_the_end": (0, {"committed": 3}, 0),
    "sys_exit": (3, {"committed": 3}, 0),
    "unhandled_exception": (1, {"committed": 2, "rolled_back": 1}, 0),
    "open_transaction_at_the_end": (0, {"open": 1}, 0),
    "atexit_handler_registered_later": (0, {"committed": 1}, 0),
    # A handler that was there before instrument() runs after Trueline's: its write is lost.
    "atexit_handler_registered_earlier": (0, {"committed": 1}, 0),
    "thread_that_outlives_the_main_one": (0, {"committed": 2}, 0),
    "daemon_thread_that_blocks_in_a_transaction": (0, {"open": 1}, 0),
    "event_loop_that_ends": (0, {"committed": 1}, 0),
    "sigterm_handled": (0, {"committed": 2}, 0),
    "sigterm_default": (-15, {"committed": 1}, 1),
    "sigkill": (-9, {"committed": 1}, 1),
    "os_exit": (0, {"committed": 1}, 1),
    "sigkill_in_an_open_transaction": (-9, {"open": 1}, 0),
    "ends_long_after_it_left_as_open": (0, {"open": 2}, 0),
    "generator_never_finished": (0, {"open": 1}, 0),
    "fork_with_an_open_transaction": (0, {"committed": 1}, 0),
    "multiprocessing_fork": (0, {"committed": 2}, 0),
    "multiprocessing_fork_switched_on_in_the_child": (0, {"committed": 2}, 0),
    "multiprocessing_spawn": (0, {"committed": 2}, 0),
    "multiprocessing_forkserver": (0, {"committed": 2}, 0),
    "multiprocessing_os_exit": (0, {"committed": 1}, 1),
    "multiprocessing_pool_joined": (0, {"committed": 4}, 0),
    "multiprocessing_pool_terminated": (0, {"committed": 1}, 1),
    "multiprocessing_with_the_applications_provider": (0, {"committed": 2}, 0),
    "process_pool_executor": (0, {"committed": 4}, 0),
}


@dataclass
class Ended:
    """How the processes ended and what arrived."""

    codes: dict[str, int]
    received: Collector
    folder: Path

    def spans(self, scenario: str) -> list[Span]:
        return self.received.spans(scenario)

    def transaction(self, scenario: str) -> Span:
        (span,) = [s for s in self.spans(scenario) if s.name.startswith("TRANSACTION")]
        return span


def run(received: Collector, folder: Path, *names: str, **environment: str) -> Ended:
    command = [sys.executable, str(PROGRAM), received.endpoint, str(folder), *names]
    # A session of its own, so that whatever hangs can be ended with all its children.
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TRUELINE_EXIT_WAIT": "60", **environment},
    ) as process:
        try:
            output, _ = process.communicate(timeout=300)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0
    return Ended(json.loads(output), received, folder)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    with collector() as received:
        yield run(received, tmp_path_factory.mktemp("ends"))


def test_every_scenario_is_expected(ended: Ended) -> None:
    assert ended.codes.keys() == EXPECTED.keys()


@pytest.mark.parametrize("scenario", EXPECTED)
def test_what_arrives_of_it(ended: Ended, scenario: str) -> None:
    code, outcomes, undecided = EXPECTED[scenario]
    errors = (ended.folder / f"{scenario}.err").read_text()
    assert ended.codes[scenario] == code, errors
    if scenario != "generator_never_finished":  # which Python throws away when the connection is gone already
        assert ("Traceback" in errors) is (scenario == "unhandled_exception"), errors
    spans = ended.spans(scenario)
    assert len({span.span_id for span in spans}) == len(spans), "a span was sent twice"
    inserts = Counter(s.attributes[semconv.TRANSACTION_OUTCOME] for s in spans if s.name == "INSERT t")
    assert inserts.keys() == outcomes.keys()
    for outcome, count in outcomes.items():
        assert count <= inserts[outcome] <= count + undecided


def test_a_transaction_that_ends_names_what_was_undone_after_it_had_left(ended: Ended) -> None:
    scenario = "ends_long_after_it_left_as_open"
    transaction = ended.transaction(scenario)
    _, undone = sorted(
        (s for s in ended.spans(scenario) if s.name == "INSERT t"), key=lambda span: span.started_at
    )
    assert transaction.attributes[semconv.TRANSACTION_OUTCOME] == "committed"
    assert transaction.attributes[semconv.TRANSACTION_UNDONE] == [undone.span_id]


def test_a_span_that_waited_keeps_its_own_end(ended: Ended) -> None:
    """The parent of the fork holds its statement until the child has ended."""
    scenario = "fork_with_an_open_transaction"
    (insert,) = [s for s in ended.spans(scenario) if s.name == "INSERT t"]
    (child_read,) = [s for s in ended.spans(scenario) if s.name == "SELECT t"]
    commit = next(s for s in ended.spans(scenario) if s.attributes.get(semconv.TRANSACTION_WRITES) == 1)
    assert insert.started_at < insert.ended_at < child_read.ended_at < commit.ended_at


def test_a_forked_child_is_an_instance_of_its_own(ended: Ended) -> None:
    instances = ended.received.instances("multiprocessing_pool_joined")
    assert len(instances) == 2, instances


@pytest.mark.nightly
def test_children_forked_under_load_neither_hang_nor_lose_anything(
    postgres: Postgres, tmp_path: Path
) -> None:
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id serial PRIMARY KEY, user_id text)")
    url = postgres.url().render_as_string(hide_password=False)
    with collector() as received:
        ended = run(received, tmp_path, "forks_under_load", ENDS_POSTGRESQL=url)
        assert ended.codes == {"forks_under_load": 0}, (tmp_path / "forks_under_load.err").read_text()
        inserts = [s for s in ended.spans("forks_under_load") if s.name == "INSERT t"]
    assert len({s.span_id for s in inserts}) == len(inserts) == 9
