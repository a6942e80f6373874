"""`trueline.inventory`: sent after the first minute of work, when something new was seen, and at the end.

Without it, silence proves nothing: a rule that finds nothing in a service that it cannot see says so nowhere
else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from trueline.instrumentation import ambient, semconv
from trueline.instrumentation.guard import guarded
from trueline.instrumentation.inventory_collector import Collector
from trueline.instrumentation.inventory_report import Inventory

#: Seconds of work before the first inventory.
FIRST_AFTER: Final = 60.0
#: Seconds between two inventories at least, where something new was seen.
NEWS_AFTER: Final = 600.0
#: Seconds after which counts are sent again although nothing new was seen.
AGAIN_AFTER: Final = 3600.0
#: Tables and columns in one event; the busiest.
MAX_LISTED: Final = 200
#: Seconds after which statements are folded into names: their texts are not kept for longer.
_FOLD_AFTER: Final = 10.0

Emit = Callable[[str, dict[str, Any]], None]


class Announcer:
    """Looks a few times a second whether an inventory is due. ``take`` makes one."""

    def __init__(self, collector: Collector, take: Callable[[], Inventory]) -> None:
        self._collector = collector
        self._take = take
        self._sent_at = 0
        self._folded_at = 0
        self._since = collector.since
        self._sent: tuple[int, int] = (0, 0)

    @guarded("inventory.announce")
    def tick(self, emit: Emit, *, final: bool = False) -> None:
        """Send an inventory if one is due; ``final``: if there is anything that was not sent yet."""
        collector = self._collector
        if not collector.first_at:
            return
        now = ambient.now_ns()
        if self._since != collector.since:
            # A fork: this process has sent nothing.
            self._since = collector.since
            self._sent_at, self._sent = 0, (0, 0)
        if now - self._folded_at >= _FOLD_AFTER * 1e9:
            self._folded_at = now
            collector.fold()
        trigger = self._trigger(now, final)
        if not trigger:
            return
        seen = self._take()
        state = (collector.news, seen.statements)
        if state == self._sent:
            return
        self._sent_at, self._sent = now, state
        emit(semconv.EVENT_INVENTORY, attributes(seen, trigger))

    def _trigger(self, now: int, final: bool) -> str:
        if final:
            return "end"
        if not self._sent_at:
            return "first" if now - self._collector.first_at >= FIRST_AFTER * 1e9 else ""
        if self._collector.news != self._sent[0] and now - self._sent_at >= NEWS_AFTER * 1e9:
            return "news"
        return "hourly" if now - self._sent_at >= AGAIN_AFTER * 1e9 else ""


def attributes(seen: Inventory, trigger: str) -> dict[str, Any]:
    """The event's attributes: bounded lists, and names only."""
    tables = sorted(seen.tables, key=lambda one: -one.writes.total - one.reads.total)
    columns = sorted(seen.columns, key=lambda one: -one.statements)
    listed, rest = tables[:MAX_LISTED], tables[MAX_LISTED:]
    columns = columns[:MAX_LISTED]
    writes, reads = seen.writes, seen.reads
    return {
        semconv.INVENTORY_TRIGGER: trigger,
        semconv.INVENTORY_SECONDS: round(seen.seconds, 3),
        semconv.INVENTORY_STATEMENTS: seen.statements,
        semconv.INVENTORY_WRITES: (writes.column, writes.bound, writes.none, writes.row),
        semconv.INVENTORY_READS: (reads.column, reads.bound, reads.none, reads.row),
        semconv.INVENTORY_UNPARSED: seen.parsed_by_keywords,
        semconv.INVENTORY_WITH_ENTRY: seen.with_entry,
        semconv.INVENTORY_DATABASES: tuple(one.fingerprint for one in seen.databases),
        semconv.INVENTORY_DATABASE_RUNGS: tuple(one.rung for one in seen.databases),
        semconv.INVENTORY_DATABASE_URLS: tuple(one.url for one in seen.databases),
        semconv.INVENTORY_TABLES: tuple(one.table for one in listed),
        semconv.INVENTORY_TABLE_READS: tuple(one.reads.total for one in listed),
        semconv.INVENTORY_TABLE_WRITES_COLUMN: tuple(one.writes.column for one in listed),
        semconv.INVENTORY_TABLE_WRITES_BOUND: tuple(one.writes.bound for one in listed),
        semconv.INVENTORY_TABLE_WRITES_NONE: tuple(one.writes.none for one in listed),
        semconv.INVENTORY_TABLE_WRITES_ROW: tuple(one.writes.row for one in listed),
        semconv.INVENTORY_COLUMNS: tuple(one.column for one in columns),
        semconv.INVENTORY_COLUMN_DOMAINS: tuple(one.domain for one in columns),
        semconv.INVENTORY_COLUMN_CLAUSES: tuple(one.clause for one in columns),
        semconv.INVENTORY_COLUMN_ENCODINGS: tuple(one.encoding for one in columns),
        semconv.INVENTORY_COLUMN_STATEMENTS: tuple(one.statements for one in columns),
        semconv.INVENTORY_MORE: seen.more + sum(one.reads.total + one.writes.total for one in rest),
        semconv.INVENTORY_HASHES: seen.hashes,
        semconv.HASH_KEY_ID: seen.key_id,
        semconv.SAMPLE_RATIO: seen.sample,
        semconv.INVENTORY_SPANS: seen.spans,
        semconv.INVENTORY_FOLLOWS_SAMPLER: seen.follows_trace_sampler,
        semconv.INVENTORY_UNSEEN_CHECKOUTS: seen.unseen.get("checkouts", 0),
        semconv.INVENTORY_UNSEEN_TRANSACTIONS: seen.unseen.get("transactions", 0),
        semconv.INVENTORY_LOST: sum(seen.lost.values()),
        semconv.INVENTORY_ERRORS: sum(seen.internal_errors.values()),
    }
