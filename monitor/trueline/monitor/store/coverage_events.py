"""What services say of themselves: their inventories and losses, from log events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from trueline.instrumentation import semconv
from trueline.instrumentation.inventory_report import Sources
from trueline.monitor.store.client import Store

#: Environment, application, service.
Key = tuple[str, str, str]

#: Processes of one service whose newest inventories are read.
MAX_PROCESSES: Final = 100
_MAX_EVENTS: Final = 5000
#: More than any process counts; what claims to be more is nonsense that must stay a number.
_MAX_COUNT: Final = 1 << 53
#: The environment of a log record, as the typed tables have it.
ENVIRONMENT: Final = (
    "multiIf(ResourceAttributes['deployment.environment.name'] != '', "
    "ResourceAttributes['deployment.environment.name'], "
    "ResourceAttributes['deployment.environment'] != '', ResourceAttributes['deployment.environment'], "
    "'unset')"
)
#: Old Collectors leave an event's name among its attributes. The scope comes first: it is quick to read.
_OURS: Final = (
    f"ScopeName = '{semconv.SCOPE_NAME}' AND if(EventName != '', EventName, LogAttributes['event.name'])"
)

_INVENTORIES: Final = f"""
SELECT
    {ENVIRONMENT} AS environment, ResourceAttributes['service.namespace'] AS application,
    ServiceName AS service, ResourceAttributes['service.instance.id'] AS instance,
    argMax(LogAttributes, Timestamp) AS said, max(Timestamp) AS at
FROM otel_logs
WHERE received_at >= {{since:DateTime64(3)}} AND {_OURS} = '{semconv.EVENT_INVENTORY}'
    AND ({{service:String}} = '' OR ServiceName = {{service:String}})
GROUP BY environment, application, service, instance
ORDER BY at DESC
LIMIT {MAX_PROCESSES} BY environment, application, service
LIMIT {_MAX_EVENTS}
"""  # noqa: S608 - names of our own
_LOSSES: Final = f"""
SELECT
    {ENVIRONMENT} AS environment, ResourceAttributes['service.namespace'] AS application,
    ServiceName AS service, LogAttributes['{semconv.LOSS_REASON}'] AS reason,
    sum(toUInt64OrZero(LogAttributes['{semconv.LOSS_COUNT}'])) AS lost
FROM otel_logs
WHERE received_at >= {{since:DateTime64(3)}} AND {_OURS} = '{semconv.EVENT_EXPORT_LOSS}'
    AND ({{service:String}} = '' OR ServiceName = {{service:String}})
GROUP BY environment, application, service, reason
LIMIT {_MAX_EVENTS}
"""  # noqa: S608 - names of our own


@dataclass(slots=True)
class Told:
    """The newest inventories of one service's processes, added up.

    ``tables``: (reads, writes) by name, without the source of reads, which an event does not carry.
    """

    processes: int = 0
    at: datetime | None = None
    statements: int = 0
    reads: Sources = field(default_factory=Sources)
    writes: Sources = field(default_factory=Sources)
    parsed_by_keywords: int = 0
    with_entry: int = 0
    tables: dict[str, tuple[int, Sources]] = field(default_factory=dict)
    columns: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    more: int = 0
    sample: float = 1.0
    follows_trace_sampler: bool = False
    hashes: set[str] = field(default_factory=set)
    key_ids: set[str] = field(default_factory=set)
    spans: set[str] = field(default_factory=set)
    unseen_transactions: int = 0
    unseen_checkouts: int = 0
    internal_errors: int = 0


def read_inventories(store: Store, since: datetime, service: str) -> dict[Key, Told]:
    """What processes told of themselves since then, by service."""
    told: dict[Key, Told] = {}
    rows = store.query_read_only(_INVENTORIES, {"since": since, "service": service})
    for row in rows.dicts():
        key = (row["environment"], row["application"], row["service"])
        _add(told.setdefault(key, Told()), dict(row["said"]), row["at"])
    return told


def read_losses(store: Store, since: datetime, service: str) -> dict[Key, dict[str, int]]:
    """Spans that were lost since then by reason, by service."""
    found: dict[Key, dict[str, int]] = {}
    for row in store.query_read_only(_LOSSES, {"since": since, "service": service}).dicts():
        if row["lost"]:
            key = (row["environment"], row["application"], row["service"])
            found.setdefault(key, {})[row["reason"] or "unknown"] = int(row["lost"])
    return found


def _add(told: Told, said: Mapping[str, str], at: datetime) -> None:
    told.processes += 1
    told.at = max(told.at, at) if told.at else at
    told.statements += _int(said.get(semconv.INVENTORY_STATEMENTS))
    told.reads = plus(told.reads, _sources(said.get(semconv.INVENTORY_READS)))
    told.writes = plus(told.writes, _sources(said.get(semconv.INVENTORY_WRITES)))
    told.parsed_by_keywords += _int(said.get(semconv.INVENTORY_UNPARSED))
    told.with_entry += _int(said.get(semconv.INVENTORY_WITH_ENTRY))
    told.more += _int(said.get(semconv.INVENTORY_MORE))
    told.unseen_transactions += _int(said.get(semconv.INVENTORY_UNSEEN_TRANSACTIONS))
    told.unseen_checkouts += _int(said.get(semconv.INVENTORY_UNSEEN_CHECKOUTS))
    told.internal_errors += _int(said.get(semconv.INVENTORY_ERRORS))
    told.sample = min(told.sample, _share(said.get(semconv.SAMPLE_RATIO)))
    told.follows_trace_sampler |= said.get(semconv.INVENTORY_FOLLOWS_SAMPLER) == "true"
    for names, attribute in (
        (told.hashes, semconv.INVENTORY_HASHES),
        (told.key_ids, semconv.HASH_KEY_ID),
        (told.spans, semconv.INVENTORY_SPANS),
    ):
        if said.get(attribute):
            names.add(said[attribute])
    lists = [_list(said.get(name)) for name in _TABLE_LISTS]
    # Earlier releases do not say how many the row names.
    by_row = _list(said.get(semconv.INVENTORY_TABLE_WRITES_ROW)) or [0] * len(lists[0])
    tables = zip(*lists, by_row, strict=False)
    for name, reads, *writes in tables:
        before, written = told.tables.get(str(name), (0, Sources()))
        told.tables[str(name)] = (
            before + _int(reads), plus(written, Sources(*(_int(one) for one in writes)))
        )  # fmt: skip
    columns = zip(*(_list(said.get(name)) for name in _COLUMN_LISTS), strict=False)
    for column, domain, clause, encoding, statements in columns:
        told.columns[(str(column), str(domain), str(clause), str(encoding))] += _int(statements)


_TABLE_LISTS: Final = (
    semconv.INVENTORY_TABLES,
    semconv.INVENTORY_TABLE_READS,
    semconv.INVENTORY_TABLE_WRITES_COLUMN,
    semconv.INVENTORY_TABLE_WRITES_BOUND,
    semconv.INVENTORY_TABLE_WRITES_NONE,
)
_COLUMN_LISTS: Final = (
    semconv.INVENTORY_COLUMNS,
    semconv.INVENTORY_COLUMN_DOMAINS,
    semconv.INVENTORY_COLUMN_CLAUSES,
    semconv.INVENTORY_COLUMN_ENCODINGS,
    semconv.INVENTORY_COLUMN_STATEMENTS,
)


def plus(one: Sources, other: Sources) -> Sources:
    """Both together."""
    return Sources(
        one.column + other.column, one.bound + other.bound, one.none + other.none, one.row + other.row
    )


def _int(value: Any) -> int:
    """A number that a client sent: anything that is none counts as nothing."""
    try:
        return min(max(0, int(value)), _MAX_COUNT)
    except (TypeError, ValueError, OverflowError):
        return 0


def _share(value: str | None) -> float:
    try:
        share = float(value or 1)
    except ValueError:
        return 1.0
    return share if 0 < share <= 1 else 1.0


def _list(text: str | None) -> list[Any]:
    try:
        parsed = json.loads(text or "[]")
    except (ValueError, RecursionError):
        return []
    return parsed if isinstance(parsed, list) else []


def _sources(text: str | None) -> Sources:
    numbers = [_int(number) for number in _list(text)]
    return Sources(*numbers) if len(numbers) in (3, 4) else Sources()
