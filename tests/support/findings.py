"""Findings for tests of what is made of them, without a store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from trueline.monitor.engine.finding import Finding, State, Texts, finding_id

NOON: Final = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def make_finding(rule: str = "lost_writes", **fields: Any) -> Finding:
    """A finding of web in production, seen at noon, with the given fields changed."""
    group = fields.pop("group", {"environment": "production", "service": "web"})
    values: dict[str, Any] = {
        "id": finding_id(rule, group),
        "rule": rule,
        "rule_version": 1,
        "rule_revision": "r1",
        "title": "Writes are rolled back",
        "severity": "error",
        "state": State.OPEN,
        "environment": "production",
        "application": "shop",
        "service": "web",
        "services": ("web",),
        "versions": ("1.0",),
        "group": group,
        "facts": {},
        "texts": Texts("web lost a write", "it rolls back", "stop it", "mend it", "look at it"),
        "first_seen": NOON,
        "last_seen": NOON,
        "opened_at": NOON,
        "last_arrival_at": NOON,
        "updated_at": NOON,
        "resolved_at": None,
        "resolved_by": None,
        "count": 1,
        "value": 1.0,
        "trace_ids": (),
        "span_ids": (),
        **fields,
    }
    return Finding(**values)
