"""One short service in one of the ways in which services are seen well, badly or not at all.

Arguments: the way, and an SQLite file whose tables it makes. The environment says the rest, as in production.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

from sqlalchemy import Engine, create_engine, text

from trueline.instrumentation import ai_call, bind_identity, instrument

INSERT = text("INSERT INTO expenses (user_id, amount) VALUES (:user, 1)")
USERS = [str(number) for number in range(12345, 12355)]


def tables(path: str) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 60})
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE IF NOT EXISTS expenses (id INTEGER PRIMARY KEY, user_id TEXT, amount INTEGER)"
        )
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS audit (id INTEGER PRIMARY KEY, said TEXT)")
    return engine


def requests(engine: Engine) -> None:
    """Ten writes by a column, one by the bound identity, one that names nobody; ten reads."""
    for user in USERS:
        with bind_identity(user, entry="POST /expenses"), engine.begin() as connection:
            connection.execute(INSERT, {"user": user})
            connection.execute(
                text("SELECT amount FROM expenses WHERE user_id = :user"), {"user": user}
            ).all()
    with bind_identity("12345", entry="PATCH /expenses"), engine.begin() as connection:
        with ai_call("chat"):
            pass
        connection.execute(text("UPDATE expenses SET amount = 2 WHERE id = :id"), {"id": 1})
        connection.execute(text("INSERT INTO audit (said) VALUES ('changed')"))


def well(path: str) -> None:
    instrument()
    requests(tables(path))


def unbound(path: str) -> None:
    """No entry spans, and textual SQL that names nobody."""
    instrument()
    engine = tables(path)
    with engine.begin() as connection:
        connection.execute(text("UPDATE expenses SET amount = 3 WHERE id = :id"), {"id": 1})


def raw(path: str) -> None:
    """Half of the work goes through the driver alone."""
    instrument()
    engine = tables(path)
    requests(engine)
    connection = engine.raw_connection()
    connection.cursor().execute("INSERT INTO audit (said) VALUES ('never committed')")
    connection.close()


def plain(path: str) -> None:
    """OpenTelemetry's own instrumentation, without Trueline."""
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    instrumentor: Any = SQLAlchemyInstrumentor()
    instrumentor.instrument(tracer_provider=provider, skip_dep_check=True)
    with tables(path).begin() as connection:
        connection.execute(INSERT, {"user": "12345"})


def logs(path: str) -> None:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    logging.getLogger().addHandler(LoggingHandler(logger_provider=provider))
    logging.getLogger("shop").warning("nothing but this")
    provider.shutdown()


def lost(path: str) -> None:
    """Nobody takes its spans; its logs arrive."""
    from trueline.instrumentation import setup

    instrument()
    requests(tables(path))
    assert setup._installed is not None
    setup._installed.provider.force_flush()  # type: ignore[attr-defined]


def mixed(path: str) -> None:
    """One database that can be told from any other, and one in the process's own memory."""
    instrument()
    requests(tables(path))
    requests(tables(":memory:"))


def derived(path: str) -> None:
    """A table that keeps what a function of the application's makes of its users."""
    to_int = importlib.import_module("shop_ids").clerk_user_id_to_int
    instrument()
    engine = tables(path)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY, visitor INTEGER)"
        )
    for user in ("user_2abCD", "user_9xyZ"):
        with bind_identity(user, entry="POST /visits"), engine.begin() as connection:
            connection.execute(
                text("INSERT INTO visits (visitor) VALUES (:visitor)"), {"visitor": to_int(user)}
            )


WAYS = (well, unbound, raw, plain, logs, lost, mixed, derived)

if __name__ == "__main__":
    {way.__name__: way for way in WAYS}[sys.argv[1]](sys.argv[2])
