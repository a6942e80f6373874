"""Silences in the store: every change is a row, none is ever deleted."""

from __future__ import annotations

import json
import threading
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Final

from trueline.monitor.engine.silence import Matcher, Op, Silence, matcher_fields
from trueline.monitor.store.client import Store
from trueline.monitor.store.sequence import Sequence

#: Silences that are read at once, newest first: far more than anybody has.
MAX_SILENCES: Final = 1000


class StoredSilences:
    """Reads and writes silences; any thread may use it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guard = threading.RLock()
        self._sequence = Sequence()

    def changing(self) -> AbstractContextManager[object]:
        """Held from reading a silence to saving it."""
        return self._guard

    def all(self) -> list[Silence]:
        """All silences, newest first, expired ones too."""
        return self._read("1", {})

    def unexpired(self, now: datetime) -> list[Silence]:
        """Those that hold now or will."""
        return [one for one in self.all() if one.ends_at > now]

    def load(self, silence_id: str) -> Silence | None:
        """One silence, None if there is none of this id."""
        found = self._read("id = {id:String}", {"id": silence_id})
        return found[0] if found else None

    def save(self, silence: Silence, action: str, who: str, at: datetime) -> None:
        """Add a change: ``created``, ``changed`` or ``ended``."""
        row = {
            "id": silence.id,
            "sequence": self._sequence.next(),
            "at": at,
            "action": action,
            "who": who,
            "matchers": json.dumps([matcher_fields(one) for one in silence.matchers]),
            "starts_at": silence.starts_at,
            "ends_at": silence.ends_at,
            "author": silence.author,
            "reason": silence.reason,
            "created_at": silence.created_at,
        }
        self._store.insert("silences", {name: [value] for name, value in row.items()})

    def history(self, silence_id: str) -> list[dict[str, Any]]:
        """A silence's changes, oldest first: at, action, who, ends_at."""
        return self._store.query(
            "SELECT at, action, who, ends_at FROM silences WHERE id = {id:String} ORDER BY sequence",
            {"id": silence_id},
        ).dicts()

    def _read(self, condition: str, parameters: dict[str, Any]) -> list[Silence]:
        rows = self._store.query(
            "SELECT id, matchers, starts_at, ends_at, author, reason, created_at FROM ("  # noqa: S608
            f"SELECT * FROM silences WHERE {condition} ORDER BY sequence DESC LIMIT 1 BY id"
            f") ORDER BY created_at DESC, id LIMIT {MAX_SILENCES}",
            parameters,
        )
        return [_silence(row) for row in rows.dicts()]


def _silence(row: dict[str, Any]) -> Silence:
    matchers = json.loads(row.pop("matchers"))
    return Silence(
        matchers=tuple(Matcher(one["label"], Op(one["op"]), one["value"]) for one in matchers), **row
    )
