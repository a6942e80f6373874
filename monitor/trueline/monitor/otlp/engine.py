# ruff: noqa: S608 - statements are put together from texts of this module
"""The embedded engine decodes OTLP: one INSERT reads the bodies of many requests from a file.

A body is written in protobuf's own delimited form, behind its length, with the request's hash as a further
field. It is always what our parser serialised again, never what a client sent: so the engine meets no
malformed bytes, no field twice and no unknown field, and there is one opinion on what a request means. The
columns are those of :mod:`trueline.monitor.otlp.decode`, value for value; what the engine's format cannot
express (a map or an array inside a value, a key twice) makes the INSERT fail with :data:`ODD`, before
anything is stored, and such a request is decoded by Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from trueline.instrumentation.clickhouse.columns import LOG_COLUMNS, MAX_NANOSECONDS, TRACE_COLUMNS

SCHEMA: Final = Path(__file__).with_name("engine.proto")
#: The text by which a failed INSERT is known to have met a value that the engine cannot express.
ODD: Final = "trueline: a value for the other decoder"
#: Column of every raw table that holds the hash of the request that brought the row.
REQUEST: Final = "request_hash"

_KIND: Final = (
    "Enum8('no' = 0, 'string_value' = 1, 'bool_value' = 2, 'int_value' = 3, 'double_value' = 4, "
    "'array_value' = 5, 'kvlist_value' = 6, 'bytes_value' = 7)"
)
_SCALARS: Final = (
    "string_value String, bool_value Bool, int_value Int64, double_value Float64, bytes_value String"
)
#: A field without a column leaves no trace in ``kind``: those that are looked for only are columns too.
_LEAF: Final = f"Tuple({_SCALARS}, array_value String, kvlist_value String, kind {_KIND})"
_VALUE: Final = (
    f"Tuple({_SCALARS}, array_value Tuple(values Array({_LEAF})), kvlist_value String, kind {_KIND})"
)
_PAIRS: Final = f"Array(Tuple(key String, value {_VALUE}))"
_RESOURCE: Final = f"resource Tuple(attributes {_PAIRS})"
_SPAN: Final = (
    "Tuple(trace_id String, span_id String, trace_state String, parent_span_id String, name String, "
    f"kind Int32, start_time_unix_nano UInt64, end_time_unix_nano UInt64, attributes {_PAIRS}, "
    f"events Array(Tuple(time_unix_nano UInt64, name String, attributes {_PAIRS})), "
    f"links Array(Tuple(trace_id String, span_id String, trace_state String, attributes {_PAIRS})), "
    "status Tuple(message String, code Int32))"
)
_RECORD: Final = (
    f"Tuple(time_unix_nano UInt64, severity_number Int32, severity_text String, body {_VALUE}, "
    f"attributes {_PAIRS}, flags UInt32, trace_id String, span_id String, observed_time_unix_nano UInt64, "
    "event_name String)"
)
_TRACES: Final = (
    f"resource_spans Array(Tuple({_RESOURCE}, scope_spans Array(Tuple("
    f"scope Tuple(name String, version String), spans Array({_SPAN}))))), request String"
)
_LOGS: Final = (
    f"resource_logs Array(Tuple({_RESOURCE}, scope_logs Array(Tuple(scope Tuple(name String, version String, "
    f"attributes {_PAIRS}), log_records Array({_RECORD}), schema_url String)), schema_url String)), "
    "request String, arrived_unix_nano UInt64"
)
#: The rows of one INSERT are one part, so that no request is ever stored in part.
_SETTINGS: Final = (
    "input_format_protobuf_oneof_presence = 1, input_format_parallel_parsing = 0, max_insert_threads = 1, "
    "max_threads = 1, max_block_size = 1000000, max_insert_block_size = 1000000, "
    "min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 4000000000, "
    "output_format_json_escape_forward_slashes = 0"
)


def varint(number: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


#: Characters that the engine's JSON escapes with other letters than Go's.
_CONTROLS: Final = ", ".join(f"char({number})" for number in (11, 14, 15, *range(26, 32)))


def _double(value: str) -> str:
    """As Go writes it: an exponent has its sign; there is no number for NaN and infinity."""
    return f"if(abs({value}) >= 1e21, replaceOne(toString({value}), 'e', 'e+'), toString({value}))"


def _json(text: str) -> str:
    """A JSON string as Go writes it."""
    quoted = f"toJSONString({text})"
    for character, escaped in (("<", "003c"), (">", "003e"), ("&", "0026")):
        quoted = f"replaceAll({quoted}, '{character}', '\\\\u{escaped}')"
    for character, escaped in (("\\xE2\\x80\\xA8", "2028"), ("\\xE2\\x80\\xA9", "2029")):
        quoted = f"replaceAll({quoted}, '{character}', '\\\\u{escaped}')"
    return quoted


def _leaf(leaf: str) -> str:
    return (
        f"multiIf({leaf}.kind = 'string_value', {_json(f'{leaf}.string_value')}, "
        f"{leaf}.kind = 'int_value', toString({leaf}.int_value), "
        f"{leaf}.kind = 'bool_value', if({leaf}.bool_value, 'true', 'false'), "
        f"{leaf}.kind = 'double_value', {_double(f'{leaf}.double_value')}, "
        f"{leaf}.kind = 'bytes_value', concat('\"', base64Encode({leaf}.bytes_value), '\"'), 'null')"
    )


def _value(value: str) -> str:
    return (
        f"multiIf({value}.kind = 'string_value', {value}.string_value, "
        f"{value}.kind = 'int_value', toString({value}.int_value), "
        f"{value}.kind = 'bool_value', if({value}.bool_value, 'true', 'false'), "
        f"{value}.kind = 'array_value', concat('[', "
        f"arrayStringConcat(arrayMap(leaf -> {_leaf('leaf')}, {value}.array_value.values), ','), ']'), "
        f"{value}.kind = 'double_value', {_double(f'{value}.double_value')}, "
        f"{value}.kind = 'bytes_value', base64Encode({value}.bytes_value), '')"
    )


def _odd(value: str) -> str:
    """Whether a value is one that only the other decoder can express."""
    return (
        f"({value}.kind = 'kvlist_value' "
        f"OR ({value}.kind = 'double_value' AND NOT isFinite({value}.double_value)) "
        f"OR arrayExists(leaf -> leaf.kind IN ('array_value', 'kvlist_value') OR "
        f"multiSearchAny(leaf.string_value, [{_CONTROLS}]) OR "
        f"(leaf.kind = 'double_value' AND NOT isFinite(leaf.double_value)), {value}.array_value.values))"
    )


def _map(pairs: str) -> str:
    return f"mapFromArrays({pairs}.key, arrayMap(value -> {_value('value')}, {pairs}.value))"


def _odd_map(pairs: str) -> str:
    twice = f"arrayUniq({pairs}.key) != length({pairs}.key)"
    return f"({twice} OR arrayExists(value -> {_odd('value')}, {pairs}.value))"


def _time(nanoseconds: str) -> str:
    return f"fromUnixTimestamp64Nano(reinterpretAsInt64({nanoseconds}))"


def _id(value: str, zeros: int) -> str:
    return f"if({value} = unhex('{'00' * zeros}'), '', lower(hex({value})))"


_TRACE_VALUES: Final = {
    "Timestamp": _time("s.start_time_unix_nano"),
    "TraceId": "lower(hex(s.trace_id))",
    "SpanId": "lower(hex(s.span_id))",
    "ParentSpanId": _id("s.parent_span_id", 8),
    "TraceState": "s.trace_state",
    "SpanName": "s.name",
    "SpanKind": "transform(s.kind, [1, 2, 3, 4, 5], "
    "['Internal', 'Server', 'Client', 'Producer', 'Consumer'], 'Unspecified')",
    "ServiceName": "resource_map['service.name']",
    "ResourceAttributes": "resource_map",
    "ScopeName": "scope_name",
    "ScopeVersion": "scope_version",
    "SpanAttributes": _map("s.attributes"),
    "Duration": "if(s.end_time_unix_nano > s.start_time_unix_nano, "
    "s.end_time_unix_nano - s.start_time_unix_nano, 0)",
    "StatusCode": "transform(s.status.code, [1, 2], ['Ok', 'Error'], 'Unset')",
    "StatusMessage": "s.status.message",
    "Events.Timestamp": f"arrayMap(t -> {_time(f'least(t, {MAX_NANOSECONDS})')}, s.events.time_unix_nano)",
    "Events.Name": "s.events.name",
    "Events.Attributes": f"arrayMap(pairs -> {_map('pairs')}, s.events.attributes)",
    "Links.TraceId": "arrayMap(id -> lower(hex(id)), s.links.trace_id)",
    "Links.SpanId": "arrayMap(id -> lower(hex(id)), s.links.span_id)",
    "Links.TraceState": "s.links.trace_state",
    "Links.Attributes": f"arrayMap(pairs -> {_map('pairs')}, s.links.attributes)",
}
_LOG_VALUES: Final = {
    "Timestamp": _time(
        "multiIf(l.time_unix_nano != 0, l.time_unix_nano, "
        "l.observed_time_unix_nano != 0, l.observed_time_unix_nano, arrived)"
    ),
    "TraceId": _id("l.trace_id", 16),
    "SpanId": _id("l.span_id", 8),
    "TraceFlags": "toUInt8(bitAnd(l.flags, 255))",
    "SeverityText": "l.severity_text",
    "SeverityNumber": "toUInt8(least(greatest(l.severity_number, 0), 255))",
    "ServiceName": "resource_map['service.name']",
    "Body": _value("l.body"),
    "ResourceSchemaUrl": "resource_url",
    "ResourceAttributes": "resource_map",
    "ScopeSchemaUrl": "scope_url",
    "ScopeName": "scope_name",
    "ScopeVersion": "scope_version",
    "ScopeAttributes": "scope_map",
    "LogAttributes": _map("l.attributes"),
    "EventName": "l.event_name",
}


def _insert(table: str, values: dict[str, str], columns: Sequence[str], odd: str, source: str) -> str:
    names = ", ".join(f"`{name}`" for name in (*columns, REQUEST))
    selected = ", ".join(values[name] for name in columns)
    return (
        f"INSERT INTO {table} ({names}) SELECT {selected}, toFixedString(request, 16) FROM ({source}) "
        f"WHERE throwIf({odd}, '{ODD}') = 0"
    )


def _any(*conditions: str) -> str:
    return " OR ".join(conditions)


def _statement(table: str, file: str) -> str:
    columns: Sequence[str]
    if table == "otel_traces":
        structure, message = _TRACES, "Traces"
        source = (
            "SELECT request, resource_map, resource_odd, sc.scope.name AS scope_name, "
            "sc.scope.version AS scope_version, arrayJoin(sc.spans) AS s FROM ("
            f"SELECT request, {_map('r.resource.attributes')} AS resource_map, "
            f"{_odd_map('r.resource.attributes')} AS resource_odd, arrayJoin(r.scope_spans) AS sc FROM ("
            "SELECT request, arrayJoin(resource_spans) AS r FROM {file}))"
        )
        odd = _any(
            "resource_odd",
            _odd_map("s.attributes"),
            f"arrayExists(pairs -> {_odd_map('pairs')}, s.events.attributes)",
            f"arrayExists(pairs -> {_odd_map('pairs')}, s.links.attributes)",
        )
        values, columns = _TRACE_VALUES, TRACE_COLUMNS
    else:
        structure, message = _LOGS, "Logs"
        source = (
            "SELECT request, arrived, resource_map, resource_odd, resource_url, sc.scope.name AS scope_name, "
            f"sc.scope.version AS scope_version, {_map('sc.scope.attributes')} AS scope_map, "
            f"{_odd_map('sc.scope.attributes')} AS scope_odd, sc.schema_url AS scope_url, "
            "arrayJoin(sc.log_records) AS l FROM ("
            f"SELECT request, arrived, {_map('r.resource.attributes')} AS resource_map, "
            f"{_odd_map('r.resource.attributes')} AS resource_odd, r.schema_url AS resource_url, "
            "arrayJoin(r.scope_logs) AS sc FROM ("
            "SELECT request, arrived_unix_nano AS arrived, arrayJoin(resource_logs) AS r FROM {file}))"
        )
        odd = _any("resource_odd", "scope_odd", _odd_map("l.attributes"), _odd("l.body"))
        values, columns = _LOG_VALUES, LOG_COLUMNS
    escaped = structure.replace("'", "\\'")
    call = f"file('{file}', 'Protobuf', '{escaped}')"
    return (
        _insert(table, values, columns, odd, source.replace("{file}", call))
        + f" SETTINGS format_schema = '{SCHEMA}:{message}', {_SETTINGS}"
    )


#: Statements with a place for the file: making one takes longer than parsing it.
_TEMPLATES: Final = {table: _statement(table, "{path}") for table in ("otel_traces", "otel_logs")}


def insert_statement(table: str, file: Path, token: str = "") -> str:
    """The INSERT that reads the requests in ``file`` into ``otel_traces`` or ``otel_logs``.

    Under one ``token`` (letters and digits) the same requests are stored once.
    """
    path = str(file).replace("\\", "\\\\").replace("'", "\\'")
    statement = _TEMPLATES[table].replace("{path}", path)
    return f"{statement}, insert_deduplication_token = '{token}'" if token else statement


#: Field 1000 (bytes) and field 1001 (fixed64) of the messages, as tags on the wire.
_REQUEST_TAG: Final = varint(1000 << 3 | 2)
_ARRIVED_TAG: Final = varint(1001 << 3 | 1)


def frame(requests: Iterable[tuple[bytes, bytes]], arrived: int) -> list[bytes]:
    """Write requests as the statement reads them: ``(hash, body)``, 16 bytes and a serialised message each.

    ``arrived`` is the time, in nanoseconds, of log records that have none.
    """
    parts: list[bytes] = []
    for request, body in requests:
        tail = b"".join(
            (_REQUEST_TAG, varint(len(request)), request, _ARRIVED_TAG, arrived.to_bytes(8, "little"))
        )
        parts += (varint(len(body) + len(tail)), body, tail)
    return parts
