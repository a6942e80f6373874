"""The coverage ledger, and when rows arrived: by these the engine knows what is left to judge."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

from trueline.monitor.engine.ports import RuleRun
from trueline.monitor.store.client import Store


class StoredArrivals:
    """Implements the engine's port :class:`~trueline.monitor.engine.ports.Arrivals`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, tables: Collection[str], start: datetime, end: datetime) -> datetime | None:
        """When the first row of the tables arrived, from ``start`` until before ``end``."""
        sources = sorted({source for table in tables for source in _SOURCES.get(table, (table,))})
        selects = " UNION ALL ".join(
            _FIRST_ARRIVAL.format(source, _ARRIVAL.get(source, "received_at")) for source in sources
        )
        first = self._store.query(
            f"SELECT minOrNull(first) FROM ({selects})",  # noqa: S608 - names of our own
            {"start": text(start), "end": text(end)},
        ).scalar()
        return first if isinstance(first, datetime) else None


class StoredLedger:
    """Implements the engine's port :class:`~trueline.monitor.engine.ports.Ledger`; any thread may use it.

    Lines are ordered by a number of their own, since the clock that stamps them may go back.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guard = threading.Lock()
        self._sequence = 0

    def covered_until(self, rule: str, revision: str) -> datetime | None:
        """Where the last line of this revision ends that is no error; None if it never ran."""
        covered: datetime | None = self._store.query(
            "SELECT end FROM rule_runs WHERE rule = {rule:String} AND revision = {revision:String} "
            "AND result != 'error' ORDER BY sequence DESC, end DESC LIMIT 1",
            {"rule": rule, "revision": revision},
        ).scalar()
        return covered

    def record(self, run: RuleRun) -> None:
        """Add a line."""
        self._store.insert(
            "rule_runs",
            {
                "rule": [run.rule],
                "version": [run.version],
                "revision": [run.revision],
                "start": [run.start],
                "end": [run.end],
                "result": [run.result],
                "rows": [run.rows],
                "ms": [run.milliseconds],
                "error": [run.message],
                "at": [run.at],
                "withheld": [run.withheld],
                "note": [run.note],
                "sequence": [self._next()],
            },
        )

    def last(self, rule: str, limit: int = 20) -> list[dict[str, Any]]:
        """A rule's last lines, newest first: version, times, result, rows, withheld, ms, error, note."""
        return self._store.query(
            "SELECT version, start, end, result, rows, withheld, ms, error, note, at FROM rule_runs "
            "WHERE rule = {rule:String} ORDER BY sequence DESC, at DESC LIMIT {limit:UInt32}",
            {"rule": rule, "limit": limit},
        ).dicts()

    def _next(self) -> int:
        """A number higher than any before, also of earlier processes whose clock was ahead."""
        with self._guard:
            if not self._sequence:
                self._sequence = int(self._store.query("SELECT max(sequence) FROM rule_runs").scalar() or 0)
            self._sequence = max(time.time_ns(), self._sequence + 1)
            return self._sequence


def text(moment: datetime) -> str:
    """A time as DateTime64(3) parameters take it: the driver would cut a datetime to whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


#: The tables that fill what rules read. A statement's outcome may come with its transaction's span.
_SOURCES: Final = {
    "statements_resolved": ("statements", "transactions"),
    "identity_uses": ("statements", "transactions"),
    "identity_arrivals": ("statements",),
    "access": ("statements", "transactions"),
    "traffic": ("statements", "transactions"),
    "violations": ("violation_statements", "transactions"),
    "operation_counts": ("entries", "transactions"),
    "declarations_in_force": ("declarations",),
    "databases": ("database_sightings",),
}
_FIRST_ARRIVAL: Final = (
    "SELECT minOrNull({1}) AS first FROM {0} "
    "WHERE {1} >= {{start:DateTime64(3)}} AND {1} < {{end:DateTime64(3)}}"
)
_ARRIVAL: Final = {"database_sightings": "last_received_at", "declarations": "valid_from"}
