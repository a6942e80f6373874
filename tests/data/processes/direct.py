"""A service whose telemetry goes straight to ClickHouse: OTEL_TRACES_EXPORTER=clickhouse.

    python direct.py [fork]

Writes one row under an identity, in a forked child too if asked to, logs a line, and ends.
"""

from __future__ import annotations

import logging
import os
import sys
import time

from sqlalchemy import create_engine, text

from trueline.instrumentation import bind_identity, instrument

instrument("direct")
engine = create_engine("sqlite://")


def write(name: str) -> None:
    with bind_identity("7", entry=f"job {name}"), engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS expenses (user_id TEXT, note TEXT)"))
        connection.execute(
            text("INSERT INTO expenses (user_id, note) VALUES (:user, :note)"), {"user": "7", "note": name}
        )
        logging.getLogger("direct").warning("written by %s", name)


write("parent")
if "fork" in sys.argv:
    # Long enough for a batch to leave: the child then inherits an open connection.
    time.sleep(3)
    child = os.fork()
    write("child" if child == 0 else "parent again")
    if child:
        status = os.waitpid(child, 0)[1]
        write("parent at last")
        sys.exit(os.waitstatus_to_exitcode(status))
