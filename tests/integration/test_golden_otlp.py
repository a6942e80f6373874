"""Golden requests, as services and a Collector send them, through the decoder into the typed tables."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from trueline.instrumentation import semconv
from trueline.monitor.otlp import json as otlp_json
from trueline.monitor.otlp.decode import Batch, decode_logs, decode_traces
from trueline.monitor.store.client import Store

GOLDEN = Path(__file__).parents[1] / "data" / "otlp"


def traces(name: str) -> ExportTraceServiceRequest:
    body = (GOLDEN / name).read_bytes()
    message = ExportTraceServiceRequest()
    message.ParseFromString(gzip.decompress(body) if name.endswith(".gz") else body)
    return message


def insert(store: Store, batch: Batch) -> None:
    assert batch.rejected == 0
    store.insert(batch.table, batch.columns)


@pytest.mark.parametrize("name", ["own-traces.pb", "contrib-traces.pb"])
def test_both_span_sources_fill_the_same_rows(store: Store, name: str) -> None:
    insert(store, decode_traces(traces(name)))
    writes = store.query(
        "SELECT outcome, reason, tables, identity_columns, identity_encodings, entry_name, db_system,"
        " constraint_kind, operation, version, application, environment, process_kind, query_text"
        " FROM statements WHERE operation = 'INSERT' ORDER BY started_at"
    ).dicts()
    assert [(row["outcome"], row["reason"], row["constraint_kind"]) for row in writes] == [
        ("committed", "", ""),
        ("rolled_back", "exception", ""),
        ("rolled_back", "exception", "unique"),
    ]
    for row in writes:
        assert row["tables"] == ["expenses"]
        assert row["identity_columns"] == ["expenses.psid_hash"]
        assert row["identity_encodings"] == ["raw"]
        assert row["entry_name"] == "handle message"
        assert row["query_text"] == "INSERT INTO expenses (psid_hash, message) VALUES (?, ?)"
        assert (row["version"], row["application"], row["environment"], row["process_kind"]) == (
            "1.4.2",
            "expenses",
            "golden",
            "worker",
        )
    lost = store.query(
        "SELECT error_chain, error_from_ai, ai_errors FROM transactions WHERE reason = 'exception'"
        " ORDER BY started_at LIMIT 1"
    ).dicts()
    assert lost == [{"error_chain": ["TimeoutError"], "error_from_ai": True, "ai_errors": 1}]
    assert store.query("SELECT count() FROM entries WHERE entry_kind = 'job'").scalar() == 3
    assert store.query("SELECT countIf(failed), count() FROM ai_calls").rows == [(1, 2)]


def test_a_collectors_request_carries_both_services(store: Store) -> None:
    insert(store, decode_traces(traces("collector-traces.pb.gz")))
    body = (GOLDEN / "collector-logs.json").read_bytes()
    insert(store, decode_logs(otlp_json.parse(body, ExportLogsServiceRequest())))
    services = store.query("SELECT DISTINCT service FROM statements ORDER BY service").rows
    assert services == [("expenses-contrib",), ("expenses-own",)]
    hosts = store.query("SELECT DISTINCT ResourceAttributes['k8s.namespace.name'] FROM otel_traces").rows
    assert hosts == [("shop",)]
    events = store.query(
        "SELECT count() FROM otel_logs WHERE EventName = {name:String}",
        {"name": semconv.EVENT_DATABASE_CONNECTED},
    ).scalar()
    assert events == 2
    matched = store.query(
        "SELECT count() FROM otel_logs AS l WHERE Body = 'stored %s'"
        " AND TraceId IN (SELECT trace_id FROM entries)"
    ).scalar()
    assert matched == 2


def test_every_attribute_that_was_sent_is_in_the_contract() -> None:
    """What the instrumentation writes under its own names is registered, with the registered type."""
    kinds = {
        "string": "string_value",
        "int": "int_value",
        "double": "double_value",
        "boolean": "bool_value",
        "string[]": "array_value",
    }
    for name in ("own-traces.pb", "contrib-traces.pb"):
        for resource in traces(name).resource_spans:
            spans = [span for scope in resource.scope_spans for span in scope.spans]
            for span in spans:
                for attribute in span.attributes:
                    if not attribute.key.startswith("trueline."):
                        continue
                    entry = semconv.ATTRIBUTES[attribute.key]
                    assert attribute.value.WhichOneof("value") == kinds[entry.type], attribute.key
                    if entry.values and entry.type == "string":
                        assert attribute.value.string_value in entry.values, attribute.key
