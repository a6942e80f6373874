"""Spans and log records of traces, as one list of items in order of time."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from trueline.instrumentation.semconv.registry import ATTRIBUTES
from trueline.monitor.store.client import Store

#: Attributes that an item keeps: those of the contract, under their older names too, and what tells an error.
#: Others may hold anything, prompts and personal data among it.
KEPT_ATTRIBUTES: Final = frozenset(
    {
        *ATTRIBUTES,
        *(older for attribute in ATTRIBUTES.values() for older in attribute.older),
        *("db.statement", "exception.type", "exception.message", "http.target", "url.path"),
    }
)
#: Longest value of a kept attribute or message, in characters.
MAX_VALUE: Final = 600
#: The times that ClickHouse's DateTime64(9) can hold.
ANY_TIME: Final = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC))
_STATUS: Final = {"Ok": "ok", "STATUS_CODE_OK": "ok", "Error": "error", "STATUS_CODE_ERROR": "error"}


@dataclass(frozen=True, slots=True)
class TraceItem:
    """One span or log record. ``at`` is nanoseconds since 1970; ``status`` of a log record is its severity.

    ``outcome`` and ``reason`` are those of the statement's or transaction's final state.
    """

    kind: Literal["span", "log"]
    item_id: str
    trace_id: str
    span_id: str
    parent_span_id: str
    at: int
    duration_ns: int
    service: str
    version: str
    name: str
    status: str
    status_message: str
    outcome: str
    reason: str
    attributes: dict[str, str]


def read_traces(
    store: Store,
    trace_ids: Collection[str],
    between: tuple[datetime, datetime] = ANY_TIME,
    limit: int = 2000,
) -> list[TraceItem]:
    """Return all spans and log records of the traces, oldest first, at most ``limit`` of each kind.

    ``between`` narrows the search to event times, which makes it cheap in a large store.
    """
    if not trace_ids:
        return []
    earliest, latest = between
    parameters = {
        "ids": list(trace_ids),
        "earliest": _text(earliest),
        "latest": _text(latest),
        "limit": limit,
    }
    spans = store.query(
        """
        SELECT TraceId, SpanId, ParentSpanId, toUnixTimestamp64Nano(Timestamp), Duration, ServiceName,
            ResourceAttributes['service.version'], SpanName, StatusCode, StatusMessage, SpanAttributes,
            Events.Name, Events.Attributes
        FROM otel_traces
        WHERE TraceId IN {ids:Array(String)}
            AND Timestamp BETWEEN {earliest:DateTime64(6)} AND {latest:DateTime64(6)}
        ORDER BY Timestamp, SpanId
        LIMIT {limit:UInt32}
        """,
        parameters,
    )
    logs = store.query(
        """
        SELECT TraceId, SpanId, toUnixTimestamp64Nano(Timestamp), ServiceName,
            ResourceAttributes['service.version'], if(EventName != '', EventName, ScopeName), SeverityText,
            Body, LogAttributes, hex(sipHash64(TraceId, SpanId, Timestamp, Body))
        FROM otel_logs
        WHERE TraceId IN {ids:Array(String)}
            AND Timestamp BETWEEN {earliest:DateTime64(6)} AND {latest:DateTime64(6)}
        ORDER BY Timestamp, SpanId
        LIMIT {limit:UInt32}
        """,
        parameters,
    )
    items = [_span(row) for row in spans]
    items += [_log(row) for row in logs]
    return sorted(_settled(store, items, trace_ids, between), key=lambda item: (item.at, -item.duration_ns))


def _span(row: tuple[Any, ...]) -> TraceItem:
    (
        trace,
        span,
        parent,
        at,
        duration,
        service,
        version,
        name,
        status,
        message,
        attributes,
        events,
        details,
    ) = row
    kept = _kept(attributes.items())
    for event, detail in zip(events, details, strict=True):
        if event == "exception":
            kept |= {key: value for key, value in _kept(detail.items()).items() if key not in kept}
    return TraceItem(
        kind="span",
        item_id=span,
        trace_id=trace,
        span_id=span,
        parent_span_id=parent,
        at=at,
        duration_ns=duration,
        service=service,
        version=version,
        name=name,
        status=_STATUS.get(status, "unset"),
        status_message=message[:MAX_VALUE],
        outcome=kept.get("trueline.transaction.outcome", ""),
        reason=kept.get("trueline.transaction.reason", ""),
        attributes=kept,
    )


def _log(row: tuple[Any, ...]) -> TraceItem:
    trace, span, at, service, version, name, severity, body, attributes, digest = row
    return TraceItem(
        kind="log",
        item_id=digest,
        trace_id=trace,
        span_id=span,
        parent_span_id="",
        at=at,
        duration_ns=0,
        service=service,
        version=version,
        name=name,
        status=severity.lower(),
        status_message=body[:MAX_VALUE],
        outcome="",
        reason="",
        attributes=_kept(attributes.items()),
    )


def _kept(attributes: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value[:MAX_VALUE] for name, value in attributes if name in KEPT_ATTRIBUTES}


def _settled(
    store: Store, items: list[TraceItem], trace_ids: Collection[str], between: tuple[datetime, datetime]
) -> list[TraceItem]:
    """Items with the outcome that statements exported as open came to in the end."""
    if not any(item.outcome == "open" for item in items):
        return items
    rows = store.query(
        "SELECT span_id, outcome, reason FROM statements_resolved WHERE trace_id IN {ids:Array(String)} "
        "AND started_at BETWEEN {earliest:DateTime64(6)} AND {latest:DateTime64(6)}",
        {"ids": list(trace_ids), "earliest": _text(between[0]), "latest": _text(between[1])},
    )
    final = {span_id: (outcome, reason) for span_id, outcome, reason in rows}
    return [
        replace(item, outcome=final[item.span_id][0], reason=final[item.span_id][1])
        if item.outcome == "open" and item.span_id in final
        else item
        for item in items
    ]


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
