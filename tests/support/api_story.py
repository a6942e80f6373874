"""A small story in a store, at fixed times: written and read elsewhere; rolled back by an AI error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from trueline.instrumentation.identity import IdentityHasher, canonicalize
from trueline.monitor.store.client import Store

SECRET: Final = "a secret of the services"
HASHER: Final = IdentityHasher(SECRET)
ANN: Final = HASHER.export("user", canonicalize("12345"))
BOB: Final = HASHER.export("user", canonicalize("67890"))
CLEO: Final = HASHER.export("user", canonicalize("24680"))
#: What "now" is in the story. Not far back: the store's partitions and clocks are real.
NOW: Final = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MAIN: Final[dict[str, Any]] = {
    "database": "aa" * 8,
    "database_rungs": ["system_identifier:" + "aa" * 8, "endpoint:" + "a1" * 8],
    "database_schema": "public",
    "database_role": "primary",
    "database_url": "postgresql://db/main",
    "database_url_variable": "DATABASE_URL",
    "db_namespace": "main",
    "db_system": "postgresql",
}
OLD: Final[dict[str, Any]] = {
    **MAIN,
    "database": "bb" * 8,
    "database_rungs": ["system_identifier:" + "bb" * 8, "endpoint:" + "b1" * 8],
    "database_url": "postgresql://db/old",
    "db_namespace": "old",
}
WEB: Final[dict[str, Any]] = {
    "service": "web",
    "version": "1.4",
    "process_kind": "web",
    "entry_name": "POST /webhook",
}
WORKER: Final[dict[str, Any]] = {
    "service": "worker",
    "version": "1.5",
    "process_kind": "worker",
    "entry_name": "summary job",
}
BY_HASH: Final[dict[str, Any]] = {
    "identity_columns": ["expenses.user_id_hash"],
    "identity_encodings": ["sha256"],
}
LOST: Final[dict[str, Any]] = {"outcome": "rolled_back", "reason": "exception"}


def touch(store: Store, kind: str, seconds_ago: float, who: str = ANN, **columns: Any) -> None:
    """One statement that touches somebody's row in expenses, so long before NOW."""
    at = NOW - timedelta(seconds=seconds_ago)
    mark = f"{round(seconds_ago * 1000):x}"
    row: dict[str, Any] = {
        "received_at": at + timedelta(seconds=1),
        "started_at": int(at.timestamp() * 1e9),
        "ended_at": int((at + timedelta(milliseconds=4)).timestamp() * 1e9),
        "kind": kind,
        "tables": ["expenses"],
        "operation": "INSERT" if kind == "write" else "SELECT",
        "environment": "production",
        "application": "tracker",
        "identity_columns": ["expenses.user_id"],
        "identity_clauses": ["set" if kind == "write" else "where"],
        "identity_encodings": ["integer"],
        "identity_values": [who],
        "identity_domains": ["user"],
        "hash_key_id": HASHER.key_id,
        "outcome": "committed",
        "rows": 1,
        "trace_id": mark.rjust(32, "0"),
        "span_id": mark.rjust(16, "0"),
        "transaction_id": mark.rjust(16, "f"),
        "sample_ratio": 1.0,
        **MAIN,
        **(WEB if kind == "write" else WORKER),
        **columns,
    }
    store.insert("statements", {name: [value] for name, value in row.items()})


def ai_error(store: Store, seconds_ago: float) -> None:
    """The transaction of the write so long ago, which an AI error rolled back."""
    at = NOW - timedelta(seconds=seconds_ago)
    mark = f"{round(seconds_ago * 1000):x}"
    shared = {
        "received_at": at + timedelta(seconds=1),
        "started_at": int(at.timestamp() * 1e9),
        "ended_at": int((at + timedelta(milliseconds=420)).timestamp() * 1e9),
        "trace_id": mark.rjust(32, "0"),
        "environment": "production",
        "application": "tracker",
        "service": "web",
    }
    transaction = {
        **shared,
        **LOST,
        "span_id": mark.rjust(16, "e"),
        "transaction_id": mark.rjust(16, "f"),
        "error_from_ai": True,
        "transaction_error_type": "httpx.ReadTimeout",
        "writes": 1,
    }
    call = {**shared, "span_id": mark.rjust(16, "d"), "failed": True, "error_type": "httpx.ReadTimeout"}
    store.insert("transactions", {name: [value] for name, value in transaction.items()})
    store.insert("ai_calls", {name: [value] for name, value in call.items()})


def spans(store: Store) -> str:
    """A trace of raw spans over two services, with a log line; its id."""
    trace = "c" * 32
    resource = {"service.version": "1.4", "deployment.environment.name": "production"}
    transaction = {
        "trueline.transaction.id": "f" * 16,
        "trueline.transaction.outcome": "rolled_back",
        "trueline.transaction.reason": "exception",
        "db.namespace": "main",
    }

    def span(number: int, name: str, after_ms: float, length_ms: float, **more: Any) -> None:
        at = NOW - timedelta(seconds=60) + timedelta(milliseconds=after_ms)
        row = {
            "Timestamp": int(at.timestamp() * 1e9),
            "TraceId": trace,
            "SpanId": f"{number:016x}",
            "ParentSpanId": "" if number == 1 else f"{1:016x}",
            "SpanName": name,
            "SpanKind": "Server" if number == 1 else "Client",
            "ServiceName": "web",
            "ResourceAttributes": resource,
            "Duration": int(length_ms * 1e6),
            "StatusCode": "Unset",
            "received_at": at + timedelta(seconds=1),
            **more,
        }
        store.insert("otel_traces", {key: [value] for key, value in row.items()})

    span(1, "POST /webhook", 0, 2600, SpanAttributes={"http.response.status_code": "200"})
    statement = {
        **transaction,
        "trueline.statement.kind": "write",
        "trueline.statement.tables": '["expenses"]',
        "trueline.statement.rows": "1",
        "trueline.entry.span_id": f"{1:016x}",
    }
    span(2, "INSERT expenses", 12, 4, SpanAttributes=statement)
    ended = {
        **transaction,
        "trueline.transaction.writes": "1",
        "trueline.statement.tables": '["expenses"]',
        "trueline.transaction.error_type": "httpx.ReadTimeout",
        "trueline.transaction.error_from_ai": "true",
    }
    span(3, "TRANSACTION main", 12.4, 2550, SpanAttributes=ended, StatusCode="Error")
    model = {
        "gen_ai.request.model": "category-1",
        "gen_ai.operation.name": "chat",
        "error.type": "httpx.ReadTimeout",
    }
    span(4, "chat category-1", 20, 2500, SpanAttributes=model, StatusCode="Error")
    at = NOW - timedelta(seconds=57.41)
    line = {
        "Timestamp": int(at.timestamp() * 1e9),
        "TraceId": trace,
        "SpanId": f"{1:016x}",
        "ServiceName": "web",
        "ResourceAttributes": resource,
        "SeverityText": "ERROR",
        "Body": "the expense was not stored",
        "received_at": at + timedelta(seconds=1),
    }
    store.insert("otel_logs", {key: [value] for key, value in line.items()})
    return trace


def tell(store: Store) -> None:
    """Ann is read elsewhere, Bob's write is lost, Cleo is well."""
    touch(store, "write", 90)
    touch(store, "read", 80, rows=0, **OLD)
    touch(store, "write", 70, BOB, **LOST)
    ai_error(store, 70)
    touch(store, "read", 68, BOB, rows=0)
    touch(store, "write", 50, CLEO)
    touch(store, "read", 45, CLEO)
    spans(store)
