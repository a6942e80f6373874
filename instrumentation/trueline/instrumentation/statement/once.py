"""One thread makes a value; others that need it meanwhile do with a lesser one, and wait for nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")
#: Seconds after which a maker counts as gone: a fork leaves threads behind.
_GONE: Final = 1.0


class Cache(Generic[_Key, _Value]):
    """The last ``size`` values by key. Thread-safe without a lock, which a fork could copy held."""

    def __init__(self, size: int) -> None:
        self._size = max(1, size)
        self._values: dict[_Key, _Value] = {}
        #: Which thread is making a value, and since when.
        self._makers: dict[_Key, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._values)

    @property
    def values(self) -> dict[_Key, _Value]:
        """The values themselves, for whoever looks up in a hurry."""
        return self._values

    def get(
        self, key: _Key, make: Callable[[], tuple[_Value, bool]], meanwhile: Callable[[], _Value]
    ) -> _Value:
        """Return the value of a key; ``make`` returns a new one and whether it may be kept.

        While another thread, or this one further up its stack, is making it, ``meanwhile()`` is returned.
        """
        mine = (threading.get_ident(), time.monotonic())
        other = self._makers.setdefault(key, mine)
        if other is not mine:
            if mine[1] - other[1] < _GONE:
                # it may have been done since our caller looked
                return self._values[key] if key in self._values else meanwhile()
            self._makers[key] = mine
        try:
            if key in self._values:
                return self._values[key]
            value, keep = make()
            if keep:
                self.keep(key, value)
            return value
        finally:
            if self._makers.get(key) is mine:
                self._makers.pop(key, None)

    def keep(self, key: _Key, value: _Value) -> None:
        """Keep a value under a key, whatever was there."""
        if key not in self._values and len(self._values) >= self._size:
            # the oldest eighth of a full cache: what is used often is made again at once
            for old in list(self._values)[: max(1, self._size // 8)]:
                self._values.pop(old, None)
        self._values[key] = value
