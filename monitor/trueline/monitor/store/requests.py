"""Which requests are stored: one that is sent again is acknowledged without storing it again."""

from __future__ import annotations

import threading
from typing import Final

from trueline.monitor.store.client import Store

#: Requests remembered; the oldest are forgotten first. About 100 bytes each.
MAX_REQUESTS: Final = 200_000
#: How far back requests are looked up at a start, seconds: longer than exporters keep trying.
LOOK_BACK_SECONDS: Final = 900
RAW_TABLES: Final = ("otel_traces", "otel_logs")
#: What a request is known by: its table, and the first 16 bytes of its body's SHA-256.
Key = tuple[str, bytes]


class StoredRequests:
    """Remembers stored requests, and those of which it is not known how far they got."""

    def __init__(self, limit: int = MAX_REQUESTS) -> None:
        self._limit = limit
        self._stored: dict[Key, None] = {}
        self._doubtful: set[Key] = set()
        self._guard = threading.Lock()

    def __len__(self) -> int:
        return len(self._stored)

    def __contains__(self, key: Key) -> bool:
        return key in self._stored

    def add(self, key: Key) -> None:
        """Remember a request that is stored."""
        if not key[1]:
            return
        with self._guard:
            self._doubtful.discard(key)
            self._stored[key] = None
            while len(self._stored) > self._limit:
                del self._stored[next(iter(self._stored))]

    def doubt(self, key: Key) -> None:
        """Remember a request of which an INSERT failed half-way, perhaps."""
        if key[1]:
            with self._guard:
                if len(self._doubtful) >= self._limit:
                    self._doubtful.clear()
                self._doubtful.add(key)

    def is_doubtful(self, key: Key) -> bool:
        """Whether an INSERT of it failed: it must be repeated alone, under the request's own token."""
        return key in self._doubtful

    def load(self, store: Store, seconds: int = LOOK_BACK_SECONDS) -> int:
        """Remember what the store received last; return how many requests that are.

        Raise StoreError if the store cannot be asked.
        """
        for table in RAW_TABLES:
            rows = store.query(
                f"SELECT hex(request_hash) FROM {table} "  # noqa: S608 - one of RAW_TABLES
                "WHERE received_at > now64(3) - toIntervalSecond({seconds:UInt32}) "
                "AND request_hash != toFixedString('', 16) "
                "GROUP BY request_hash ORDER BY max(received_at) DESC LIMIT {limit:UInt32}",
                {"seconds": seconds, "limit": self._limit},
            )
            for (request,) in reversed(rows.rows):
                self.add((table, bytes.fromhex(request)))
        return len(self._stored)
