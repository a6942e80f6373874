"""A finding's evidence in the store: spans and log records, copied so that they outlive the raw tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from trueline.monitor.engine.finding import Finding
from trueline.monitor.store.client import Store
from trueline.monitor.store.traces import TraceItem, read_traces

#: Traces of one finding whose spans are copied: the first ones, which the rule finds most telling.
MAX_TRACES: Final = 10
#: Evidence is looked for this far before the first and after the last time that the finding was seen.
_MARGIN: Final = timedelta(hours=1)


class StoredEvidence:
    """Copies and reads evidence; ``limit`` is the number of spans and log records kept with one finding."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store = store
        self._limit = limit

    def copy(self, findings: Sequence[Finding]) -> None:
        """Copy what the findings' traces show, the most telling first, up to the limit."""
        rows: list[dict[str, Any]] = []
        now = datetime.now(UTC)
        for finding in findings:
            items = read_traces(
                self._store,
                finding.trace_ids[:MAX_TRACES],
                (finding.first_seen - _MARGIN, finding.last_seen + _MARGIN),
            )
            named = set(finding.span_ids)
            rows.extend(
                {
                    "finding_id": finding.id,
                    "named": item.kind == "span" and item.span_id in named,
                    "copied_at": now,
                    **{name: getattr(item, name) for name in _ITEM_COLUMNS},
                }
                for item in _most_telling(items, named, finding.trace_ids, self._limit)
            )
        if rows:
            self._store.insert("finding_evidence", {name: [row[name] for row in rows] for name in rows[0]})

    def read(self, ids: Collection[str]) -> dict[str, list[dict[str, Any]]]:
        """Evidence by finding, oldest first; each finding's limit holds over copies made at different times.

        ``at`` is nanoseconds since 1970.
        """
        if not ids:
            return {}
        rows = self._store.query(
            "SELECT * EXCEPT (at), toUnixTimestamp64Nano(at) AS at "
            "FROM finding_evidence FINAL WHERE finding_id IN {ids:Array(String)} "
            "ORDER BY named DESC, copied_at DESC LIMIT {limit:UInt32} BY finding_id",
            {"ids": list(ids), "limit": self._limit},
        )
        found: dict[str, list[dict[str, Any]]] = {one: [] for one in ids}
        for row in rows.dicts():
            found[row.pop("finding_id")].append(row)
        for items in found.values():
            items.sort(key=lambda item: (item["at"], -item["duration_ns"]))
        return found


_BAD: Final = frozenset({"error", "fatal", "critical"})
_ITEM_COLUMNS: Final = tuple(TraceItem.__dataclass_fields__)


def _most_telling(
    items: Iterable[TraceItem], named: Collection[str], trace_ids: Sequence[str], limit: int
) -> list[TraceItem]:
    """Named spans first, then what decides (transactions, AI calls, errors, entries), then the rest."""
    order = {trace_id: position for position, trace_id in enumerate(trace_ids)}

    def rank(item: TraceItem) -> tuple[int, int, int]:
        if item.kind == "span" and item.span_id in named:
            weight = 0
        elif item.outcome or item.status in _BAD or "gen_ai.operation.name" in item.attributes:
            weight = 1
        elif not item.parent_span_id or item.status in ("warn", "warning"):
            weight = 2
        else:
            weight = 3
        return weight, order.get(item.trace_id, len(order)), item.at

    return sorted(items, key=rank)[:limit]
