"""The embedded engine's decoder of OTLP means what the Python decoder means, value for value."""

from __future__ import annotations

import itertools
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from trueline.instrumentation.clickhouse.columns import LOG_COLUMNS, TRACE_COLUMNS
from trueline.monitor.errors import QueryError
from trueline.monitor.otlp import engine
from trueline.monitor.otlp.decode import decode_logs, decode_traces
from trueline.monitor.store.client import Store
from trueline.monitor.store.migrate import read_migrations

DATA = Path(__file__).parents[1] / "data" / "otlp"
_numbers = itertools.count(1)
NOW = 1_790_000_000_000_000_000

#: Of these the engine spells the JSON escape in capitals: in arrays they are left to Python.
CONTROLS = "\x0b\x0e\x0f\x1a\x1b\x1c\x1d\x1e\x1f"
texts = st.text(st.characters(codec="utf-8", exclude_characters=CONTROLS), max_size=12) | st.sampled_from(
    ["", 'a"b\\c/d', "<a href='x'>&amp;", "\u2028\u2029", "\0\x01\b\f\n\r\t\x19\x7f", "é\U0001f600", "{}[]"]
)
doubles = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [0.0, -0.0, 1.0, 0.5, 1e20, 1e21, -1.5e300, 1e-6, 9.9e-7, 1e-9, 123456789.125, 2**53 + 2.0, 5e-324]
)


def scalar() -> st.SearchStrategy[AnyValue]:
    return st.one_of(
        texts.map(lambda value: AnyValue(string_value=value)),
        st.booleans().map(lambda value: AnyValue(bool_value=value)),
        st.integers(-(2**63), 2**63 - 1).map(lambda value: AnyValue(int_value=value)),
        doubles.map(lambda value: AnyValue(double_value=value)),
        st.binary(max_size=6).map(lambda value: AnyValue(bytes_value=value)),
        st.just(AnyValue()),
    )


def plain_values() -> st.SearchStrategy[AnyValue]:
    arrays = st.lists(scalar(), max_size=4).map(
        lambda values: AnyValue(array_value=ArrayValue(values=values))
    )
    return scalar() | arrays


def pairs(values: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[list[KeyValue]]:
    return st.dictionaries(texts, values, max_size=4).map(
        lambda items: [KeyValue(key=key, value=value) for key, value in items.items()]
    )


times = st.sampled_from([0, 1, NOW, NOW + 12345, 2**63 - 1])


@st.composite
def trace_requests(draw: st.DrawFn) -> ExportTraceServiceRequest:
    message = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(1, 2))):
        resource = message.resource_spans.add()
        resource.resource.attributes.extend(draw(pairs(plain_values())))
        if draw(st.booleans()):
            resource.resource.attributes.add(key="service.name").value.string_value = draw(texts)
        for _ in range(draw(st.integers(0, 2))):
            scope = resource.scope_spans.add()
            scope.scope.name, scope.scope.version = draw(texts), draw(texts)
            for _ in range(draw(st.integers(0, 3))):
                span = scope.spans.add(
                    trace_id=draw(st.binary(min_size=16, max_size=16)),
                    span_id=draw(st.binary(min_size=8, max_size=8)),
                    parent_span_id=draw(st.sampled_from([b"", bytes(8), bytes(range(8))])),
                    trace_state=draw(texts),
                    name=draw(texts),
                    kind=draw(st.integers(-1, 7)),
                    start_time_unix_nano=draw(times),
                    end_time_unix_nano=draw(times),
                    flags=draw(st.integers(0, 300)),
                )
                span.attributes.extend(draw(pairs(plain_values())))
                span.status.code, span.status.message = draw(st.integers(-1, 4)), draw(texts)
                for _ in range(draw(st.integers(0, 2))):
                    span.events.add(
                        time_unix_nano=draw(st.sampled_from([0, NOW, 2**64 - 1])), name=draw(texts)
                    ).attributes.extend(draw(pairs(plain_values())))
                for _ in range(draw(st.integers(0, 2))):
                    span.links.add(
                        trace_id=draw(st.binary(max_size=20)), span_id=draw(st.binary(max_size=9))
                    ).attributes.extend(draw(pairs(plain_values())))
    return message


@st.composite
def log_requests(draw: st.DrawFn) -> ExportLogsServiceRequest:
    message = ExportLogsServiceRequest()
    resource = message.resource_logs.add(schema_url=draw(texts))
    resource.resource.attributes.extend(draw(pairs(plain_values())))
    scope = resource.scope_logs.add(schema_url=draw(texts))
    scope.scope.name = draw(texts)
    scope.scope.attributes.extend(draw(pairs(plain_values())))
    for _ in range(draw(st.integers(0, 4))):
        record = scope.log_records.add(
            time_unix_nano=draw(times),
            observed_time_unix_nano=draw(times),
            severity_number=draw(st.integers(-3, 30)),
            severity_text=draw(texts),
            flags=draw(st.integers(0, 2**32 - 1)),
            trace_id=draw(st.sampled_from([b"", bytes(16), bytes(range(16))])),
            span_id=draw(st.sampled_from([b"", bytes(8), bytes(range(8))])),
            event_name=draw(texts),
        )
        record.body.CopyFrom(draw(plain_values()))
        record.attributes.extend(draw(pairs(plain_values())))
    return message


def rows_of(store: Store, table: str, request: bytes) -> list[tuple[Any, ...]]:
    columns = LOG_COLUMNS if table == "otel_logs" else TRACE_COLUMNS
    shown = ", ".join(
        "toUnixTimestamp64Nano(Timestamp)"
        if name == "Timestamp"
        else "arrayMap(t -> toUnixTimestamp64Nano(t), `Events.Timestamp`)"
        if name == "Events.Timestamp"
        else f"`{name}`"
        for name in columns
    )
    rows = store.query(
        f"SELECT {shown} FROM {table} WHERE request_hash = unhex({{hash:String}})", {"hash": request.hex()}
    )
    return sorted(rows.rows, key=repr)


def by_engine(store: Store, table: str, message: Any, folder: Path) -> list[tuple[Any, ...]]:
    request = next(_numbers).to_bytes(16, "big")
    file = folder / "bodies"
    file.write_bytes(b"".join(engine.frame([(request, message.SerializeToString())], NOW)))
    store.command(engine.insert_statement(table, file))
    return rows_of(store, table, request)


def by_python(store: Store, table: str, message: Any) -> list[tuple[Any, ...]]:
    request = next(_numbers).to_bytes(16, "big")
    batch = decode_logs(message, NOW) if table == "otel_logs" else decode_traces(message)
    assert not batch.rejected
    if batch.rows:
        store.insert(table, {**batch.columns, "request_hash": [request] * batch.rows})
    return rows_of(store, table, request)


@pytest.fixture
def store(empty_store: Store) -> Store:
    """The raw tables alone: what the views make of them is tested elsewhere, and takes longer."""
    for migration in read_migrations():
        if migration.number < 10:
            empty_store.command(migration.sql)
    return empty_store


FUZZ = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@FUZZ
@given(message=trace_requests())
def test_spans_become_the_same_rows(store: Store, tmp_path: Path, message: ExportTraceServiceRequest) -> None:
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            kept = [span for span in scope.spans if any(span.trace_id) and any(span.span_id)]
            del scope.spans[:]
            scope.spans.extend(kept)
    assert by_engine(store, "otel_traces", message, tmp_path) == by_python(store, "otel_traces", message)


@FUZZ
@given(message=log_requests())
def test_records_become_the_same_rows(
    store: Store, tmp_path: Path, message: ExportLogsServiceRequest
) -> None:
    assert by_engine(store, "otel_logs", message, tmp_path) == by_python(store, "otel_logs", message)


@pytest.mark.parametrize("name", ["own-traces.pb", "contrib-traces.pb"])
def test_recorded_services_become_the_same_rows(store: Store, tmp_path: Path, name: str) -> None:
    message = ExportTraceServiceRequest.FromString((DATA / name).read_bytes())
    rows = by_engine(store, "otel_traces", message, tmp_path)
    assert rows == by_python(store, "otel_traces", message)
    assert len(rows) > 5


@pytest.mark.parametrize(
    "value",
    [
        AnyValue(kvlist_value=KeyValueList()),
        AnyValue(double_value=math.nan),
        AnyValue(double_value=-math.inf),
        AnyValue(array_value=ArrayValue(values=[AnyValue(array_value=ArrayValue())])),
        AnyValue(array_value=ArrayValue(values=[AnyValue(kvlist_value=KeyValueList())])),
        AnyValue(array_value=ArrayValue(values=[AnyValue(double_value=math.inf)])),
        *(AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=f"a{one}b")])) for one in CONTROLS),
        "a key twice",
    ],
)
@pytest.mark.parametrize("place", ["resource", "span", "event", "link"])
def test_a_value_that_the_engine_cannot_express_stores_nothing(
    store: Store, tmp_path: Path, value: AnyValue | str, place: str
) -> None:
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    span = resource.scope_spans.add().spans.add(
        trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=time.time_ns()
    )
    where: Any = {
        "resource": resource.resource,
        "span": span,
        "event": span.events.add(),
        "link": span.links.add(),
    }[place]
    if isinstance(value, str):
        where.attributes.add(key="k").value.int_value = 1
        where.attributes.add(key="k").value.int_value = 2
    else:
        where.attributes.add(key="k").value.CopyFrom(value)
    with pytest.raises(QueryError, match=engine.ODD):
        by_engine(store, "otel_traces", message, tmp_path)
    assert store.query("SELECT count() FROM otel_traces").scalar() == 0
