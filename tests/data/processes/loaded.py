"""A service under load whose telemetry has nowhere to go, or somewhere.

    python loaded.py ENDPOINT SECONDS STATEMENTS

Four threads write for SECONDS, and until they have run STATEMENTS each. Prints a line of JSON: statements
that ran, errors that reached the application, memory at half-time and at the end (bytes, by tracemalloc),
and what ``setup.status()`` says. Then the process ends by itself.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
import tracemalloc

from sqlalchemy import create_engine, text

from trueline.instrumentation import instrument, setup

ENDPOINT, SECONDS, STATEMENTS = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
instrument("loaded", endpoint=ENDPOINT)
insert = text("INSERT INTO t (user_id) VALUES (:user)")
ran = [0] * 4
errors: list[str] = []
half, end = threading.Barrier(5), threading.Event()


def work(number: int) -> None:
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE t (user_id TEXT)"))
    for part in (1, 2):
        deadline = time.monotonic() + SECONDS / 2
        while time.monotonic() < deadline or ran[number] < part * STATEMENTS / 2:
            try:
                with engine.begin() as connection:
                    for user in range(10):
                        connection.execute(insert, {"user": str(user)})
                        ran[number] += 1
                with engine.begin() as connection:
                    connection.execute(text("DELETE FROM t"))
            except Exception as error:
                errors.append(repr(error))
        half.wait()
        half.wait()


threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for thread in threads:
    thread.start()
memory = []
tracemalloc.start()
for _ in range(2):
    half.wait()
    gc.collect()
    memory.append(tracemalloc.get_traced_memory()[0])
    half.wait()
for thread in threads:
    thread.join()
status = setup.status()
print(
    json.dumps(
        {
            "ran": sum(ran),
            "errors": errors[:3],
            "memory": memory,
            "losses": status["losses"],
            "internal_errors": status["internal_errors"],
            "ended_at": time.time(),
        }
    ),
    flush=True,
)
