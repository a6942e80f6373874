"""`trueline.database.connected`: once for each database that a process reaches.

It is sent again in a forked child, and when the same URL leads to another database, role or schema than
before: after a failover, a re-pointed name, a changed search path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from trueline.instrumentation import semconv

if TYPE_CHECKING:
    from trueline.instrumentation.database import DatabaseFacts
    from trueline.instrumentation.runtime import Runtime

#: A process on more databases than this is no longer announced, only seen by its statements.
MAX_ANNOUNCED: Final = 1024

_announced: set[tuple[Any, ...]] = set()


def announce(current: Runtime, facts: DatabaseFacts, attributes: dict[str, Any]) -> None:
    """Send the event unless this process has sent it for this database."""
    # A fork counts the generation up: the child is a process of its own.
    place = facts.fingerprint, str(facts.role), facts.schema, facts.url
    key = (current.holder.generation, *place)
    if key in _announced or len(_announced) >= MAX_ANNOUNCED:
        return
    _announced.add(key)
    current.emit_event(semconv.EVENT_DATABASE_CONNECTED, attributes)


def forget() -> None:
    """Announce everything again."""
    _announced.clear()
