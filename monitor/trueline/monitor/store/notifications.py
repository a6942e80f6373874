"""What was told to whom, in the store: the outbox that outlives the process."""

from __future__ import annotations

from collections.abc import Sequence as Items
from typing import Any

from trueline.monitor.notify.plan import Line
from trueline.monitor.store.client import Store
from trueline.monitor.store.sequence import Sequence


class StoredNotifications:
    """Lines by target and key; any thread may use it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sequence = Sequence()

    def lines(self, target: str) -> dict[str, Line]:
        """What a target was told, by key."""
        rows = self._store.query(
            "SELECT key, at, status, digest, result, members, answer FROM notifications FINAL "
            "WHERE target = {target:String}",
            {"target": target},
        )
        return {row["key"]: Line(**{**row, "members": tuple(row["members"])}) for row in rows.dicts()}

    def save(self, target: str, lines: Items[Line]) -> None:
        """Remember lines; they are in the store when this returns."""
        rows: list[dict[str, Any]] = [
            {
                "target": target,
                "sequence": self._sequence.next(),
                "key": line.key,
                "at": line.at,
                "status": line.status,
                "digest": line.digest,
                "result": line.result,
                "members": list(line.members),
                "answer": line.answer,
            }
            for line in lines
        ]
        if rows:
            self._store.insert("notifications", {name: [row[name] for row in rows] for name in rows[0]})

    def last(self, target: str) -> dict[str, Any]:
        """How the last message went: key, at, status, result, answer; empty if there was none."""
        rows = self._store.query(
            "SELECT key, at, status, result, answer FROM notifications FINAL "
            "WHERE target = {target:String} ORDER BY sequence DESC LIMIT 1",
            {"target": target},
        ).dicts()
        return rows[0] if rows else {}

    def waiting(self, target: str) -> int:
        """Keys whose message has not arrived yet."""
        count: int = self._store.query(
            "SELECT count() FROM notifications FINAL WHERE target = {target:String} AND result = 'pending'",
            {"target": target},
        ).scalar()
        return count


def change_mark(store: Store) -> int:
    """A number that is another one when a finding or a silence has changed."""
    mark: int = store.query(
        "SELECT (SELECT max(sequence) FROM findings) + (SELECT max(sequence) FROM silences)"
    ).scalar()
    return mark
