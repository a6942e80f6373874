"""RQ's own worker, which forks for each job and ends the fork without clean-up: what a job did arrives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.collector import collector

from trueline.instrumentation import semconv

JOBS = """
import os
import sqlalchemy
from trueline.instrumentation import instrument

instrument(service_name="rq", endpoint=os.environ["ENDPOINT"])
engine = sqlalchemy.create_engine("sqlite:///" + os.environ["DATABASE"])

def store():
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE IF NOT EXISTS t (user_id TEXT)"))
        connection.execute(sqlalchemy.text("INSERT INTO t VALUES ('7')"))

def fail():
    raise ValueError("no")
"""
#: The server's memory is copied into each fork: what a job did to the queue stays there.
WORKER = """
import shop_jobs
from fakeredis import FakeStrictRedis
from rq import Queue, Worker
from trueline.instrumentation import bind_identity

connection = FakeStrictRedis()
queue = Queue(connection=connection)
with bind_identity("7", entry="webhook"):
    queue.enqueue(shop_jobs.store)
    queue.enqueue(shop_jobs.fail)
Worker([queue], connection=connection).work(burst=True)
"""


def test_a_forking_worker_of_rq(tmp_path: Path) -> None:
    (tmp_path / "shop_jobs.py").write_text(JOBS)
    with collector() as received:
        done = subprocess.run(
            [sys.executable, "-c", WORKER],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
                "ENDPOINT": received.endpoint,
                "DATABASE": str(tmp_path / "shop.db"),
                "TRUELINE_EXIT_WAIT": "60",
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        spans = received.spans("rq")
    jobs = {
        one.name: one.attributes[semconv.JOB_OUTCOME]
        for one in spans
        if semconv.JOB_OUTCOME in one.attributes
    }
    assert jobs == {"shop_jobs.store": "done", "shop_jobs.fail": "failed"}, done.stdout + done.stderr
    (write,) = [one for one in spans if one.name == "INSERT t"]
    assert write.attributes[semconv.TRANSACTION_OUTCOME] == "committed"
    assert write.attributes[semconv.ENTRY_NAME] == "shop_jobs.store"
    (request,) = [one for one in spans if one.name == "webhook"]
    assert {one.trace_id for one in spans} == {request.trace_id}
