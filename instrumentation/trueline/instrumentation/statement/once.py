"""One thread makes a value, the others that need it at the same moment wait for it a little."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")
#: Seconds. Making takes a millisecond or two; whoever waited longer makes the value itself.
_PATIENCE: Final = 0.02


class _Maker:
    """Who makes a value: others wait for its lock."""

    __slots__ = ("lock", "thread")

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.lock = threading.Lock()
        self.lock.acquire()


class Cache(Generic[_Key, _Value]):
    """The last ``size`` values by key. Thread-safe without a lock around it, which a fork could copy held.

    Waiting costs nothing that making would not: both need the interpreter, which the maker has. It lasts a
    moment at most: a maker may be a thread that a fork left behind. A thread never waits for itself, further
    up its own stack.
    """

    def __init__(self, size: int) -> None:
        self._size = max(1, size)
        self._values: dict[_Key, _Value] = {}
        self._makers: dict[_Key, _Maker] = {}

    def __len__(self) -> int:
        return len(self._values)

    @property
    def values(self) -> dict[_Key, _Value]:
        """The values themselves, for whoever looks up in a hurry."""
        return self._values

    def get(self, key: _Key, make: Callable[[], tuple[_Value, bool]]) -> _Value:
        """Return the value of a key; ``make`` returns a new one and whether it may be kept."""
        mine = _Maker()
        other = self._makers.setdefault(key, mine)
        if other is not mine:
            if other.thread != mine.thread:
                if other.lock.acquire(timeout=_PATIENCE):
                    other.lock.release()
                else:
                    self._makers.pop(key, None)
            if key in self._values:
                return self._values[key]
            return make()[0]
        try:
            # another thread may have been done between our caller's look and now
            if key in self._values:
                return self._values[key]
            value, keep = make()
            if keep:
                self._make_room()
                self._values[key] = value
            return value
        finally:
            self._makers.pop(key, None)
            mine.lock.release()

    def _make_room(self) -> None:
        """Drop the oldest eighth of a full cache: what is used often is made again at once."""
        if len(self._values) >= self._size:
            for key in list(self._values)[: max(1, self._size // 8)]:
                self._values.pop(key, None)
