"""OTLP's protobuf encoding of log records: field numbers of opentelemetry-proto's ``logs.proto``."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

from trueline.instrumentation import wire

_TIME: Final = struct.Struct("<BQ")
_FLAGS: Final = struct.Struct("<BI")
_PLAIN: Final = (str, bool, int, float, bytes)


def encode_record(readable: Any) -> list[bytes] | None:
    """A record of the SDK in pieces; None if it has what is not encoded here."""
    record = readable.log_record
    attributes: Mapping[str, Any] = record.attributes or {}
    if not isinstance(record.body, _PLAIN) or not all(map(_is_plain, attributes.values())):
        return None
    severity = record.severity_number
    pieces = [
        _TIME.pack(0x09, record.timestamp) if record.timestamp else b"",
        b"\x10" + wire.varint(severity.value) if severity is not None and severity.value else b"",
        wire.text(b"\x1a", record.severity_text) if record.severity_text else b"",
        wire.field(b"\x2a", wire.any_value(record.body)),
        wire.encode_attributes(attributes, b"\x32"),
        b"\x38" + wire.varint(readable.dropped_attributes) if readable.dropped_attributes else b"",
        _FLAGS.pack(0x45, int(record.trace_flags)) if record.trace_flags else b"",
        b"\x4a\x10" + record.trace_id.to_bytes(16, "big") if record.trace_id else b"",
        b"\x52\x08" + record.span_id.to_bytes(8, "big") if record.span_id else b"",
        _TIME.pack(0x59, record.observed_timestamp) if record.observed_timestamp else b"",
        wire.text(b"\x62", record.event_name) if record.event_name else b"",
    ]
    return pieces


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(isinstance(one, _PLAIN) for one in value)
    return isinstance(value, _PLAIN)
