"""OTLP's JSON form: protobuf's JSON mapping, but with ids in hex instead of base64."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final, TypeVar

from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import Message  # type: ignore[import-untyped]

from trueline.monitor.otlp.errors import MalformedBodyError, TooLargeError
from trueline.monitor.otlp.wire import MAX_MESSAGES

M = TypeVar("M", bound=Message)

_ID_KEYS: Final = (
    "traceId", "spanId", "parentSpanId",
    "trace_id", "span_id", "parent_span_id",
)  # fmt: skip
#: Where items are, as (resource list, scope list, item list); the second spelling is protobuf's own.
_PATHS: Final = (
    (("resourceSpans", "resource_spans"), ("scopeSpans", "scope_spans"), ("spans",)),
    (("resourceLogs", "resource_logs"), ("scopeLogs", "scope_logs"), ("logRecords", "log_records")),
)


def parse(body: bytes, message: M) -> M:
    """Fill ``message`` from a JSON body, ignoring fields that it does not know.

    An id that is not hex becomes one of a wrong length, so that its item is refused and not the request.
    Raise MalformedBodyError, or TooLargeError for more values than a request may hold.
    """
    # A container takes at least one of these two characters; those in texts make this an overestimate.
    if body.count(b"{") + body.count(b"[") > MAX_MESSAGES:
        raise TooLargeError(f"one request may hold {MAX_MESSAGES:,} values: send smaller batches")
    try:
        document = json.loads(body)
        if not isinstance(document, dict):
            raise MalformedBodyError("the JSON is not an object")
        _convert_ids(document)
        json_format.ParseDict(document, message, ignore_unknown_fields=True)
    except RecursionError as error:
        raise MalformedBodyError("the JSON is nested too deeply") from error
    except (ValueError, json_format.ParseError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise MalformedBodyError(f"the JSON cannot be read: {reason}") from error
    return message


def _convert_ids(document: dict[str, Any]) -> None:
    for resource_keys, scope_keys, item_keys in _PATHS:
        for resource in _objects(document, resource_keys):
            for scope in _objects(resource, scope_keys):
                for item in _objects(scope, item_keys):
                    _convert(item)
                    for link in _objects(item, ("links",)):
                        _convert(link)


def _objects(parent: dict[str, Any], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """The objects in the lists under ``keys``; anything else is left for the parser to refuse."""
    found: list[dict[str, Any]] = []
    for key in keys:
        values = parent.get(key)
        if isinstance(values, list):
            found.extend(value for value in values if isinstance(value, dict))
    return found


def _convert(item: dict[str, Any]) -> None:
    for key in _ID_KEYS:
        value = item.get(key)
        if isinstance(value, str):
            try:
                raw = binascii.unhexlify(value)
            except ValueError:
                raw = b"?"
            item[key] = base64.b64encode(raw).decode("ascii")
