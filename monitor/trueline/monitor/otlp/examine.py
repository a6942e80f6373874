"""What of a parsed request can be stored: items out of bounds are taken out and counted, the rest is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from trueline.monitor.otlp.decode import record_problem, span_problem

#: Attributes of one item, and events and links of a span.
MAX_ATTRIBUTES: Final = 1024
#: One span with its events, or one log record.
MAX_ITEM_BYTES: Final = 1 << 20
#: What all spans of a service share is stored with each of them.
MAX_RESOURCE_BYTES: Final = 64 << 10


@dataclass(slots=True)
class Verdict:
    """How many items are left, and why others are not."""

    items: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def rejected(self) -> int:
        """How many items were taken out."""
        return sum(self.reasons.values())

    @property
    def sentence(self) -> str:
        """The reasons in one sentence, empty if nothing was taken out."""
        return "; ".join(f"{count} left out: {reason}" for reason, count in self.reasons.items())


def examine_traces(message: ExportTraceServiceRequest, size: int) -> Verdict:
    """Take out of ``message`` what cannot be stored. ``size`` is the message's length in bytes."""
    return _examine(
        ((r, [s.spans for s in r.scope_spans]) for r in message.resource_spans), span_problem, size
    )


def examine_logs(message: ExportLogsServiceRequest, size: int) -> Verdict:
    """Take out of ``message`` what cannot be stored. ``size`` is the message's length in bytes."""
    return _examine(
        ((r, [s.log_records for s in r.scope_logs]) for r in message.resource_logs), record_problem, size
    )


def _examine(resources: Iterator[tuple[Any, list[Any]]], problem: Callable[[Any], str], size: int) -> Verdict:
    verdict = Verdict()
    for resource, lists in resources:
        too_wide = ""
        if size > MAX_RESOURCE_BYTES and resource.resource.ByteSize() > MAX_RESOURCE_BYTES:
            too_wide = f"its resource has more than {MAX_RESOURCE_BYTES >> 10} KiB"
        for items in lists:
            reasons = [too_wide or problem(item) or _width_problem(item, size) for item in items]
            if any(reasons):
                kept = [item for item, reason in zip(items, reasons, strict=True) if not reason]
                for reason in filter(None, reasons):
                    verdict.reasons[reason] = verdict.reasons.get(reason, 0) + 1
                # A slice cannot be assigned: copy, empty, fill.
                copies = [type(item).FromString(item.SerializeToString()) for item in kept]
                del items[:]
                items.extend(copies)
            verdict.items += len(items)
    return verdict


def _width_problem(item: Any, size: int) -> str:
    if len(item.attributes) > MAX_ATTRIBUTES:
        return f"it has more than {MAX_ATTRIBUTES:,} attributes"
    # A small body cannot hold a large item: asking each costs as much as all else.
    if size > MAX_ITEM_BYTES and item.ByteSize() > MAX_ITEM_BYTES:
        return f"it has more than {MAX_ITEM_BYTES >> 20} MiB"
    return ""


def is_plain(message: Any) -> bool:
    """Whether the engine can express every value: no map, no array in an array, no key twice, no NaN."""
    for resource in getattr(message, "resource_spans", ()):
        if not _plain_pairs(resource.resource.attributes):
            return False
        for scope in resource.scope_spans:
            for span in scope.spans:
                if not _plain_pairs(span.attributes):
                    return False
                if not all(_plain_pairs(one.attributes) for one in (*span.events, *span.links)):
                    return False
    for resource in getattr(message, "resource_logs", ()):
        if not _plain_pairs(resource.resource.attributes):
            return False
        for scope in resource.scope_logs:
            if not _plain_pairs(scope.scope.attributes):
                return False
            for record in scope.log_records:
                if not (_plain_pairs(record.attributes) and _plain(record.body)):
                    return False
    return True


def _plain_pairs(pairs: Any) -> bool:
    keys = {pair.key for pair in pairs}
    return len(keys) == len(pairs) and all(_plain_pair(pair) for pair in pairs)


def _plain_pair(pair: KeyValue) -> bool:
    return bool(pair.value.string_value) or _plain(pair.value)


def _plain(value: AnyValue) -> bool:
    match value.WhichOneof("value"):
        case "kvlist_value":
            return False
        case "double_value":
            return value.double_value - value.double_value == 0
        case "array_value":
            return all(
                one.WhichOneof("value") not in ("array_value", "kvlist_value")
                and _plain(one)
                and (not one.string_value or one.string_value.isprintable())
                for one in value.array_value.values
            )
        case _:
            return True
