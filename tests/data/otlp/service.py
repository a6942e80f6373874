"""A small service whose telemetry is recorded: one healthy message, one whose AI call fails, one duplicate.

Arguments: source of spans (own or contrib), database file. Everything else by OTEL_* variables.
"""

import contextlib
import logging
import sys

from trueline.instrumentation import ai_call, bind_identity, bind_message, instrument

source, database = sys.argv[1:]
instrument(
    f"expenses-{source}",
    service_version="1.4.2",
    namespace="expenses",
    environment="golden",
    process_kind="worker",
    spans=source,
)

import sqlalchemy  # noqa: E402
from sqlalchemy import text  # noqa: E402

logger = logging.getLogger("expenses")
engine = sqlalchemy.create_engine(f"sqlite:///{database}")
with engine.begin() as connection:
    connection.execute(
        text("CREATE TABLE expenses (id INTEGER PRIMARY KEY, psid_hash TEXT, message TEXT UNIQUE)")
    )
INSERT = text("INSERT INTO expenses (psid_hash, message) VALUES (:psid_hash, :message)")


@bind_identity(lambda psid, message, fails: psid, entry="handle message")
def handle(psid: str, message: str, fails: bool) -> None:
    with bind_message(message), engine.begin() as connection:
        connection.execute(INSERT, {"psid_hash": psid, "message": message})
        with ai_call("chat", model="small-1", provider="acme"):
            if fails:
                raise TimeoutError(message)
    logger.warning("stored %s", message, extra={"message_length": len(message)})


handle("12345", "m-1", fails=False)
with contextlib.suppress(TimeoutError):
    handle("12345", "m-2", fails=True)
with contextlib.suppress(sqlalchemy.exc.IntegrityError):
    handle("67890", "m-1", fails=False)
with engine.connect() as connection:
    connection.execute(text("SELECT id FROM expenses WHERE psid_hash = :psid"), {"psid": "12345"}).all()
